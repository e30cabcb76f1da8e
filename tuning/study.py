"""A campaign's study, for the driver that writes it: what Optuna draws next, and what became of it."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from au_dist.core.errors import RecipeError
from au_dist.core.seeds import rng
from au_dist.runs.leases import acquire, check_lease
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.database import patiently
from au_dist.tuning.earlier import Earlier
from au_dist.tuning.first import first_points
from au_dist.tuning.front import cost
from au_dist.tuning.record import (
    DISALLOWED,
    EARLIER,
    LEARNT,
    LOST,
    NONE,
    PLACE,
    PLANNED,
    RUN,
    SECONDS,
    STATES,
    STOPS,
    TORN,
    Home,
    Record,
    TrialState,
    home_of,
    opened,
)
from au_dist.tuning.sections import FINISHED

#: Draws after which nothing more is tried.
MOST_DRAWS = 1000

#: Draws in a row that the constraints do not allow, after which they are random.
STUCK = 20


class Study(Record):
    """A campaign's trials; for one driver at a time.

    Args:
        campaign: The campaign.
        home: Where the study is, or will be.
        lease: The word by which this driver holds the campaign; another that takes it ends this one.
        say: Called with words for a person.
    """

    def __init__(
        self, campaign: Campaign, home: Home, lease: str, say: Callable[[str], None] = lambda words: None
    ) -> None:
        self.lease = lease
        super().__init__(campaign, home, say)
        self._first = first_points(campaign, campaign.place.uri)
        check = self._optuna.distributions.check_distribution_compatibility
        for trial in self._all():
            for name, before in trial.distributions.items():
                check(before, self._distributions.get(name, before))
        self._prepare()

    def _load(self) -> Any:
        super()._load()
        study = self._optuna.create_study(
            storage=self._storage, study_name=self._campaign.name, directions=self._directions, load_if_exists=True
        )
        if PLACE not in study.user_attrs:
            with self._writing():
                study.set_user_attr(PLACE, self._campaign.place.uri)
        return study

    @patiently
    def _prepare(self) -> None:
        with self._writing():
            for number in self._cut_off():
                self._describe(number)
            for trial in self._all():
                if trial.state.name == "RUNNING" and trial.user_attrs.get(STOPS) in trial.intermediate_values:
                    self._prune(trial.number)
            if self._study.user_attrs.get(PLANNED) != self._campaign.trials:
                self._study.set_user_attr(PLANNED, self._campaign.trials)

    @patiently
    def learn(self, earlier: Sequence[Earlier]) -> None:
        """Take in what is known from earlier campaigns, each of their trials once."""
        known = {trial.user_attrs.get(EARLIER) for trial in self._all()}
        states = self._optuna.trial.TrialState
        with self._writing():
            for one in earlier:
                if one.source in known:
                    continue
                known.add(one.source)
                finished = one.trial.state == "finished"
                self._study.add_trial(
                    self._optuna.trial.create_trial(
                        params=one.parameters,
                        distributions=self._distributions,
                        values=self._values(one.trial.metric, one.trial) if finished else None,
                        intermediate_values=one.trial.history,
                        state=states.COMPLETE if finished else states.PRUNED,
                        user_attrs={NONE: EARLIER, EARLIER: one.source},
                    )
                )
            self._study.set_user_attr(LEARNT, True)

    def ask(self) -> int:
        """Return the number of a new trial, its parameters drawn and stored.

        The draw belongs to (campaign's seed, how many were drawn before) and to what is known of earlier trials: a
        campaign that was interrupted goes on as it would have done. What the constraints do not allow is drawn again,
        under the next number.

        Raises:
            RecipeError: They allow next to nothing.
        """
        for turn in range(MOST_DRAWS):
            if (number := self._draw(turn)) is not None:
                return number
        raise RecipeError(
            "The constraints leave next to nothing of what is drawn",
            where=f"{self._campaign.place.uri}, constraints",
            found=f"{MOST_DRAWS} draws, none of which fulfils them",
        )

    @patiently
    def _draw(self, turn: int) -> int | None:
        """Return the number of a new trial; None where the constraints do not allow it."""
        with self._writing():
            number = next(iter(self._cut_off()), None)
            if number is None:
                before = self._all()
                drawn = sum(
                    trial.state.name in STATES and trial.user_attrs.get(NONE) not in (TORN, EARLIER) for trial in before
                )
                seed = int(rng(self._campaign.seed, "campaign", drawn).integers(2**32))
                # What the constraints do not allow teaches a sampler nothing: it may draw the same again and again.
                self._study.sampler = self._sampler(seed, "random" if turn >= STUCK else self._campaign.sampler)
                if drawn < len(self._first) and all(trial.state.name in STATES for trial in before):
                    self._study.enqueue_trial(self._first[drawn])
                number = int(self._study.ask(self._distributions).number)
                if not self._is_allowed(number):
                    self._drop(number, DISALLOWED)
                    return None
            self._describe(number)
        return number

    def _cut_off(self) -> list[int]:
        """Return trials whose draw was cut off behind its end; drop those of which it was before, or that are none."""
        found = []
        for trial in self._all():
            if trial.state.name != "RUNNING" or RUN in trial.user_attrs:
                continue
            if not self._is_drawn(trial):
                self._drop(trial.number, TORN)
            elif not self._is_allowed(trial.number):
                self._drop(trial.number, DISALLOWED)
            else:
                found.append(trial.number)
        return found

    def _is_allowed(self, number: int) -> bool:
        return self._campaign.allows(self._state(self._all()[number]).values)

    def _drop(self, number: int, why: str) -> None:
        """End a draw that is no trial."""
        self._note(number, NONE, why)
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def _describe(self, number: int) -> None:
        """Store what somebody who reads the study alone, as `optuna-dashboard` does, would not see of a trial."""
        trial = self._all()[number]
        unseen = {path: value for path, value in self._state(trial).values.items() if path not in trial.params}
        for name, value in {**unseen, RUN: self._campaign.run_places(number)[0].uri}.items():
            self._note(number, name, value)

    def _note(self, number: int, name: str, value: Any) -> None:
        study = self._storage.get_study_id_from_name(self._campaign.name)
        trial = self._storage.get_trial_id_from_study_id_trial_number(study, number)
        self._storage.set_trial_user_attr(int(trial), name, value)

    def _sampler(self, seed: int, name: str) -> Any:
        samplers = self._optuna.samplers
        match name:
            case "gp":
                return samplers.GPSampler(seed=seed, deterministic_objective=False)
            case "random":
                return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)

    def spend(self, number: int, seconds: float) -> None:
        """Add to the time that a trial has been under way; stored with what is stored next."""
        self._spent(number, self.trial(number).seconds + seconds)

    @patiently
    def _spent(self, number: int, seconds: float) -> None:
        self._note(number, SECONDS, seconds)

    @patiently
    def report(self, number: int, validation: int, value: float, stops: bool = False) -> None:
        """Store a validation of a trial; one that is stored already stays as it is.

        Args:
            number: The trial.
            validation: From 1.
            value: The metric.
            stops: The trial is stopped early at it. Both are stored together.
        """
        trial = self._all()[number]
        if trial.state.is_finished():
            return
        with self._writing():
            if stops:
                self._note(number, STOPS, validation)
            if validation not in trial.intermediate_values:
                self._storage.set_trial_intermediate_value(trial._trial_id, validation, value)
            if stops:
                self._prune(number)

    @patiently
    def is_worse(self, number: int) -> bool:
        """Return whether what is known of a trial says that it need not go on.

        Of several runs: those that are done are worse than the same ones of the campaign's best so far. Of one: its
        best validation is below the median of the others'.
        """
        rule = self._campaign.early_stopping
        if rule is None:
            return False
        own = self._optuna.create_study(direction="maximize")
        own.add_trials([one for one in self._all() if one.state.name == "COMPLETE" and NONE not in one.user_attrs])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            pruners = self._optuna.pruners
            pruner = (
                pruners.WilcoxonPruner(p_threshold=rule.worse)
                if len(self._campaign.repetitions()) > 1
                else pruners.MedianPruner(n_startup_trials=FINISHED, n_warmup_steps=rule.grace)
            )
        return bool(pruner.prune(own, self._all()[number]))

    def finish(self, number: int, value: float) -> None:
        """End a trial that ran to its end."""
        self._end(number, "COMPLETE", self._values(value, self.trial(number)))

    def _values(self, value: float, trial: TrialState) -> list[float]:
        """Return what a trial is worth by each objective."""
        return [value, cost(self._campaign, trial)] if self._campaign.against else [value]

    def fail(self, number: int, error: str) -> None:
        """End a trial that cannot be trained."""
        self._end(number, "FAIL", error=error)

    def _prune(self, number: int) -> None:
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED, skip_if_finished=True)

    @patiently
    def _end(self, number: int, state: str, values: list[float] | None = None, error: str | None = None) -> None:
        if self._all()[number].state.is_finished():
            return
        with self._writing():
            if error is not None:
                self._note(number, "error", error)
            state = self._optuna.trial.TrialState[state]
            self._study.tell(number, values, state=state, skip_if_finished=True)

    def interrupt(self, number: int, error: str, lost: bool = False) -> None:
        """Note why a trial did not come to its end; it remains to be done.

        Args:
            number: The trial.
            error: Why.
            lost: Nothing outside it was the reason, as far as is known: after `MOST_LOSSES` without a new validation it
                is parked.
        """
        self._interrupted(number, error, self._losses(number) if lost else None)

    @patiently
    def _losses(self, number: int) -> dict[str, int]:
        """Return how often a trial has been lost, this time included, since it came to its last validation."""
        trial = self._all()[number]
        before = trial.user_attrs.get(LOST, {"validations": 0, "times": 0})
        reached = len(trial.intermediate_values)
        return {"validations": reached, "times": before["times"] + 1 if reached == before["validations"] else 1}

    @patiently
    def _interrupted(self, number: int, error: str, losses: dict[str, int] | None) -> None:
        with self._writing():
            self._note(number, "error", error)
            if losses:
                self._note(number, LOST, losses)

    @patiently
    def take_up(self, number: int) -> None:
        """Count the losses of a parked trial anew."""
        with self._writing():
            self._note(number, LOST, {"validations": 0, "times": 0})

    def check_lease(self) -> None:
        """See that no other driver has taken the campaign over.

        Raises:
            LeaseLostError: One has.
        """
        check_lease(self._campaign.place, self.lease, "campaign")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write in a block, if the campaign is still this driver's."""
        self.check_lease()
        yield
        self._home.publish()


@contextmanager
def open_study(campaign: Campaign, say: Callable[[str], None] = lambda words: None) -> Iterator[Study]:
    """Yield a campaign's study, as it is kept, or a new one; whoever had it may write no more.

    Args:
        campaign: The campaign.
        say: Called with words for a person, while a database is away.

    Raises:
        StorageError: The store or the database fails, or the study there cannot be read.
    """
    with home_of(campaign) as home:
        lease = acquire(campaign.place)
        yield opened(home, campaign, lambda: Study(campaign, home, lease, say))
