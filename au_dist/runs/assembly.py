"""From a recipe with its data to the module that learns and to what judges it.

Calls neither Ray nor DeepSpeed: what it makes is trained and judged in any process.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from au_dist.core.seeds import torch_seed
from au_dist.data.splits import training_groups
from au_dist.dist.world import World
from au_dist.methods.base import Held, Judgement
from au_dist.methods.frames import unreadable
from au_dist.model.drop_path import draw_alike
from au_dist.runs.context import Context
from au_dist.shards.format import Manifest, read_row_group
from au_dist.storage.store import Store
from au_dist.train.plan import BatchPlan

#: What validation reads of a row.
COLUMNS = ["clip_id", "subject", "video", "number", "jpeg", "label", "valid", "intensity"]


def make_module(context: Context, world: World, *, fresh: bool = True) -> nn.Module:
    """Return the recipe's task around its network.

    Args:
        context: The recipe with its data.
        world: This process among the workers.
        fresh: Initialised from the recipe's seed and encoder weights; otherwise all weights will be put in.
    """
    recipe = context.recipe
    parts = recipe.parts(len(context.aus), context.rates(), world, fresh=fresh)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(recipe.seed, "network"))
        module = recipe.learns.learner().module(parts)
    draw_alike(module, lambda rows: world.own_rows(torch.rand, rows, recipe.views, parts.lanes))
    return module


def idle_inputs(context: Context, plan: BatchPlan, world: World) -> tuple[Any, ...]:
    """Return a micro-batch of grey pictures with alternating labels."""
    frames, size = plan.micro * context.recipe.frames, context.recipe.data.size
    view = torch.zeros(frames, 3, size, size, device=world.device)
    num_aus = max(1, len(context.aus))
    y_BA = (torch.arange(frames, device=world.device) % 2)[:, None].float().expand(-1, num_aus).contiguous()
    return (view,) * context.recipe.views, y_BA, torch.ones_like(y_BA, dtype=torch.bool), 0


def validation_of(context: Context, module: nn.Module, world: World) -> Callable[[], dict[str, Any]]:
    """Return a function that computes the validation metrics, none without validation subjects; frames are read once.

    Dropout and stochastic depth are off meanwhile, and what could not be read is said.
    """
    judge = judge_of(context, module, world) if context.split.validation else None
    return lambda: judge().metrics if judge else {}


def judge_of(context: Context, module: nn.Module, world: World) -> Callable[[], Judgement]:
    """Return a function that judges the module by the frames of its validation subjects, of whom there are some."""
    recipe, manifest = context.recipe, context.manifest
    subjects = {"train": context.split.train, "validation": context.split.validation}
    held = Held(
        rows=lambda part, clips: read_rows(context.store, manifest, subjects[part], world, clips),
        columns=context.columns,
        num_columns=len(manifest.aus),
        labels=recipe.data.labels,
        side=manifest.crop_recipe.size,
        size=recipe.data.size,
        frames=recipe.frames,
        clip_frames=manifest.clip_frames,
        world=world,
    )
    validation = recipe.learns.learner().validation(module, held)

    def judge() -> Judgement:
        module.eval()
        try:
            found = validation.judge()
            return replace(found, beside={**found.beside, **unreadable(validation.read, recipe.data.unreadable, world)})
        finally:
            module.train()

    return judge


def read_rows(
    store: Store, manifest: Manifest, subjects: tuple[str, ...], world: World, clips: int | None
) -> list[dict[str, Any]]:
    """Read this rank's share of some subjects' row groups, evenly thinned to about `clips` clips over all ranks."""
    groups = training_groups(manifest, subjects)
    if clips is not None:
        step = max(1, sum(group.clips for group in groups) // clips)
        groups = groups[::step]
    rows: list[dict[str, Any]] = []
    for group in groups[world.rank :: world.size]:
        shard = manifest.shards[group.shard]
        rows += read_row_group(store, shard, group.group, COLUMNS).to_pylist()
    return rows
