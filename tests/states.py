"""A complete state of a checkpoint, and what happens in a run, for tests that change a part of it."""

from typing import Any

from au_dist.core.schema import CropRecipe
from au_dist.recipes.recipe import Recipe
from au_dist.train.events import StepDone
from au_dist.train.plan import BatchPlan
from au_dist.train.state import CheckpointState, OrderPosition, Subjects

PLAN = BatchPlan(
    clips=8, contrast=4, accumulate=2, micro=4, take=2, world=1, epoch_clips=32, steps=12, warmup=1, every=2
)


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"name": "x", "shards": "s", "runs": "r", "task": "detection", **changes})


def state(step: int, metrics: dict[str, float] | None = None, of: Recipe | None = None, **changes: Any):
    """Return the state of a checkpoint of a recipe."""
    of = of or recipe()
    given = {
        "step": step,
        "order": OrderPosition(seed=0, contrast_sets=PLAN.sets(step)),
        "plan": PLAN,
        "metrics": metrics or {},
        "thresholds": None,
        "clip_frames": 4,
        "aus": (1, 2, 12),
        "crop": vars(CropRecipe()),
        "subjects": Subjects(train=("a",), validation=("b",), test=("c",)),
        "recipe": of.model_dump(mode="json"),
        "recipe_hash": of.hash(),
        "manifest": "0" * 64,
        "versions": {"au-dist": "0.1.0"},
    }
    return CheckpointState(**given | changes)


def step_done(step: int, **changes: Any) -> StepDone:
    given = {"steps": 12, "epoch": step / 4, "loss": 1.0, "grad_norm": 0.5, "loss_scale": None, "lr": 1e-3}
    return StepDone(
        step=step, **{**given, "clips_per_s": 100.0, "step_s": 0.5, "data_wait": 0.0, "eta_s": 1.0, **changes}
    )
