"""The arithmetic of a run: one owner for every derived number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from au_dist.config.running import Optim
from au_dist.core.errors import RecipeError
from au_dist.data.order import fitting, lanes_of
from au_dist.recipes.recipe import Recipe


@dataclass(frozen=True)
class BatchPlan:
    """How many of what.

    Attributes:
        clips: Clips of a step, over all ranks.
        contrast: Clips of a contrast set, over all ranks.
        accumulate: Contrast sets of a step.
        micro: Clips of one rank in a contrast set.
        take: Clips that a contrast set takes of each lane.
        world: Number of ranks.
        epoch_clips: Clips of an epoch.
        steps: Steps of the run.
        warmup: Steps of warm-up.
        every: Steps between checkpoints.
    """

    clips: int
    contrast: int
    accumulate: int
    micro: int
    take: int
    world: int
    epoch_clips: int
    steps: int
    warmup: int
    every: int

    def epoch(self, step: int) -> float:
        """Return how many epochs are done after a number of steps."""
        return step * self.clips / self.epoch_clips

    def sets(self, steps: int) -> int:
        """Return how many contrast sets a number of steps takes: where a run that has done them goes on."""
        return steps * self.accumulate


def worker_counts(recipe: Recipe) -> list[int]:
    """Return the numbers of workers that a run may have, rising.

    Raises:
        RecipeError: None of them shares the lanes evenly.
    """
    workers, lanes = recipe.workers, recipe.data.lanes
    counts = fitting(workers.least, workers.most, lanes)
    if not counts:
        lanes_of(0, workers.most, lanes)
    return counts


def plan_batches(recipe: Recipe, epoch_clips: int, world: int) -> BatchPlan:
    """Return the batch plan of a recipe.

    Args:
        recipe: The recipe.
        epoch_clips: Clips of the training subjects.
        world: Number of ranks.

    Raises:
        RecipeError: The numbers do not divide each other, or there are fewer clips than one step takes.
    """
    clips, lanes = recipe.batch.clips, recipe.data.lanes
    contrast = recipe.batch.contrast or clips
    if clips % contrast:
        raise RecipeError("batch.contrast must divide batch.clips", expected=f"a divisor of {clips}", found=contrast)
    if contrast % lanes:
        raise RecipeError(
            "data.lanes must divide the contrast set",
            where="batch.contrast" if recipe.batch.contrast else "batch.clips",
            expected=f"a divisor of {contrast}",
            found=f"data.lanes={lanes}",
            fix="Choose a multiple of data.lanes, or another data.lanes before the run starts.",
        )
    lanes_of(0, world, lanes)
    if epoch_clips < clips:
        raise RecipeError(
            "The training subjects have fewer clips than one step takes",
            expected=f"at least batch.clips={clips}",
            found=f"{epoch_clips} clips",
            fix="Lower batch.clips or ingest more clips.",
        )
    steps = recipe.learns.steps(recipe.section, math.ceil(recipe.optim.epochs * epoch_clips / clips))
    return BatchPlan(
        clips=clips,
        contrast=contrast,
        accumulate=clips // contrast,
        micro=contrast // world,
        take=contrast // lanes,
        world=world,
        epoch_clips=epoch_clips,
        steps=steps,
        warmup=round(recipe.optim.warmup * steps),
        every=recipe.checkpoint.every_steps or math.ceil(epoch_clips / clips),
    )


def learning_rate(
    step: int, peak: float, warmup: int, steps: int, schedule: Literal["cosine", "constant"] = "cosine"
) -> float:
    """Return the learning rate of a step (from 0): linear warm-up, then half a cosine down to zero, or the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def rate_shares(stage_of: Mapping[str, int], optim: Optim) -> dict[str, float]:
    """Return the learning rates of the encoder's parameters, as shares of the step's: `encoder * layer_decay ** depth`.

    Args:
        stage_of: Parameter → its stage in the encoder, the first one next to the pixels.
        optim: The optimizer section of the recipe.
    """
    last = max(stage_of.values(), default=0)
    return {name: optim.encoder * optim.layer_decay ** (last - stage) for name, stage in stage_of.items()}
