"""One trial: a training run like any other, driven step by step by Ray Tune; a step is a validation."""

import json
import math
import os
import threading
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.train import UserCallback
from ray.util.queue import Empty, Queue

from au_dist.core.errors import AuDistError, ClusterError, LeaseLostError, RunStoppedError, StorageError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import make_context
from au_dist.runs.session import ENVIRONMENT
from au_dist.runs.train import train
from au_dist.storage.store import Store
from au_dist.train.events import StepDone
from au_dist.train.plan import worker_counts
from au_dist.train.record import METRICS
from au_dist.tuning.presence import asker

#: What a trial reports last.
OUTCOME = "outcome"

#: How many validations a trial will come to; with each of them.
VALIDATIONS = "validations"

#: What a trial reports when its workers have done their first step, and nothing else then.
BEGUN = "begun"

#: The outcome of a trial whose workers were not placed: it is to be tried again when there is room.
ROOMLESS = "no room"

#: When a scheduler may judge; absent at the last validation, because stopping a finished trial saves nothing.
RUNG = "rung"

#: Why a trial has no workers that was drawn, or taken up again, when its campaign was asked to stop.
NOT_BEGUN = "The campaign was asked to stop before this trial's workers were started."

#: Seconds that a run which is stopped early may take to let go of its workers.
STOP_TIMEOUT_S = 60.0


class StoppedEarly(Exception):  # noqa: N818 - nothing went wrong
    """Ends a run at a validation; raised in Ray Train's controller, which then shuts the workers down."""


class Ask(UserCallback):
    """Sends each validation to the trial and waits to be told whether the run goes on.

    Ray's own `TuneReportCallback` does not do here. Its queue is read by Tune's thread while the trial's thread reports
    too, and with a slow driver the two wait for each other for good. And a trial that is stopped early is then killed,
    which leaves its workers' CPUs reserved wherever Ray Train's clean-up finds more than one Ray on the machine.
    """

    def __init__(self, mailbox: Queue, verdicts: Queue) -> None:
        self.mailbox, self.verdicts = mailbox, verdicts

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Called in Ray Train's controller when all workers have reported; their metrics are equal."""
        self.mailbox.put(metrics[0])
        if not self.verdicts.get():
            raise StoppedEarly


class Training:
    """A run in a thread of its own, which waits at each validation until it is asked for the next.

    Args:
        recipe: The run; where it was begun before, its validations of then come first.
        asked_to_stop: Says whether it is to store a checkpoint and stop.
    """

    def __init__(self, recipe: Recipe, asked_to_stop: Callable[[], bool] = lambda: False) -> None:
        context = make_context(recipe)
        self.recipe, self.plan = recipe, context.plan(worker_counts(recipe)[-1])
        self.past = past_validations(context.run, context.resume_step()[0])
        self.mailbox, self.verdicts = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
        self.outcome: dict[str, Any] = {}
        self.asked = False
        self.begun, self.begun_told = threading.Event(), False
        self.ready: dict[str, Any] | None = None
        self.leaving, self.asked_to_stop = threading.Event(), asked_to_stop
        self.thread: threading.Thread | None = None

    def next(self) -> dict[str, Any]:
        """Return the next validation, once that the workers have begun, or at last what became of the run.

        A validation has ``validation`` (from 1) and how many there will be, ``step``, the metrics and ``rung``. The
        outcome is ``finished`` with the run's best metric, ``failed`` (this recipe cannot be trained), ``no room``,
        ``interrupted`` (something outside it went wrong, it can be taken up again) or ``lost`` (nobody knows why), the
        four with an ``error``.
        """
        if self.past:
            return self._validation(self.past.pop(0))
        if self.ready:
            ready, self.ready = self.ready, None
            return ready
        if self.thread is None:
            if self.asked_to_stop():
                return {OUTCOME: "interrupted", "error": NOT_BEGUN}
            self.thread = threading.Thread(target=self._run, name=self.recipe.name, daemon=True)
            self.thread.start()
        self._answer(True)
        while self.thread.is_alive():
            if self.asked_to_stop():
                self.leaving.set()
            if self.begun.is_set() and not self.begun_told:
                return self._tell_begun()
            try:
                metrics = self.mailbox.get(timeout=0.5)
            except Empty:
                continue
            self.asked = True
            self.begun.set()
            self.ready = self._validation(metrics)
            return self.next() if self.begun_told else self._tell_begun()
        return self.outcome

    def stop(self) -> None:
        """End the run at the validation that it waits at, and wait until its workers are gone."""
        self._answer(False)
        if self.thread is not None:
            self.thread.join(STOP_TIMEOUT_S)

    def _tell_begun(self) -> dict[str, Any]:
        self.begun_told = True
        return {BEGUN: True}

    def _validation(self, metrics: dict[str, Any]) -> dict[str, Any]:
        number, all_of_them = (math.ceil(step / self.plan.every) for step in (metrics["step"], self.plan.steps))
        return {
            **metrics,
            "validation": number,
            VALIDATIONS: all_of_them,
            **({RUNG: number} if metrics["step"] < self.plan.steps else {}),
        }

    def _answer(self, verdict: bool) -> None:
        if self.asked:
            self.asked = False
            self.verdicts.put(verdict)

    def _see(self, event: Any) -> None:
        if isinstance(event, StepDone):
            self.begun.set()

    def _run(self) -> None:
        """Train; the thread's last word is the outcome."""
        try:
            result = train(self.recipe, self._see, (Ask(self.mailbox, self.verdicts),), self.leaving)
        except Exception as error:  # noqa: BLE001
            self.outcome = outcome_of(error)
        else:
            if result["best"] is not None:
                self.outcome = {OUTCOME: "finished", result["metric"]: result["best"]}
            else:
                self.outcome = {OUTCOME: "failed", "error": f"{result['metric']} is no number at any validation."}


def outcome_of(error: Exception) -> dict[str, Any]:
    """Return what becomes of a trial that ends in an error."""
    match error:
        case ClusterError():
            return {OUTCOME: ROOMLESS, "error": str(error)}
        case StorageError() | RunStoppedError() | LeaseLostError():
            return {OUTCOME: "interrupted", "error": str(error)}
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
    """What Ray Tune calls, in a process of its own."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the run of a trial's configuration; where it cannot be, the first step says why."""
        self.training: Training | None = None
        try:
            recipe = Recipe.model_validate(config["recipe"])
            os.environ.update({name: text for name, text in ENVIRONMENT.items() if name not in os.environ})
            os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(recipe.workers.start_timeout_s)
            self.training = Training(recipe, asker(config.get("leaving")))
        except Exception as error:  # noqa: BLE001
            self.refused = outcome_of(error)

    def step(self) -> dict[str, Any]:
        """Return the next validation or the outcome."""
        message = self.refused if self.training is None else self.training.next()
        return {**message, "done": OUTCOME in message}

    def cleanup(self) -> None:
        """End the run if it is under way: early stopping."""
        if self.training is not None:
            self.training.stop()
