"""Occurrence detection: binary cross-entropy on known labels, as a linear probe or through the whole network."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from au_dist.config.section import Section
from au_dist.config.sections import Data
from au_dist.core.metrics import per_au
from au_dist.data.labels import occurrence
from au_dist.methods.aunce import Aunce
from au_dist.methods.base import Learner, Method, Scoring


class Joint(Aunce):
    """AUNCE beside the cross-entropy.

    Attributes:
        weight: Of its loss, beside the cross-entropy's 1.
    """

    weight: float = Field(0.3, gt=0)


class Detection(Section):
    """Occurrence detection on top of a pretrained or fresh network.

    Attributes:
        train: ``probe`` trains one linear layer per action unit on a frozen network, ``all`` fine-tunes everything;
            ``ridge`` is a ridge regression of the embeddings of a trained network (`init`) in closed form, as strong as
            predicts held-out training subjects best: one step, and nothing to tune.
        embeddings: For ``ridge``: an action unit is read off its ``own`` embeddings, or off those of ``all`` units.
        balance: Weight the positive frames of an action unit by its training odds (capped at 10).
        views: Random views of each clip that are learnt from.
        aunce: The contrastive loss beside the cross-entropy, over two views; none when None.
    """

    train: Literal["probe", "all", "ridge"] = "probe"
    embeddings: Literal["own", "all"] = "own"
    balance: bool = True
    views: Literal[1, 2] = 1
    aunce: Joint | None = None

    @model_validator(mode="after")
    def _something_is_contrasted(self) -> "Detection":
        if self.aunce and self.train != "all":
            raise ValueError(f"aunce trains the network, which train: {self.train} leaves as it is: use train: all")
        if self.embeddings == "all" and self.train != "ridge":
            raise ValueError(f"embeddings: all is for train: ridge; train: {self.train} reads each unit's own")
        return self


def _views(section: Detection) -> int:
    return 2 if section.aunce else section.views


def _refusals(section: Detection, data: Data, started: bool) -> Iterator[str]:
    if section.train == "ridge" and not data.protocol.validation:
        yield "detection.train: ridge is fitted when it is validated: data.protocol.validation must not be 0"
    if section.train == "ridge" and not started:
        yield "detection.train: ridge reads embeddings of a trained network: give init"


def _steps(section: Detection, steps: int) -> int:
    return 1 if section.train == "ridge" else steps


def _learner() -> Learner:
    from au_dist.methods.learners.detection import LEARNER

    return LEARNER


DETECTION = Method(
    name="detection",
    supervised=True,
    section=Detection,
    views=_views,
    refusals=_refusals,
    embeddings=lambda section: section.aunce is not None,
    steps=_steps,
    metrics=("val_auc", "val_f1"),
    learner=_learner,
    scoring=Scoring(
        scores=lambda module, x_BCHW, _: module.probabilities(x_BCHW),
        labels=occurrence,
        judge=per_au,
        measures={"f1": "F1", "auc": "AUC", "prevalence": "prevalence", "all_positive_f1": "F1 all positive"},
        thresholds=True,
        scale=1.0,
        beside={"auc": True, "f1": True},
        knowing_nothing=("f1", "all_positive_f1", "calling every frame positive"),
    ),
)
