"""A measured preview of a run: short runs of the recipe and of what might be faster; advice comes from these."""

import math
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from au_dist.config.files import override, parse
from au_dist.core.errors import AuDistError, TrainError
from au_dist.recipes.files import absolute
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import Context, make_context
from au_dist.runs.train import train
from au_dist.storage.store import open_store
from au_dist.train.events import Event, StepDone, Stored
from au_dist.train.plan import BatchPlan

#: Steps before the first checkpoint of a short run that are not counted: everything starts.
WARM = 5

#: What is not faster by so much is no reason to change anything.
WORTH = 1.05

#: Shares of a run's time that are too much for waiting for data, and for validation.
WAITS, VALIDATES = 0.05, 0.25


@dataclass(frozen=True)
class Measured:
    """What a short run took.

    Attributes:
        change: How its recipe differs from the one that was asked about, `key=value`; empty for that one.
        step_s: Seconds of a step, on average.
        error_s: Standard error of that.
        waits: Share of them in which the leading worker waited for data.
        memory_mib: Most memory of a worker: the GPU's, or its process's where it trains on CPUs.
        first_s: Seconds of the first validation, which reads its frames.
        validation_s: Seconds of a later one.
        stored_mib: Size of a checkpoint.
        stored_s: Seconds until it was stored, while training went on.
        start_s: Seconds from the command to the first step.
        error: What ended it; the other numbers are not there then.
    """

    change: str
    step_s: float = math.nan
    error_s: float = math.nan
    waits: float = math.nan
    memory_mib: float = math.nan
    first_s: float = math.nan
    validation_s: float = math.nan
    stored_mib: float = math.nan
    stored_s: float = math.nan
    start_s: float = math.nan
    error: str = ""


@dataclass(frozen=True)
class Estimate:
    """What the whole run will take.

    Attributes:
        training_s: Seconds of all steps.
        validation_s: Seconds of all validations.
        waiting_s: Seconds that training stands still because a checkpoint waits for the one before it, or is the last.
        gpu_hours: Of all workers; 0 where they have no GPU.
        cpu_hours: Of all workers and their reading.
        checkpoints: How many are made.
        stored_mib: Size of those that stay.
    """

    training_s: float
    validation_s: float
    waiting_s: float
    gpu_hours: float
    cpu_hours: float
    checkpoints: int
    stored_mib: float

    @property
    def total_s(self) -> float:
        """Seconds of the run, without the start of its processes."""
        return self.training_s + self.validation_s + self.waiting_s


@dataclass(frozen=True)
class Preview:
    """What is known of a run before it is started.

    Attributes:
        context: The recipe with its data.
        plan: The batch plan.
        measured: Short runs; the first one is the recipe's own.
        estimate: What the whole run will take.
        advice: What to change, and why.
    """

    context: Context
    plan: BatchPlan
    measured: tuple[Measured, ...]
    estimate: Estimate
    advice: tuple[str, ...]


def preview(
    recipe: Recipe, workers: int, steps: int, variants: bool, show: Callable[[str], None] = lambda text: None
) -> Preview:
    """Measure a recipe; Ray must be connected. Nothing of it stays in storage.

    Args:
        recipe: The run.
        workers: Number of workers, one of those that the recipe allows.
        steps: Steps that are measured of each short run, after the first ones.
        variants: Whether other settings are measured too.
        show: Called with what is measured next.

    Raises:
        AuDistError: The recipe does not run as it is.
    """
    context = make_context(absolute(recipe))
    plan = context.plan(workers)
    measured = []
    # Once more at the end: machines have moods, and what is within them is no advice.
    for change in ["", *([*_variants(recipe, workers), ""] if variants else ())]:
        show(change or "the recipe as it is")
        changed = parse(Recipe, override(recipe.model_dump(mode="json"), change.split()), "the recipe")
        try:
            measured.append(measure(changed, plan, steps, change))
        except AuDistError as error:
            if not measured:
                raise
            measured.append(Measured(change, error=str(error)))
    whole_run = estimate(recipe, plan, measured[0])
    return Preview(context, plan, tuple(measured), whole_run, (*advise(measured), *validation_advice(whole_run)))


def _variants(recipe: Recipe, workers: int) -> Iterator[str]:
    """Yield what is tried: one thing changed at a time."""
    places = ("worker", "tasks", "gpu") if recipe.workers.gpus else ("worker", "tasks")
    yield from (f"data.decode={place}" for place in places if place != recipe.data.decode)
    if workers > 1:  # one worker has nobody to share with
        yield from (f"engine.zero={stage}" for stage in range(4) if _other_stage(recipe, stage))
    if not recipe.engine.activation_checkpointing:
        yield "engine.activation_checkpointing=true"


def _other_stage(recipe: Recipe, stage: int) -> bool:
    return stage != recipe.engine.zero and (stage > 0 or not recipe.engine.offload)


def measure(recipe: Recipe, plan: BatchPlan, steps: int, change: str) -> Measured:
    """Train a recipe for some steps, under a name of its own, and remove what it stored.

    Args:
        recipe: The recipe.
        plan: Its batch plan.
        steps: Steps that are measured.
        change: How it differs from what was asked about.

    Raises:
        AuDistError: It does not run.
    """
    half = WARM + math.ceil(steps / 2)
    short = parse(
        Recipe,
        override(
            recipe.model_dump(mode="json"),
            [
                f"name=plan-{secrets.token_hex(4)}",
                # So that the steps come out even; two validations, the first of which reads.
                f"optim.epochs={(2 * half - 0.5) * plan.clips / plan.epoch_clips}",
                f"checkpoint.every_steps={half}",
                f"workers.count={plan.world}",
                "workers.max_failures=0",
            ],
        ),
        "the recipe",
    )
    events: list[Event] = []
    begun, first_seen = time.monotonic(), list[float]()

    def see(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepDone) and not first_seen:
            first_seen.append(time.monotonic())

    try:
        train(short, see)
    finally:
        open_store(short.runs).at(short.name).delete("")
    done = [event for event in events if isinstance(event, StepDone)]
    counted = [event for event in done if (event.step - 1) % half >= WARM]
    stored = {event.step: event for event in events if isinstance(event, Stored)}
    if not {half, 2 * half} <= set(stored) or len(counted) < steps:
        raise TrainError("The short run was disturbed", where=change or "the recipe as it is", fix="Ask again.")
    first, last = stored[half], stored[2 * half]
    seconds = [plan.clips / event.clips_per_s for event in counted]
    return Measured(
        change,
        start_s=first_seen[0] - begun,
        step_s=statistics.mean(seconds),
        error_s=statistics.stdev(seconds) / len(seconds) ** 0.5,
        waits=sum(event.data_wait * s for event, s in zip(counted, seconds, strict=True)) / sum(seconds),
        memory_mib=_known(last.memory_mib),
        first_s=_known(first.validated_s),
        validation_s=_known(last.validated_s),
        stored_mib=last.bytes / 2**20,
        stored_s=last.seconds,
    )


def _known(number: float | None) -> float:
    return math.nan if number is None else number


def estimate(recipe: Recipe, plan: BatchPlan, own: Measured) -> Estimate:
    """Return what a whole run will take."""
    kept, count = recipe.checkpoint, math.ceil(plan.steps / plan.every)
    training, validation = plan.steps * own.step_s, own.first_s + (count - 1) * own.validation_s
    between = plan.every * own.step_s + own.validation_s
    waiting = (count - 1) * max(0.0, own.stored_s - between) + own.stored_s
    hours = plan.world * (training + validation + waiting) / 3600
    stay = min(
        count,
        kept.last_k + kept.top_k + (plan.steps // kept.keep_multiples_of if kept.keep_multiples_of else 0),
    )
    return Estimate(
        training_s=training,
        validation_s=validation,
        waiting_s=waiting,
        gpu_hours=hours * recipe.workers.gpus,
        cpu_hours=hours * (recipe.workers.cpus + recipe.data.cpus),
        checkpoints=count,
        stored_mib=stay * own.stored_mib,
    )


def _surely(own: Measured, other: Measured) -> bool:
    """Return whether the difference of two averages is more than twice its standard error."""
    return own.step_s - other.step_s > 2 * math.hypot(own.error_s, other.error_s)


def advise(measured: list[Measured]) -> Iterator[str]:
    """Yield what is worth a change, by what was measured; the recipe itself counts with its best turn."""
    own = min((some for some in measured if not (some.change or some.error)), key=lambda some: some.step_s)
    others = [some for some in measured if some.change]
    faster = [other for other in others if own.step_s / other.step_s >= WORTH and _surely(own, other)]
    for key in sorted({other.change.partition("=")[0] for other in faster}):
        best = min((other for other in faster if other.change.startswith(key)), key=lambda other: other.step_s)
        yield f"{best.change}: {own.step_s / best.step_s:.2f} times as fast"
    for other in others:
        slower, smaller = other.step_s / own.step_s, other.memory_mib / own.memory_mib
        if other not in faster and smaller <= 0.9:
            yield f"{other.change} only if memory is short: {smaller:.0%} of it, at {slower:.2f} times the time"
    if own.waits > WAITS and not any(other.change.startswith("data.decode") for other in faster):
        yield f"steps wait for data {own.waits:.0%} of the time: give it more with data.cpus or data.prefetch"


def validation_advice(found: Estimate) -> Iterator[str]:
    """Yield what to do about validations that take much of a run."""
    share = found.validation_s / found.total_s
    if share > VALIDATES:
        yield f"validation takes {share:.0%} of the time: validate less often with checkpoint.every_steps"
