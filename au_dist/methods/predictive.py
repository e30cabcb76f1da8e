"""Predictive coding of unlabelled clips: from the blocks seen so far, the maps of the next ones (docs/methods.md)."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from au_dist.config.section import Section
from au_dist.config.sections import Data, Labels
from au_dist.methods.base import Learner, Method


class Predictive(Section):
    """Predictive coding of unlabelled clips.

    Attributes:
        blocks: Blocks of a clip, N.
        frames: Frames of a block; their maps are averaged.
        steps: Blocks that are predicted from those before them, P.
        temperature: Temperature of the products.
        normalise: Bring predicted and true cells to length one; the published method (`normalise: false`,
            `temperature: 1`) does not.
        target: What is predicted: the ``map`` of a block, as published, or its ``change`` since the last block that was
            seen, in which what stays the same over a clip is taken out.
        negatives: Among which cells each predicted one must find its own: those of the contrast ``set``, as published,
            or of its ``clip``, in which who is seen tells nothing apart.
        views: With 2, blocks of one random view are predicted from another of the same clip, in other colours and moved
            by what `data.size` leaves of the stored crop, which must be less than a cell of the map.
    """

    blocks: int = Field(8, ge=2)
    frames: int = Field(5, ge=1)
    steps: int = Field(3, ge=1)
    temperature: float = Field(0.1, gt=0)
    normalise: bool = True
    target: Literal["map", "change"] = "map"
    negatives: Literal["set", "clip"] = "set"
    views: Literal[1, 2] = 1

    @model_validator(mode="after")
    def _some_blocks_are_seen(self) -> "Predictive":
        if self.steps >= self.blocks:
            raise ValueError(f"steps must be less than blocks ({self.blocks}): a block at least must be seen")
        return self


def _refusals(section: Predictive, data: Data, started: bool) -> Iterator[str]:
    if section.views == 2 and data.views.flip:
        yield "predictive.views: 2 compares places of two views: set data.views.flip to 0"
    if data.balance or data.labels != Labels(seed=data.labels.seed):
        yield "method: predictive looks at no labels: data.balance and data.labels have no effect"


def _learner() -> Learner:
    from au_dist.methods.learners.predictive import LEARNER

    return LEARNER


PREDICTIVE = Method(
    name="predictive",
    supervised=False,
    section=Predictive,
    metrics=("val_accuracy",),
    views=lambda section: section.views,
    clips=True,
    labels=None,
    frames=lambda section, data: section.blocks * section.frames,
    frames_key="predictive.blocks, predictive.frames",
    refusals=_refusals,
    learner=_learner,
)
