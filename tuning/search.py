"""The search as Ray Tune sees it: who is tried next, who is stopped early."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import Searcher

from au_dist.core.errors import RecipeError
from au_dist.runs.worker_group import IDLE_S
from au_dist.train.plan import worker_counts
from au_dist.tuning.budget import spent
from au_dist.tuning.campaign import RECORDS, Campaign
from au_dist.tuning.presence import Presence, Standing
from au_dist.tuning.record import TrialState
from au_dist.tuning.retention import Retention
from au_dist.tuning.room import Room, Wait
from au_dist.tuning.sections import Budget, EarlyStopping
from au_dist.tuning.study import Study
from au_dist.tuning.trial import BEGUN, IDLE, OUTCOME, ROOMLESS, RUNG, VALIDATIONS

Show = Callable[[dict[str, Any]], None]

#: Seconds of waiting between two words of it, and before the first.
SAY_S, PATIENT_S = 60.0, 5.0

#: Trials in a row that something outside them interrupted before a validation, for each that runs at once, after which
#: no other begins: a store that workers cannot reach would burn them all. Those that are lost are parked one by one.
FRUITLESS = 3

#: Seconds before idle workers go, in which nothing is given to them any more.
GOING_S = 5.0

#: How often a trial may find no room although there seemed to be: then it is left for the next command.
MOST_ROOMLESS = 3

#: No trial is stopped for its length; that is the recipe's to say.
LONGEST = 10**9


class StudySearch(Searcher):
    """Lets a study decide what is tried: first the trials that are unfinished in it, then new ones.

    Ray's own `OptunaSearch` starts every trial that was under way anew, under another number.

    Args:
        campaign: The campaign.
        study: Its study.
        show: Called with a row for each event.
        stop: Set when no other trial is to begin.
        room: Says whether another trial finds room; always, when None.
        presence: By which trials learn that they are to stop, and other campaigns of this one.
        clock: Seconds.
    """

    def __init__(
        self,
        campaign: Campaign,
        study: Study,
        show: Show,
        stop: threading.Event | None = None,
        room: Room | None = None,
        presence: Presence | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._campaign, self._study, self._show = campaign, study, show
        self._metric_name, workers = campaign.base().metric, campaign.base().workers
        self._gpus = worker_counts(campaign.base())[-1] * workers.gpus
        trials = study.trials()
        parked = [trial.number for trial in trials if trial.state == "parked" and campaign.retry_parked]
        for number in parked:
            study.take_up(number)
        self._waiting = [*(trial.number for trial in trials if trial.state == "unfinished"), *parked]
        self._new = max(0, campaign.trials - len(trials))
        self._numbers: dict[str, int] = {}
        self._starting: set[str] = set()
        self._idle: list[float] = []
        self._resting: list[int] = []
        self._since: dict[str, float] = {}
        self._roomless: Counter[int] = Counter()
        self._stop, self._room, self._presence, self._clock = stop or threading.Event(), room, presence, clock
        self._retention = Retention(campaign)
        self._waits_since: float | None = None
        self._said = -float("inf")
        self._fruitless: list[str] = []
        self._most = 1
        self.broken: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what Tune writes of it, which nothing reads; nothing, for events cannot be written."""
        return {}

    @property
    def left(self) -> int:
        """How many trials remain to be run."""
        return len(self._waiting) + self._new

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of the next trial, that there is none, or None while there is no room for it."""
        while (self._waiting or self._new) and not self._stop.is_set():
            if why := self._in_vain() or self._over():
                self._tell(waiting=False)
                self._show({"event": "over", "left": self.left, "why": why})
                self._waiting, self._new = [], 0
                break
            if not self._has_room():
                return None
            self._study.check_lease()  # for one that was begun before nothing is stored now
            number = self._waiting.pop(0) if self._waiting else self._ask()
            values = self._study.trial(number).values
            try:
                recipes = self._campaign.run_recipes(number, values)
            except RecipeError as error:
                self._study.fail(number, str(error))
                self._show({"trial": number, "event": "failed", "error": str(error)})
                continue
            self._numbers[trial_id] = number
            self._most = max(self._most, len(self._numbers))
            if self._idle:
                self._idle, self._resting = [], []
            else:
                self._starting.add(trial_id)
            self._tell(waiting=False)
            self._show({"trial": number, "event": "start", "values": values})
            return {
                "number": number,
                "recipes": [recipe.model_dump(mode="json") for recipe in recipes],
                "leaving": self._presence.name if self._presence else None,
                "campaign": self._campaign.name,
                "home": self._campaign.place.at(RECORDS).uri,
            }
        self._tell(waiting=False)
        if self._numbers and not self._stop.is_set():
            return None  # one of those under way may come back for want of room
        return Searcher.FINISHED

    def _in_vain(self) -> str | None:
        """Return why another trial would come to nothing, as the last ones did."""
        if len(self._fruitless) >= FRUITLESS * self._most:
            self.broken = self._fruitless[-1]
            return f"{len(self._fruitless)} in a row were interrupted before a validation"
        return None

    def _over(self) -> str | None:
        """Return why the campaign's budget allows no other trial."""
        budget = self._campaign.budget
        if budget == Budget():
            return None
        open_s = sum(self._clock() - since for since in self._since.values())
        return spent(budget, self._study.trials(), (self._gpus, open_s), datetime.now())

    def _spend(self, trial_id: str) -> None:
        """Count the time since the workers began, or since it was counted last."""
        if trial_id in self._since:
            now = self._clock()
            self._study.spend(self._numbers[trial_id], now - self._since[trial_id])
            self._since[trial_id] = now

    def _standing(self, waiting: bool) -> Standing:
        return Standing(len(self._numbers), len(self._starting), waiting)

    def _tell(self, waiting: bool) -> None:
        if self._presence:
            self._presence.tell(self._standing(waiting))

    def _has_room(self) -> bool:
        """Return whether another trial may begin; a wait is told to other campaigns, and said if it is long."""
        now = self._clock()
        self._idle = [since for since in self._idle if now - since < IDLE_S - GOING_S]
        wait = self._look()
        self._tell(waiting=wait is not None and not wait.own)
        if wait is not None and wait.gives_way and self._presence:
            for number in self._resting:
                self._presence.release(number)
            self._idle, self._resting = [], []
        if wait is None or wait.own:
            if self._waits_since is not None and self._said >= self._waits_since:
                self._show({"event": "room", "after_s": self._clock() - self._waits_since})
            self._waits_since = None
            return wait is None and self._claim()
        self._say(wait)
        return False

    def _look(self, anew: bool = False) -> Wait | None:
        counts = len(self._numbers), len(self._starting), len(self._idle)
        return self._room.wait(*counts, anew=anew) if self._room else None

    def _claim(self) -> bool:
        """Return whether the room is this campaign's, and no other one's that has just seen it too."""
        if self._presence is None:
            return True
        if not self._presence.claim(self._standing(waiting=False)):
            return False
        if self._look(anew=True) is None:
            return True
        self._tell(waiting=False)
        return False

    def _say(self, wait: Wait) -> None:
        now = self._clock()
        if self._waits_since is None:
            self._waits_since = now
        if now - self._waits_since >= PATIENT_S and now - self._said >= SAY_S:
            self._said = now
            self._show({"event": "waiting", "running": len(self._numbers), "why": wait.words})

    def _ask(self) -> int:
        self._new -= 1
        return self._study.ask()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store a validation."""
        if BEGUN in result:
            self._starting.discard(trial_id)
            self._since[trial_id] = self._clock()
        elif OUTCOME not in result:
            self._spend(trial_id)
            self._validation(self._numbers[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store what became of a trial. A result without an outcome is one at which the scheduler stopped it."""
        self._spend(trial_id)
        has_workers = self._since.pop(trial_id, None) is not None
        number, result = self._numbers.pop(trial_id), result or {}
        self._starting.discard(trial_id)
        event = result.get(OUTCOME, "lost" if error or "validation" not in result else "stopped early")
        if event == ROOMLESS:
            self._roomless[number] += 1
            if again := self._roomless[number] < MOST_ROOMLESS:
                self._waiting.insert(0, number)
            event = "waiting" if again else "interrupted"
        if event in ("finished", "failed"):
            self._fruitless.clear()
        if event == "finished":
            self._study.finish(number, result[self._metric_name])
        elif event == "failed":
            self._study.fail(number, result["error"])
        elif event == "stopped early":
            self._validation(number, result, stops=True)
            if self._presence:
                self._presence.drop(number)
        else:  # interrupted, waiting or lost
            words = result.get("error", "The process of the trial was lost.")
            self._study.interrupt(number, words, lost=event == "lost")
            if event == "interrupted" and not self._stop.is_set():
                self._fruitless.append(words)
        if result.get(IDLE) or (event == "stopped early" and has_workers):
            self._idle = [self._clock()]  # of several, Tune keeps one
            self._resting.append(number)
        self._retention.apply(self._study.trials())
        trial = self._study.trial(number)
        if trial.state == "parked":
            event = "parked"
        self._show({"trial": number, "event": event, self._metric_name: trial.metric, "error": trial.error})

    def is_worse(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Store a trial's next run, or validation, and return whether it need not go on."""
        number = self._numbers[trial_id]
        trial = self._study.trial(number)
        if trial.runs == 1 and result["validation"] < max(trial.history, default=0):
            return False  # told again by a run that was taken up: it was judged then
        self._validation(number, result)
        return self._study.is_worse(number)

    def _validation(self, number: int, result: dict[str, Any], stops: bool = False) -> None:
        value, done, planned = result[self._metric_name], result["validation"], result[VALIDATIONS]
        known = done in self._study.trial(number).history
        if stops or not known:
            self._study.report(number, done, value, stops)
        if known:
            return
        self._fruitless.clear()
        left_s = self._study.trial(number).seconds * (planned / done - 1)
        self._show(
            {
                "trial": number,
                "event": "validation" if self._study.trial(number).runs == 1 else "run",
                "validation": done,
                "of": planned,
                "left_s": left_s,
                self._metric_name: value,
            }
        )


class ByStudy(FIFOScheduler):
    """Stops trials that the study says need not go on: of several runs between these, of one at a validation.

    Args:
        search: Knows the study.
    """

    def __init__(self, search: StudySearch) -> None:
        super().__init__()
        self._search = search

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called before the search hears of a result."""
        if RUNG in result and self._search.is_worse(trial.trial_id, result):
            return str(self.STOP)
        return str(self.CONTINUE)


class Halving(ASHAScheduler):
    """Successive halving that knows the validations of earlier sessions of the campaign.

    Args:
        rule: The campaign's early stopping.
        metric: The metric to judge by; larger is better.
        past: All trials of the study.
    """

    def __init__(self, rule: EarlyStopping, metric: str, past: list[TrialState]) -> None:
        super().__init__(
            time_attr=RUNG,
            metric=metric,
            mode="max",
            max_t=LONGEST,
            grace_period=rule.grace,
            reduction_factor=rule.reduction,
            stop_last_trials=False,
        )
        self._metric_name, self._past = metric, {trial.number: trial for trial in past}
        for trial in past:
            if trial.state in ("finished", "stopped early"):
                alias = SimpleNamespace(trial_id=f"past-{trial.number}", config={})
                super().on_trial_add(None, alias)
                self._replay(alias, trial)
                self.on_trial_remove(None, alias)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial, with the rungs that it reached before."""
        super().on_trial_add(tune_controller, trial)
        past = self._past.get(trial.config.get("number"))
        if past is not None:
            self._replay(trial, past)

    def _replay(self, alias: Any, trial: TrialState) -> None:
        """Record the validations of a trial; what is decided about them was decided then."""
        history = list(trial.history.items())
        # The last validation of a finished trial was on no rung.
        for validation, value in history[:-1] if trial.state == "finished" else history:
            super().on_trial_result(None, alias, {RUNG: validation, self._metric_name: value})
