"""One training worker: context, data, network, engine, resume, loop, done."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
import ray.train
import torch

from au_dist.config.recipe import Recipe
from au_dist.config.sections import Labels
from au_dist.core.errors import TakenOverError, TrainError
from au_dist.core.seeds import torch_seed
from au_dist.data.batches import Ahead, Batch, deal, make_batch
from au_dist.data.decode import already, in_threads, on_gpu
from au_dist.data.order import lanes_of
from au_dist.data.pipeline import iterate, training_groups
from au_dist.dist.deepspeed_engine import Engine
from au_dist.dist.world import World
from au_dist.methods.tasks import Contrast, Detect, Predict, Regress
from au_dist.methods.validate import Frames, detection_metrics, outputs, probe_metrics, unreadable
from au_dist.methods.validate_clips import Clips, intensity_metrics, prediction_metrics
from au_dist.model.clip_network import ClipNetwork
from au_dist.model.encoders import recompute, stages
from au_dist.model.network import AUNetwork
from au_dist.runs.context import Context, initial_weights
from au_dist.runs.host import RunHost
from au_dist.runs.session import ENVIRONMENT
from au_dist.shards.format import read_row_group
from au_dist.train import checkpoint
from au_dist.train.ledger import Ledger
from au_dist.train.loop import Loop
from au_dist.train.plan import BatchPlan, rate_shares

#: Training clips that the probe of a pretraining is fitted on, over all ranks.
PROBE_CLIPS = 512
PROBE_FRAMES = 2

#: What validation reads of a row.
COLUMNS = ["clip_id", "subject", "video", "number", "jpeg", "label", "valid", "intensity"]

#: Contrast sets in which a frozen network that was never trained collects its running statistics.
SETTLE = 30


def train_worker(config: dict[str, Any]) -> None:
    """Train one rank of a run; called by Ray Train in each worker."""
    os.environ.update({name: text for name, text in ENVIRONMENT.items() if name not in os.environ})
    context: Context = config["context"]
    recipe = context.recipe
    world = _world(recipe)
    plan = context.plan(world.size)
    shard = ray.train.get_dataset_shard("train")
    # Decided once for all ranks, with their data: a checkpoint may become complete at any moment.
    start = ray.get(config["board"].begun.remote())
    resumed = context.run.at(checkpoint.folder(start)) if start else None

    # First of all: the data's own processes start while the network is built.
    lanes = lanes_of(world.rank, world.size, recipe.data.lanes)
    batches = Ahead(_batches(context, plan, shard, start, lanes, world.device), depth=2)
    ledger = Ledger(context.run, world.rank, world.size, lanes, plan.take, start * plan.accumulate)
    module = make_module(context, world, fresh=resumed is None)
    recompute(module, recipe.engine.activation_checkpointing)
    if resumed is not None:
        weights = checkpoint.tensors(resumed, checkpoint.WEIGHTS)
        module.load_state_dict(weights)
    else:
        module.load_state_dict(initial_weights(context), strict=False)

    engine = Engine(
        module,
        recipe.engine,
        recipe.optim,
        micro=plan.micro,
        accumulate=plan.accumulate,
        world=world,
        shares=rate_shares(stages(module), recipe.optim),
    )
    if resumed is not None and start < plan.steps:
        moments = checkpoint.tensors(resumed, checkpoint.OPTIMIZER)
        engine.restore(weights, moments, start, *_idle_inputs(context, plan, world))

    host = RunHost(
        context,
        plan,
        start,
        world,
        engine,
        ledger,
        config["board"],
        config["owner"],
        validation_of(context, module, world),
        lambda: _idle_inputs(context, plan, world),
    )
    loop = Loop(
        plan=plan,
        start=start,
        batches=ledger.noting(batches) if recipe.keep.ledger else batches,
        engine=engine,
        lr=recipe.optim.lr,
        skip=recipe.optim.skip,
        unreadable=recipe.data.unreadable,
        size=recipe.data.size,
        world=world,
        host=host,
    )
    try:
        loop.run()
    except TakenOverError:
        raise  # nothing may be written any more
    except TrainError:
        host.close()  # what led there is in the record
        host.await_leader()
        raise
    batches.close()
    host.close()
    engine.close()


def _world(recipe: Recipe) -> World:
    ranks = ray.train.get_context()
    torch.set_num_threads(max(1, int(recipe.workers.cpus)))
    device = ray.train.torch.get_device() if recipe.workers.gpus else torch.device("cpu")
    return World(ranks.get_world_rank(), ranks.get_world_size(), device)


def make_module(context: Context, world: World, *, fresh: bool = True) -> torch.nn.Module:
    """Return the recipe's task around its network.

    Args:
        context: The recipe with its data.
        world: This process among the workers.
        fresh: Initialised from the recipe's seed and encoder weights; otherwise all weights will be put in.
    """
    recipe, rates = context.recipe, context.rates()
    model = recipe.model if fresh else recipe.model.model_copy(update={"weights": None})
    odds = [min(10.0, (1 - rate) / rate) if rate > 0 else 1.0 for rate in rates]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(recipe.seed, "network"))
        if recipe.reads_clips:
            reader = ClipNetwork(model, recipe.data.size)
            if recipe.method == "predictive":
                return Predict(reader, recipe.predictive, world)
            return Regress(reader, model, len(context.aus), recipe.frames, world)
        network = AUNetwork(model, len(context.aus), recipe.data.size)
        if recipe.method == "aunce":
            minority_A = torch.tensor([0.0 if rate > 0.5 else 1.0 for rate in rates])
            return Contrast(network, recipe.aunce, minority_A, recipe.seed, recipe.data.lanes, world)
        weight_A = torch.tensor(odds if recipe.detection.balance else [1.0] * len(rates))
        settle = SETTLE if recipe.init is None else 0
        return Detect(network, recipe.detection.train == "probe", weight_A, world, settle)


def _batches(
    context: Context, plan: BatchPlan, shard: Any, start: int, lanes: tuple[int, ...], device: torch.device
) -> Iterator[Batch]:
    data, size = context.recipe.data, context.manifest.crop_recipe.size
    tables = iterate(shard, data.prefetch)
    threads = max(1, int(context.recipe.workers.cpus))
    with ThreadPoolExecutor(threads, "decode") as pool:
        places = {"worker": lambda: in_threads(pool, threads, size), "tasks": lambda: already(size)}
        decode = places.get(data.decode, lambda: on_gpu(device, size))()
        for rows in deal(tables, lanes, start * plan.accumulate * plan.take, plan.take):
            yield make_batch(rows, len(context.aus), decode)


def _idle_inputs(context: Context, plan: BatchPlan, world: World) -> tuple[Any, ...]:
    """Return a micro-batch of grey pictures with alternating labels."""
    frames, size = plan.micro * context.recipe.frames, context.recipe.data.size
    view = torch.zeros(frames, 3, size, size, device=world.device)
    aus = max(1, len(context.aus))
    y_BA = (torch.arange(frames, device=world.device) % 2)[:, None].float().expand(-1, aus).contiguous()
    return (view,) * (2 if context.recipe.method == "aunce" else 1), y_BA, torch.ones_like(y_BA, dtype=torch.bool), 0


def validation_of(context: Context, module: Any, world: World) -> Callable[[], dict[str, Any]]:
    """Return a function that computes the validation metrics; its frames are read once."""
    recipe, size, aus = context.recipe, context.recipe.data.size, len(context.aus)
    subjects = context.split.validation
    if recipe.reads_clips:
        # Intensity is judged at every frame of a clip, foresight by the clip's first window.
        frames = recipe.frames if recipe.method else context.manifest.clip_frames
        rows = _rows(context, subjects, world)
        clips = Clips(rows, *_labels(context), frames=frames)
        metrics = prediction_metrics if recipe.method else intensity_metrics
        return _judging(context, module, world, [clips], lambda: metrics(module, clips, size, world))
    validation = Frames(_rows(context, subjects, world), *_labels(context))

    def detection() -> dict[str, Any]:
        logits_NA = torch.from_numpy(outputs(module.logits, validation, size, aus, world))
        return detection_metrics(torch.sigmoid(logits_NA).numpy(), validation, world)

    if recipe.task == "detection":
        return _judging(context, module, world, [validation], detection)
    train = Frames(_rows(context, context.split.train, world, PROBE_CLIPS), *_labels(context), take=PROBE_FRAMES)

    def probe() -> dict[str, Any]:
        train_NAD = outputs(module.network, train, size, aus, world)
        return probe_metrics(train_NAD, train, outputs(module.network, validation, size, aus, world), validation, world)

    return _judging(context, module, world, [train, validation], probe)


def _judging(
    context: Context, module: torch.nn.Module, world: World, read: list[Any], compute: Callable[[], dict[str, Any]]
) -> Callable[[], dict[str, Any]]:
    """Return what computes metrics while dropout and stochastic depth are off, and says what could not be read."""

    def judge() -> dict[str, Any]:
        module.eval()
        try:
            return {**compute(), **unreadable(read, context.recipe.data.unreadable, world)}
        finally:
            module.train()

    return judge


def _labels(context: Context) -> tuple[list[int], int, Labels, int]:
    """Return what `Frames` and `Clips` are told of the rows: label columns, budget, side of the frames."""
    manifest = context.manifest
    return context.columns, len(manifest.aus), context.recipe.data.labels, manifest.crop_recipe.size


def _rows(context: Context, subjects: tuple[str, ...], world: World, clips: int | None = None) -> list[dict[str, Any]]:
    """Read this rank's share of some subjects' row groups, evenly thinned to about `clips` clips over all ranks."""
    groups = training_groups(context.manifest, subjects)
    if clips is not None:
        step = max(1, sum(group.clips for group in groups) // clips)
        groups = groups[::step]
    rows: list[dict[str, Any]] = []
    for group in groups[world.rank :: world.size]:
        shard = context.manifest.shards[group.shard]
        rows += read_row_group(context.store, shard, group.group, COLUMNS).to_pylist()
    return rows
