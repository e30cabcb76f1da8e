"""One trial: a training run like any other, driven step by step by Ray Tune; a step is a validation."""

import json
import math
import os
import statistics
import threading
from collections.abc import Callable, Sequence
from queue import Empty, Queue
from typing import Any

from ray import tune

from au_dist.core.errors import (
    AuDistError,
    ClusterError,
    LeaseLostError,
    RecipeError,
    ResumeError,
    RunStoppedError,
    StorageError,
)
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import make_context
from au_dist.runs.session import ENVIRONMENT
from au_dist.runs.trackers import check_tracker
from au_dist.runs.train import train
from au_dist.runs.worker_group import IDLE_S, WorkerGroup
from au_dist.storage.store import Store, open_store
from au_dist.train.events import Event, Leaving, StepDone, Stored, Validated, numbers
from au_dist.train.plan import worker_counts
from au_dist.train.record import METRICS
from au_dist.tuning.presence import EVERY_S, asker, release_asker

#: What a trial reports last.
OUTCOME = "outcome"

#: How many validations a trial will come to; with each of them.
VALIDATIONS = "validations"

#: What a trial reports when its workers have done their first step, and nothing else then.
BEGUN = "begun"

#: The outcome of a trial whose workers were not placed: it is to be tried again when there is room.
ROOMLESS = "no room"

#: Whether workers wait for another trial; with the outcome.
IDLE = "idle"

#: When a scheduler may judge; absent at the last validation, because stopping a finished trial saves nothing.
RUNG = "rung"

#: Why a trial has no workers that was drawn, or taken up again, when its campaign was asked to stop.
NOT_BEGUN = "The campaign was asked to stop before this trial's workers were started."

#: Why the runs of a trial break off that has begun.
BETWEEN = "The campaign was asked to stop between two runs of this trial."

#: Seconds between looks whether a run that gives no validation has ended.
TAKE_S = 0.2

#: Seconds that a run which is stopped early may take to let go of its workers.
STOP_TIMEOUT_S = 60.0


class Training:
    """A run in a thread of its own, whose validations are taken one by one.

    Args:
        recipe: The run; where it was begun before, its validations of then come first.
        group: The workers; otherwise some that are there for this run alone.
        leaving: Says whether the run is to stop.
    """

    def __init__(
        self, recipe: Recipe, group: WorkerGroup | None = None, leaving: Callable[[], Leaving] = lambda: Leaving.NO
    ) -> None:
        context = make_context(recipe)
        self.recipe, self.plan = recipe, context.plan(worker_counts(recipe)[-1])
        self.past = past_validations(context.run, context.resume_step()[0])
        self.group, self.leaving = group or WorkerGroup(), leaving
        self.outcome: dict[str, Any] = {}
        self.validated, self.ready = dict[int, dict[str, Any]](), Queue[dict[str, Any]]()
        self.begun, self.begun_told = threading.Event(), False
        self.stop_asked, self.drop_asked = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def next(self) -> dict[str, Any]:
        """Return the next validation, once that the workers have begun, or at last what became of the run.

        A validation has ``validation`` (from 1) and how many there will be, ``step``, the metrics and ``rung``. The
        outcome is ``finished`` with the run's best metric, ``failed`` (this recipe cannot be trained), ``no room``,
        ``interrupted`` (something outside it went wrong, it can be taken up again) or ``lost`` (nobody knows why), the
        four with an ``error``; with it comes whether workers wait for another run.
        """
        if self.past:
            return self._validation(self.past.pop(0))
        if self.thread is None:
            if self.leaving():
                return {OUTCOME: "interrupted", "error": NOT_BEGUN}
            self.thread = threading.Thread(target=self._run, name=self.recipe.name, daemon=True)
            self.thread.start()
            threading.Thread(target=self._listen, name="leaving", daemon=True).start()
        while True:
            ended = not self.thread.is_alive()
            if self.begun.is_set() and not self.begun_told:
                self.begun_told = True
                return {BEGUN: True}
            try:
                metrics = self.ready.get(timeout=0 if ended else TAKE_S)
            except Empty:
                if ended:
                    return self.outcome
                continue
            if self.begun_told:
                return self._validation(metrics)
            self.begun_told = True  # they came together: one after the other
            self.past.append(metrics)
            return {BEGUN: True}

    def stop(self) -> bool:
        """End the run at once, if it goes on, and return whether it has ended."""
        self.drop_asked.set()
        if self.thread is not None:
            self.thread.join(STOP_TIMEOUT_S)
        return self.thread is None or not self.thread.is_alive()

    def _listen(self) -> None:
        """Pass on that the run is to stop, also while nobody takes its validations."""
        assert self.thread is not None
        while self.thread.is_alive():
            leaving = self.leaving()
            if leaving:
                self.stop_asked.set()
            if leaving is Leaving.AT_ONCE:
                self.drop_asked.set()
            self.thread.join(EVERY_S)

    def _validation(self, metrics: dict[str, Any]) -> dict[str, Any]:
        number, all_of_them = (math.ceil(step / self.plan.every) for step in (metrics["step"], self.plan.steps))
        return {
            **metrics,
            "validation": number,
            VALIDATIONS: all_of_them,
            **({RUNG: number} if metrics["step"] < self.plan.steps else {}),
        }

    def _see(self, event: Event) -> None:
        """Take a validation when its checkpoint is stored."""
        match event:
            case StepDone():
                self.begun.set()
            case Validated():
                self.validated[event.step] = {**numbers(event.metrics), "step": event.step}
            case Stored() if event.step in self.validated:
                self.ready.put(self.validated.pop(event.step))

    def _run(self) -> None:
        """Train; the thread's last word is the outcome."""
        try:
            result = train(self.recipe, self._see, self.stop_asked, self.drop_asked, self.group)
        except Exception as error:  # noqa: BLE001
            self.outcome = outcome_of(error)
        else:
            if result["best"] is not None:
                self.outcome = {OUTCOME: "finished", result["metric"]: result["best"]}
            else:
                self.outcome = {OUTCOME: "failed", "error": f"{result['metric']} is no number at any validation."}


class Series:
    """The runs of a trial, one after another: what is taken of each is its best validation, and at last their mean.

    Args:
        recipes: The runs.
        group: Their workers.
        leaving: Says whether they are to stop.
    """

    def __init__(self, recipes: Sequence[Recipe], group: WorkerGroup, leaving: Callable[[], Leaving]) -> None:
        self.recipes, self.group, self.leaving = recipes, group, leaving
        self.found, self.begun_told = list[float](), False
        self.training = Training(recipes[0], group, leaving)

    def next(self) -> dict[str, Any]:
        """Return what comes next, as `Training.next`; each run counts as a validation, on a rung but for the last."""
        metric, runs = self.recipes[0].metric, len(self.recipes)
        while True:
            if len(self.found) == runs:
                return {OUTCOME: "finished", metric: statistics.mean(self.found)}
            message = self.training.next()
            if BEGUN in message and not self.begun_told:
                self.begun_told = True
                return message
            if message.get(OUTCOME) == "finished":
                self.found.append(message[metric])
                done = len(self.found)
                if done < runs:
                    self.training = Training(self.recipes[done], self.group, self.leaving)
                number = {"validation": done, VALIDATIONS: runs, metric: message[metric]}
                return {**number, **({RUNG: done} if done < runs else {})}
            if OUTCOME in message:
                asked = self.found and message.get("error") == NOT_BEGUN
                return {**message, "error": BETWEEN} if asked else message

    def stop(self) -> bool:
        """End the run under way at once, and return whether it has ended."""
        return self.training.stop()


def outcome_of(error: Exception) -> dict[str, Any]:
    """Return what becomes of a trial that ends in an error."""
    match error:
        case ClusterError():
            return {OUTCOME: ROOMLESS, "error": str(error)}
        case StorageError() | ResumeError() | LeaseLostError():
            return {OUTCOME: "interrupted", "error": str(error)}
        case RunStoppedError():  # its workers were lost, or broke
            return {OUTCOME: "lost", "error": str(error)}
        case AuDistError():
            return {OUTCOME: "failed", "error": str(error)}
    return {OUTCOME: "lost", "error": f"{type(error).__name__}: {error}"[:500]}


def past_validations(run: Store, step: int) -> list[dict[str, Any]]:
    """Return the validations in a run's record up to a step: the workers may have been ahead of the study."""
    if not run.exists(METRICS):
        return []
    rows = [json.loads(line) for line in run.read(METRICS).splitlines()]
    return [row for row in rows if row["step"] <= step and any(name.startswith("val_") for name in row)]


class Trial(tune.Trainable):
    """What Ray Tune calls, in a process of its own, which has one trial after another."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the run of a trial's configuration; where it cannot be, the first step says why."""
        self.group: WorkerGroup | None = None
        self.training: Training | Series | None = None
        self._goes_on, self._listener = threading.Event(), threading.Thread()
        self._prepare(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the run of another trial, for the workers of the one before."""
        self._hear_no_more()
        if self.training is not None and not self.training.stop():
            self.group = None  # it does not hear; whatever is left of it goes with this process
        self._prepare(new_config)
        return True

    def _prepare(self, config: dict[str, Any]) -> None:
        self.training = None
        self._hear(config.get("leaving"), config["number"])
        try:
            recipes = [Recipe.model_validate(recipe) for recipe in config["recipes"]]
            os.environ.update({name: text for name, text in ENVIRONMENT.items() if name not in os.environ})
            home = open_store(config["home"]) if "home" in config else None
            self.group = self.group or WorkerGroup(IDLE_S, home, config.get("campaign", ""))
            leaving = asker(config.get("leaving"), config["number"])
            try:
                check_tracker(recipes[0])
            except RecipeError as error:  # the campaign was checked where it was started: this node lacks something
                self.refused = {OUTCOME: "interrupted", "error": f"On this node: {error}"}
                return
            several = len(recipes) > 1
            self.training = (
                Series(recipes, self.group, leaving) if several else Training(recipes[0], self.group, leaving)
            )
        except Exception as error:  # noqa: BLE001
            self.refused = outcome_of(error)

    def _hear(self, presence: str | None, number: int) -> None:
        """Listen whether the workers are to go."""
        self._goes_on = threading.Event()
        heard = release_asker(presence, number), self._goes_on
        self._listener = threading.Thread(target=self._listen, args=heard, name="release", daemon=True)
        self._listener.start()

    def _listen(self, is_released: Callable[[], bool], goes_on: threading.Event) -> None:
        """Let the workers go that wait for another trial, when another campaign has need of their room."""
        while not goes_on.wait(EVERY_S):
            if is_released():
                self._let_go()
                return

    def _hear_no_more(self) -> None:
        self._goes_on.set()
        if self._listener.is_alive():
            self._listener.join()

    def _let_go(self) -> None:
        if (self.training is None or self.training.stop()) and self.group is not None:
            self.group.close()

    def step(self) -> dict[str, Any]:
        """Return the next validation or the outcome."""
        try:
            message = self.refused if self.training is None else self.training.next()
        except Exception as error:  # noqa: BLE001
            message = outcome_of(error)
        if OUTCOME not in message:
            return {**message, "done": False}
        return {**message, "done": True, IDLE: self.group is not None and self.group.is_idle}

    def cleanup(self) -> None:
        """End the run if it is under way, and let its workers go."""
        self._hear_no_more()
        self._let_go()
