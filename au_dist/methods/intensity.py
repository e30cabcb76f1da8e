"""Intensity of action units: squared error at labelled frames, back through time from there."""

from collections.abc import Iterator

import numpy as np

from au_dist.config.sections import Data
from au_dist.core.metrics import intensity_per_au
from au_dist.data.labels import intensity
from au_dist.methods.base import Learner, Method, Scoring


def _refusals(section: None, data: Data, started: bool) -> Iterator[str]:
    if data.labels.spoils:
        yield "data.labels.noise, missed, shifted and coder spoil occurrence labels; task: intensity has none"
    if data.frames_per_clip < 2:
        yield "task: intensity reads frames in a row: set data.frames_per_clip, e.g. to the clips' length"


def _judge(y_NA: np.ndarray, valid_NA: np.ndarray, score_NA: np.ndarray, _: np.ndarray) -> list[dict[str, float]]:
    return intensity_per_au(y_NA, valid_NA, score_NA)


def _learner() -> Learner:
    from au_dist.methods.learners.intensity import LEARNER

    return LEARNER


INTENSITY = Method(
    name="intensity",
    supervised=True,
    section=None,
    metrics=("val_icc",),
    clips=True,
    labels="intensity",
    refusals=_refusals,
    learner=_learner,
    scoring=Scoring(
        scores=lambda module, x_BCHW, frames: module.intensities(x_BCHW, frames),
        labels=intensity,
        judge=_judge,
        measures={"icc": "ICC(3,1)", "pcc": "PCC", "mse": "MSE", "mae": "MAE", "mean": "mean intensity"},
        thresholds=False,
        scale=5.0,
        beside={"icc": True, "mse": False},
        knowing_nothing=("mse", "constant_mse", "the same intensity in every frame, the best there is"),
    ),
)
