"""The search as Ray Tune sees it: who is tried next, who is stopped early."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from au_dist.core.errors import RecipeError
from au_dist.tuning.campaign import Campaign, EarlyStopping
from au_dist.tuning.study import Study, TrialState
from au_dist.tuning.trial import OUTCOME, RUNG

Show = Callable[[dict[str, Any]], None]

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
        leaving: The name by which trials ask whether they are to stop (`au_dist.tuning.leaving`).
    """

    def __init__(
        self,
        campaign: Campaign,
        study: Study,
        show: Show,
        stop: threading.Event | None = None,
        leaving: str | None = None,
    ) -> None:
        super().__init__()
        self._campaign, self._study, self._show = campaign, study, show
        self._metric_name = campaign.base().metric
        trials = study.trials()
        parked = [trial.number for trial in trials if trial.state == "parked" and campaign.retry_parked]
        for number in parked:
            study.take_up(number)
        self._waiting = [*(trial.number for trial in trials if trial.state == "unfinished"), *parked]
        self._new = max(0, campaign.trials - len(trials))
        self._numbers: dict[str, int] = {}
        self._stop, self._leaving = stop or threading.Event(), leaving

    def __getstate__(self) -> dict[str, Any]:
        """Return what Tune writes of it, which nothing reads; an event cannot be written."""
        return {name: value for name, value in self.__dict__.items() if name != "_stop"}

    @property
    def left(self) -> int:
        """How many trials remain to be run."""
        return len(self._waiting) + self._new

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return the configuration of the next trial, or that there is none."""
        while (self._waiting or self._new) and not self._stop.is_set():
            number = self._waiting.pop(0) if self._waiting else self._ask()
            values = self._study.trial(number).values
            try:
                recipe = self._campaign.trial(number, values)
            except RecipeError as error:
                self._study.fail(number, str(error))
                self._show({"trial": number, "event": "failed", "error": str(error)})
                continue
            self._numbers[trial_id] = number
            self._show({"trial": number, "event": "start", "values": values})
            return {"number": number, "recipe": recipe.model_dump(mode="json"), "leaving": self._leaving}
        return Searcher.FINISHED

    def _ask(self) -> int:
        self._new -= 1
        return self._study.ask()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store a validation."""
        if OUTCOME not in result:
            self._validation(self._numbers[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store what became of a trial. A result without an outcome is one at which the scheduler stopped it."""
        number, result = self._numbers.pop(trial_id), result or {}
        event = result.get(OUTCOME, "lost" if error or "validation" not in result else "stopped early")
        if event == "finished":
            self._study.finish(number, result[self._metric_name])
        elif event == "failed":
            self._study.fail(number, result["error"])
        elif event == "stopped early":
            self._validation(number, result)
            self._study.stop(number)
        else:
            words = result.get("error", "The process of the trial was lost.")
            self._study.interrupt(number, words, lost=event == "lost")
        trial = self._study.trial(number)
        if trial.state == "parked":
            event = "parked"
        self._show({"trial": number, "event": event, self._metric_name: trial.metric, "error": trial.error})

    def _validation(self, number: int, result: dict[str, Any]) -> None:
        if result["validation"] in self._study.trial(number).history:
            return
        value = result[self._metric_name]
        self._study.report(number, result["validation"], value)
        self._show(
            {"trial": number, "event": "validation", "validation": result["validation"], self._metric_name: value}
        )


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
