"""Train a recipe: the driver's side. The same call again resumes, or says that the run is done."""

import json
import math
import threading
from typing import TYPE_CHECKING, Any

from au_dist.core.errors import AuDistError, NoRoomError, ResumeError, RunStoppedError, TrainError
from au_dist.recipes.files import absolute
from au_dist.recipes.recipe import Recipe
from au_dist.runs.claims import claimed
from au_dist.runs.context import Context, make_context, starting_point
from au_dist.runs.label_needs import label_notes
from au_dist.runs.leases import acquire
from au_dist.runs.trackers import check_tracker, tracked
from au_dist.runs.worker_group import WorkerGroup
from au_dist.train import checkpoint
from au_dist.train.events import Noted
from au_dist.train.plan import worker_counts

if TYPE_CHECKING:
    from au_dist.runs.coordinator import Show

RESULT = "result.json"


def train(
    recipe: Recipe,
    show: "Show" = lambda event: None,
    stop: threading.Event | None = None,
    drop: threading.Event | None = None,
    group: WorkerGroup | None = None,
) -> dict[str, Any]:
    """Train, resume, or find a run complete; Ray must be connected.

    Args:
        recipe: The run.
        show: Called in this process with each event as it comes.
        stop: Set when the run is to store a checkpoint and stop.
        drop: Set when it is to stop at once, and is no more than what is stored already.
        group: The workers; otherwise some that are there for this run alone.

    Returns:
        The run's result: name, place, steps, best step, metrics.

    Raises:
        AuDistError: What stopped the run, for a person. A run that never began leaves nothing behind, so that its name
            is free for a corrected recipe.
    """
    check_tracker(recipe)
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
            asked = stop or threading.Event(), drop or threading.Event()
            with tracked(context, show, lambda: trained(context)) as tell:
                _fit(context, tell, *asked, lease, group or WorkerGroup())
    return finish(context)


def trained(context: Context) -> bool:
    """Return whether the checkpoint of the last step is stored and whole: no worker need start."""
    last = context.plan(1).steps
    return last in checkpoint.steps(context.run) and context.resume_step()[0] == last


def _fit(
    context: Context, show: "Show", stop: threading.Event, drop: threading.Event, lease: str, group: WorkerGroup
) -> None:
    acquire(context.run, lease)
    from au_dist.compat.ray import COMING_S, coming_nodes
    from au_dist.runs.failure_policy import want_of_room

    waits = math.ceil(COMING_S / context.recipe.workers.start_timeout_s)
    while True:
        try:
            moves = group.train(context, lease, show, stop, drop)
        except Exception as error:
            # Machines take minutes to come; their time is not what the recipe's seconds are about.
            waits -= 1
            if stop.is_set() or drop.is_set() or waits < 0 or not (want_of_room(error) and coming_nodes()):
                raise _for_people(error, context) from error
        else:
            if not moves or max(checkpoint.steps(context.run), default=0) == context.plan(1).steps:
                return


def _for_people(error: BaseException, context: Context) -> AuDistError:
    """Return our own error among the causes of a failed run, or one that says what is known."""
    from au_dist.runs.failure_policy import our_error, want_of_room
    from au_dist.runs.room import why_it_waits

    if (ours := our_error(error)) is None and want_of_room(error):
        workers, count = context.recipe.workers, worker_counts(context.recipe)[-1]
        gpus = f" and {workers.gpus:g} GPU" if workers.gpus else ""
        return NoRoomError(
            "The cluster has no room for the workers",
            where=f"{context.run.uri}, for {workers.start_timeout_s:g} s (workers.start_timeout_s)",
            expected=f"room for {count} x {workers.cpus:g} CPU{gpus}, each whole on one node",
            found=why_it_waits(context.recipe),
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
