"""A method in one file: the mean colour of a face says which action units occur."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from au_dist.config.section import Section
from au_dist.data.labels import occurrence
from au_dist.dist.collectives import all_reduce_sum
from au_dist.methods.base import Held, Judgement, Learner, Method, Parts, Scoring, Validation
from au_dist.methods.detection import DETECTION
from au_dist.methods.frames import Frames, judge_detection, outputs
from au_dist.recipes.recipe import Recipe


class Toy(Section):
    """Its section of a recipe."""

    sharpness: float = Field(1.0, gt=0)


class ToyRecipe(Recipe):
    """A recipe that knows the method."""

    task: Literal["toy"] | None = None  # type: ignore[assignment]
    toy: Toy = Toy()


class ToyTask(nn.Module):
    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.sharpness, self.world = parts.section.sharpness, parts.world
        self.colours = nn.Linear(3, parts.num_aus)

    def forward(self, views, y_BA, valid_BA, contrast_set):
        error_BA = (self.logits(views[0]).sigmoid() - y_BA).square() * valid_BA
        return self.world.size * error_BA.sum() / all_reduce_sum(valid_BA.sum().float(), self.world).clamp(min=1)

    def logits(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.sharpness * self.colours(x_BCHW.mean((2, 3)))


def _validation(module: ToyTask, held: Held) -> Validation:
    frames = Frames(held.rows("validation", None), held.columns, held.num_columns, held.labels, held.side)

    def judge() -> Judgement:
        score_NA = outputs(module.logits, frames, held.size, len(held.columns), held.world)
        return judge_detection(score_NA, frames, held.world)

    return Validation((frames,), judge)


TOY = Method(
    name="toy",
    supervised=True,
    section=Toy,
    metrics=("val_auc", "val_f1"),
    learner=lambda: Learner(ToyTask, _validation),
    scoring=Scoring(
        scores=lambda module, x_BCHW, frames: module.logits(x_BCHW).sigmoid(),
        labels=occurrence,
        judge=DETECTION.scoring.judge,
        measures=DETECTION.scoring.measures,
        beside=DETECTION.scoring.beside,
        knowing_nothing=DETECTION.scoring.knowing_nothing,
        thresholds=True,
        scale=1.0,
    ),
)
