"""Train a recipe: the driver's side. The same call again resumes, or says that the run is done."""

import json
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from au_dist.core.errors import AuDistError, ClusterError, ResumeError, RunStoppedError, TrainError
from au_dist.recipes.files import absolute
from au_dist.recipes.recipe import Recipe
from au_dist.runs.claims import FOLDER, claimed
from au_dist.runs.context import Context, make_context, starting_point
from au_dist.runs.label_needs import label_notes
from au_dist.runs.leases import acquire
from au_dist.train import checkpoint
from au_dist.train.events import Noted, WorkersLost
from au_dist.train.plan import worker_counts

if TYPE_CHECKING:
    from au_dist.runs.coordinator import Show

#: Seconds between looks whether the cluster has room for another number of workers.
RESIZE_S = 15.0

#: Seconds that an elastic run waits for workers that Ray finds room for, before room is counted again; how often.
COUNT_AGAIN_S, COUNT_AGAIN = 15.0, 10

RESULT = "result.json"


def train(
    recipe: Recipe,
    show: "Show" = lambda event: None,
    callbacks: tuple[Any, ...] = (),
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Train, resume, or find a run complete; Ray must be connected.

    Args:
        recipe: The run.
        show: Called in this process with each event as it comes.
        callbacks: Ray Train callbacks.
        stop: Set when the run is to store a checkpoint and stop.

    Returns:
        The run's result: name, place, steps, best step, metrics.

    Raises:
        AuDistError: What stopped the run, for a person. A run that never began leaves nothing behind, so that its name
            is free for a corrected recipe.
    """
    context = make_context(absolute(recipe))
    for count in worker_counts(context.recipe):
        context.plan(count)
    done = context.run.exists(RESULT)
    # All that can be refused is refused before the run has a name.
    notes = [] if done or checkpoint.steps(context.run) else label_notes(context)
    if not done:
        starting_point(context)
    with claimed(context) as lease:
        if done:
            return json.loads(context.run.read(RESULT))
        for words in notes:
            show(Noted(words))
        if not trained(context):
            _fit(context, show, callbacks, stop or threading.Event(), lease)
    return finish(context)


def trained(context: Context) -> bool:
    """Return whether the checkpoint of the last step is stored and whole: no worker need start."""
    last = context.plan(1).steps
    return last in checkpoint.steps(context.run) and context.resume_step()[0] == last


def _fit(context: Context, show: "Show", callbacks: tuple[Any, ...], stop: threading.Event, lease: str) -> None:
    import ray

    from au_dist.runs.coordinator import RunMonitor, start_coordinator

    acquire(context.run, lease)
    try:
        coordinator = start_coordinator()
        while True:
            with RunMonitor(coordinator, show, stop):
                _apart(_trainer(context, coordinator, lease, callbacks).fit)
            done = max(checkpoint.steps(context.run), default=0) == context.plan(1).steps
            if done or not ray.get(coordinator.moves.remote()):
                return
    except Exception as error:
        raise _for_people(error, context) from error


def _apart(work: Callable[[], object]) -> None:
    """Do something in a thread of its own and wait for it: in the main one Ray Train would take Ctrl-C for itself."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.set_exception(error)

    thread = threading.Thread(target=run, name="fit", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # `_thread.interrupt_main` wakes nobody who waits without end
    done.result()


def _trainer(context: Context, coordinator: Any, lease: str, callbacks: tuple[Any, ...]) -> Any:
    """Return Ray Train's trainer of a run, which goes on from the newest whole checkpoint."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    from au_dist.compat.ray_ranks import RankConfig
    from au_dist.compat.ray_train import RankTrainer
    from au_dist.runs.elastic import lane_policy
    from au_dist.runs.failure_policy import FailurePolicy

    workers = context.recipe.workers
    filesystem, path = context.run.filesystem_anywhere()
    resources = {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
    counts = worker_counts(context.recipe)
    elastic = len(counts) > 1
    # Where nodes have just gone, Ray may believe for a while that there is room: an elastic run soon counts again.
    patience = min(COUNT_AGAIN_S, workers.start_timeout_s) if elastic else workers.start_timeout_s
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(patience)

    scaling = ScalingConfig(
        num_workers=(counts[0], counts[-1]) if elastic else counts[0],
        use_gpu=workers.gpus > 0,
        resources_per_worker=resources,
        elastic_resize_monitor_interval_s=RESIZE_S,
    )
    return RankTrainer(
        _work,
        policy=lane_policy(context, scaling) if elastic else None,
        train_loop_config={
            "context": context,
            "source": ray.put(context.source()),
            "coordinator": coordinator,
            "lease": lease,
        },
        scaling_config=scaling,
        run_config=RunConfig(
            name=FOLDER,
            storage_path=path,
            storage_filesystem=filesystem,
            # Without a limit a group of workers that cannot be placed is asked for again without end.
            failure_config=FailureConfig(
                max_failures=workers.max_failures, controller_failure_limit=COUNT_AGAIN if elastic else 0
            ),
            callbacks=[FailurePolicy(lambda words: coordinator.add.remote(WorkersLost(words))), *callbacks],
        ),
        backend_config=RankConfig("nccl" if workers.gpus else "gloo"),
    )


def _work(config: dict[str, Any]) -> None:
    """Train one rank; the worker's module loads torch, which the driver has no need of."""
    from au_dist.runs.worker import train_worker

    train_worker(config)


def _for_people(error: BaseException, context: Context) -> AuDistError:
    """Return our own error among the causes of a failed run, or one that says what is known."""
    from au_dist.runs.failure_policy import our_error, want_of_room

    if (ours := our_error(error)) is None and want_of_room(error):
        workers, count = context.recipe.workers, worker_counts(context.recipe)[-1]
        gpus = f" and {workers.gpus:g} GPU" if workers.gpus else ""
        return ClusterError(
            "The cluster has no room for the workers",
            where=f"{context.run.uri}, for {workers.start_timeout_s:g} s (workers.start_timeout_s)",
            expected=f"room for {count} x {workers.cpus:g} CPU{gpus}, each whole on one node",
            fix="Wait for what else uses the cluster, add nodes, or ask for less; the same command goes on.",
        )
    last = [line for line in str(error).splitlines() if line.strip()]
    return ours or RunStoppedError(
        "The run stopped",
        where=context.run.uri,
        found=last[-1].strip()[:300] if last else type(error).__name__,
        fix="The same command resumes from the last checkpoint; --debug shows the traceback.",
    )


def finish(context: Context) -> dict[str, Any]:
    """Write and return the run's result after its last step."""
    metric = context.recipe.metric
    last, best = checkpoint.newest(context.run), checkpoint.best(context.run, metric)
    if last is None or best is None:
        raise TrainError("The run ended without a checkpoint", where=context.run.uri)
    state = checkpoint.state(last)
    if state.step < state.plan.steps:
        raise ResumeError(
            "The run was asked to stop",
            where=context.run.uri,
            found=f"step {state.step} of {state.plan.steps}, stored",
            fix="The same command goes on from there.",
        )
    result = {
        "name": context.recipe.name,
        "run": context.run.uri,
        "steps": state.step,
        "metric": metric,
        "best_step": checkpoint.state(best).step,
        "best": number if math.isfinite(number := checkpoint.value(best, metric)) else None,
        "last": state.metrics,
    }
    context.run.write(RESULT, json.dumps(result, indent=1).encode())
    return result
