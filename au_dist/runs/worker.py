"""One training worker: context, data, network, engine, resume, loop, done."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
import ray.train
import torch

from au_dist.core.errors import LeaseLostError, TrainError
from au_dist.data.batches import BackgroundPrefetcher, ClipBatch, interleave_lanes, make_batch
from au_dist.data.decode import already, in_threads, on_gpu
from au_dist.data.order import lanes_of
from au_dist.data.pipeline import iterate, quiet, rank_dataset
from au_dist.dist.collectives import all_gather_objects
from au_dist.dist.deepspeed_engine import DeepSpeedEngine
from au_dist.dist.engine import Engine, StillEngine
from au_dist.dist.world import World
from au_dist.model.encoder import recompute, stages
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import idle_inputs, make_module, validation_of
from au_dist.runs.context import Context, initial_weights
from au_dist.runs.host import RunHost, forget_peak
from au_dist.runs.session import ENVIRONMENT
from au_dist.runs.worker_group import ASK_S
from au_dist.train import checkpoint
from au_dist.train.events import CheckpointDamaged, Resumed
from au_dist.train.ledger import Ledger
from au_dist.train.loop import Loop
from au_dist.train.plan import BatchPlan, rate_shares


def work(coordinator: Any) -> None:
    """Train one rank of run after run, as long as the coordinator has one; called by Ray Train in each worker."""
    os.environ.update({name: text for name, text in ENVIRONMENT.items() if name not in os.environ})
    ranks, done = ray.train.get_context(), 0
    while job := ray.get(coordinator.take.remote(done)):
        if job is True:
            time.sleep(ASK_S)
            continue
        done, (kept,) = job
        train_rank(**ray.get(kept), coordinator=coordinator)
        ray.get(coordinator.finish.remote(ranks.get_world_rank(), ranks.get_world_size()))


def train_rank(context: Context, source: ray.ObjectRef, lease: str, coordinator: Any) -> None:
    """Train one rank of a run.

    Args:
        context: The recipe with its data.
        source: Where the data comes from, in the object store.
        lease: The word of the command that the run belongs to.
        coordinator: What the ranks have in common with the driver.
    """
    recipe = context.recipe
    world = _world(recipe)
    forget_peak(world.device)
    plan = context.plan(world.size)
    # Decided once for all ranks: a checkpoint may become complete at any moment.
    start = all_gather_objects(begin(context, coordinator) if world.is_leader else None, world)[0]
    resumed = context.run.at(checkpoint.folder(start)) if start else None

    # First of all: the data's own processes start while the network is built.
    lanes = lanes_of(world.rank, world.size, recipe.data.lanes)
    batches = BackgroundPrefetcher(_batches(context, plan, source, start, lanes, world), depth=2)
    ledger = Ledger(context.run, world.rank, world.size, lanes, plan.take, plan.sets(start))
    module = make_module(context, world, fresh=resumed is None)
    recompute(module, recipe.engine.activation_checkpointing)
    if resumed is not None:
        weights = checkpoint.tensors(resumed, checkpoint.WEIGHTS)
        module.load_state_dict(weights)
    else:
        module.load_state_dict(initial_weights(context), strict=False)

    engine = _engine(module, recipe, plan, world)
    if resumed is not None and start < plan.steps:
        moments = checkpoint.tensors(resumed, checkpoint.OPTIMIZER)
        engine.restore(weights, moments, start, *idle_inputs(context, plan, world))

    host = RunHost(
        context,
        plan,
        start,
        world,
        engine,
        ledger,
        coordinator,
        lease,
        validation_of(context, module, world),
        lambda: idle_inputs(context, plan, world),
    )
    loop = Loop(
        plan=plan,
        start=start,
        batches=ledger.noting(batches) if recipe.checkpoint.ledger else batches,
        engine=engine,
        optim=recipe.optim,
        unreadable=recipe.data.unreadable,
        size=recipe.data.size,
        seed=recipe.seed,
        world=world,
        host=host,
    )
    try:
        loop.run()
    except LeaseLostError:
        raise  # nothing may be written any more
    except TrainError:
        host.close()  # what led there is in the record
        host.await_leader()
        raise
    batches.close()
    host.close()
    engine.close()


def begin(context: Context, coordinator: Any) -> int:
    """Choose the checkpoint that the workers go on from, and return its step; 0 without one.

    Newer checkpoints that are damaged are named and made incomplete: they will be written again.

    Args:
        context: The recipe with its data.
        coordinator: The run's coordinator, which forgets where the workers were before.
    """
    step, faults = context.resume_step()
    if faults:
        checkpoint.invalidate(context.run, step)
    for fault in faults:
        coordinator.add.remote(CheckpointDamaged(fault))
    if step:
        coordinator.add.remote(Resumed(step))
    ray.get(coordinator.begin.remote())
    return step


def _engine(module: torch.nn.Module, recipe: Recipe, plan: BatchPlan, world: World) -> Engine:
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return StillEngine(module, world)
    return DeepSpeedEngine(
        module,
        recipe.engine,
        recipe.optim,
        micro=plan.micro,
        accumulate=plan.accumulate,
        world=world,
        shares=rate_shares(stages(module), recipe.optim),
    )


def _world(recipe: Recipe) -> World:
    ranks = ray.train.get_context()
    torch.set_num_threads(max(1, int(recipe.workers.cpus)))
    device = ray.train.torch.get_device() if recipe.workers.gpus else torch.device("cpu")
    return World(ranks.get_world_rank(), ranks.get_world_size(), device)


def _batches(
    context: Context, plan: BatchPlan, kept: ray.ObjectRef, start: int, lanes: tuple[int, ...], world: World
) -> Iterator[ClipBatch]:
    data, size = context.recipe.data, context.manifest.crop_recipe.size
    quiet()
    tables = iterate(rank_dataset(kept, lanes, world.size, plan.sets(start)).iterator(), data.prefetch)
    threads = max(1, int(context.recipe.workers.cpus))
    with ThreadPoolExecutor(threads, "decode") as pool:
        places = {"worker": lambda: in_threads(pool, threads, size), "tasks": lambda: already(size)}
        decode = places.get(data.decode, lambda: on_gpu(world.device, size))()
        for rows in interleave_lanes(tables, lanes, plan.sets(start) * plan.take, plan.take):
            yield make_batch(rows, len(context.aus), decode)
