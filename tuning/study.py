"""The study of a campaign: what Optuna asked for and what became of it.

The journal is written on the driver's own disk and, after every change, copied whole to the campaign's place: a folder
and a bucket are served alike, a reader finds a complete file at any moment, and another machine can go on with it.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from au_dist.core.errors import RecipeError, StorageError
from au_dist.core.seeds import rng
from au_dist.runs.leases import acquire, check_lease
from au_dist.storage.store import Store
from au_dist.tuning.campaign import Campaign, trial_name
from au_dist.tuning.first import first_points
from au_dist.tuning.space import distributions, values_of

JOURNAL = "study.journal"

#: How each state of a trial is called here; a trial that is RUNNING while no driver works on it was interrupted.
STATES = {"COMPLETE": "finished", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "unfinished"}


#: What a trial carries that the constraints did not allow, one that was lost, and every one that was under way.
OUTSIDE, LOST, SECONDS = "outside", "lost", "seconds"

#: What every trial carries beside its parameters: its run's address, and by path the values that several of these make.
RUN = "run"

#: What a study carries: how many trials it is to come to.
PLANNED = "trials"

#: Draws after which nothing more is tried, and losses without a new validation after which a trial is parked.
MOST_DRAWS, MOST_LOSSES = 1000, 3

#: Draws in a row that the constraints do not allow, after which they are random.
STUCK = 20


Opened = TypeVar("Opened", bound="Record")


@dataclass(frozen=True)
class TrialState:
    """What the study knows of a trial.

    Attributes:
        number: The trial's number.
        state: One of the values of `STATES`, or ``parked``: lost again and again without getting further.
        values: Recipe values by path.
        history: Metric by validation, which count from 1.
        error: Why it failed or was interrupted.
        begun: When it was drawn, by the driver's clock.
        ended: When it ended; None before.
        seconds: How long it has been under way, over all commands.
    """

    number: int
    state: str
    values: dict[str, Any]
    history: dict[int, float]
    error: str | None
    begun: datetime | None = None
    ended: datetime | None = None
    seconds: float = 0.0

    @property
    def metric(self) -> float:
        """The best validation so far; minus infinity before the first."""
        return max((value for value in self.history.values() if not math.isnan(value)), default=-math.inf)


class Record:
    """A campaign's trials, to be read.

    Args:
        campaign: The campaign.
        journal: The journal on this disk; made when it is not there.
    """

    def __init__(self, campaign: Campaign, journal: Path) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._campaign, self._base = optuna, campaign, campaign.base()
        self._storage = JournalStorage(JournalFileBackend(str(journal)))
        self._study = optuna.create_study(
            storage=self._storage, study_name=campaign.name, direction="maximize", load_if_exists=True
        )

    @property
    def planned(self) -> int:
        """How many trials the command that began last is to come to."""
        return int(self._study.user_attrs.get(PLANNED, self._campaign.trials))

    def trials(self) -> list[TrialState]:
        """Return all trials in the order of their numbers, without draws that the constraints did not allow."""
        trials = self._study.get_trials(deepcopy=False)
        return [self._state(trial) for trial in trials if OUTSIDE not in trial.user_attrs]

    def trial(self, number: int) -> TrialState:
        """Return one trial."""
        return self._state(self._study.get_trials(deepcopy=False)[number])

    def _state(self, trial: Any) -> TrialState:
        state = STATES[trial.state.name]
        if state == "unfinished" and trial.user_attrs.get(LOST, {"times": 0})["times"] >= MOST_LOSSES:
            state = "parked"
        return TrialState(
            number=trial.number,
            state=state,
            values=values_of(self._campaign.space, trial.params, self._base),
            history=dict(sorted(trial.intermediate_values.items())),
            error=trial.user_attrs.get("error") if trial.state.name in ("FAIL", "RUNNING") else None,
            begun=trial.datetime_start,
            ended=trial.datetime_complete,
            seconds=trial.user_attrs.get(SECONDS, 0.0),
        )


class Study(Record):
    """A campaign's trials; for one driver at a time.

    Args:
        campaign: The campaign.
        journal: The journal on this disk; made when it is not there.
        lease: The word by which this driver holds the campaign; another that takes it ends this one.
    """

    def __init__(self, campaign: Campaign, journal: Path, lease: str) -> None:
        super().__init__(campaign, journal)
        self._journal, self.lease = journal, lease
        self._distributions = distributions(campaign.space)
        self._first = first_points(campaign, campaign.place.uri)
        check = self._optuna.distributions.check_distribution_compatibility
        for trial in self._study.get_trials(deepcopy=False):
            for name, before in trial.distributions.items():
                check(before, self._distributions.get(name, before))
        if self._study.user_attrs.get(PLANNED) != campaign.trials:
            self._study.set_user_attr(PLANNED, campaign.trials)
            self._publish()

    def ask(self) -> int:
        """Return the number of a new trial, its parameters drawn and stored.

        The draw belongs to (campaign's seed, number) and to what is known of earlier trials: a campaign that was
        interrupted goes on as it would have done. What the constraints do not allow is drawn again, under the next
        number.

        Raises:
            RecipeError: They allow next to nothing.
        """
        for turn in range(MOST_DRAWS):
            number = len(self._study.get_trials(deepcopy=False))
            seed = int(rng(self._campaign.seed, "campaign", number).integers(2**32))
            # What the constraints do not allow teaches a sampler nothing: it may draw the same again and again.
            self._study.sampler = self._sampler(seed, "random" if turn >= STUCK else self._campaign.sampler)
            if number < len(self._first):
                self._study.enqueue_trial(self._first[number])
            trial = self._study.ask(self._distributions)
            assert trial.number == number
            if self._campaign.allows(self.trial(number).values):
                self._describe(number)
                self._publish()
                return number
            self._storage.set_trial_user_attr(self._id(number), OUTSIDE, True)
            self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
        raise RecipeError(
            "The constraints leave next to nothing of what is drawn",
            where=f"{self._campaign.place.uri}, constraints",
            found=f"{MOST_DRAWS} draws, none of which fulfils them",
        )

    def _describe(self, number: int) -> None:
        """Store what somebody who reads the journal alone, as `optuna-dashboard` does, would not see of a trial."""
        trial = self._study.get_trials(deepcopy=False)[number]
        unseen = {path: value for path, value in self._state(trial).values.items() if path not in trial.params}
        for name, value in {RUN: self._campaign.place.at("runs", trial_name(number)).uri, **unseen}.items():
            self._storage.set_trial_user_attr(self._id(number), name, value)

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
        before = self.trial(number).seconds
        self._storage.set_trial_user_attr(self._id(number), SECONDS, before + seconds)

    def report(self, number: int, validation: int, value: float) -> None:
        """Store a validation of a trial; one that is stored already stays as it is."""
        if validation not in self.trial(number).history:
            self._storage.set_trial_intermediate_value(self._id(number), validation, value)
            self._publish()

    def finish(self, number: int, value: float) -> None:
        """End a trial that ran to its end."""
        self._study.tell(number, value)
        self._publish()

    def stop(self, number: int) -> None:
        """End a trial that was stopped early."""
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)
        self._publish()

    def fail(self, number: int, error: str) -> None:
        """End a trial that cannot be trained."""
        self._storage.set_trial_user_attr(self._id(number), "error", error)
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
        self._publish()

    def interrupt(self, number: int, error: str, lost: bool = False) -> None:
        """Note why a trial did not come to its end; it remains to be done.

        Args:
            number: The trial.
            error: Why.
            lost: Nothing outside it was the reason, as far as is known: after `MOST_LOSSES` without a new validation it
                is parked.
        """
        trial = self._study.get_trials(deepcopy=False)[number]
        self._storage.set_trial_user_attr(self._id(number), "error", error)
        if lost:
            before = trial.user_attrs.get(LOST, {"validations": 0, "times": 0})
            reached = len(trial.intermediate_values)
            times = before["times"] + 1 if reached == before["validations"] else 1
            self._storage.set_trial_user_attr(self._id(number), LOST, {"validations": reached, "times": times})
        self._publish()

    def take_up(self, number: int) -> None:
        """Count the losses of a parked trial anew."""
        self._storage.set_trial_user_attr(self._id(number), LOST, {"validations": 0, "times": 0})
        self._publish()

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(self._campaign.name)
        return int(self._storage.get_trial_id_from_study_id_trial_number(study, number))

    def check_lease(self) -> None:
        """See that no other driver has taken the campaign over.

        Raises:
            LeaseLostError: One has.
        """
        check_lease(self._campaign.place, self.lease, "campaign")

    def _publish(self) -> None:
        self.check_lease()
        self._campaign.place.upload(self._journal, JOURNAL)


@contextmanager
def open_study(campaign: Campaign) -> Iterator[Study]:
    """Yield a campaign's study, as its place in storage has it, or a new one; whoever had it may write no more.

    Raises:
        StorageError: The store fails, or the study there cannot be read.
    """
    lease = acquire(campaign.place)
    with _local(campaign.place) as journal:
        yield _opened(campaign.place, lambda: Study(campaign, journal, lease))


@contextmanager
def read_study(campaign: Campaign) -> Iterator[Record]:
    """Yield what a campaign's study holds now; whoever goes on with it is not disturbed.

    Raises:
        StorageError: The store fails, or the study there cannot be read.
    """
    with _local(campaign.place) as journal:
        yield _opened(campaign.place, lambda: Record(campaign, journal))


def trials_of(campaign: Campaign) -> list[TrialState]:
    """Return a campaign's trials as its study holds them now; whoever goes on with it is not disturbed.

    Raises:
        StorageError: The store fails, or the study there cannot be read.
    """
    with read_study(campaign) as study:
        return study.trials()


@contextmanager
def _local(place: Store) -> Iterator[Path]:
    """Yield where a copy of a campaign's journal is on this disk, or may be written if there is none."""
    with tempfile.TemporaryDirectory(prefix="au-dist-study-") as folder:
        journal = Path(folder) / JOURNAL
        if place.exists(JOURNAL):
            place.download(JOURNAL, journal)
        yield journal


def _opened(place: Store, study: Callable[[], Opened]) -> Opened:
    try:
        return study()
    except (ValueError, KeyError) as error:
        raise StorageError(
            "The campaign's study cannot be read",
            where=f"{place.uri}/{JOURNAL}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="Give the campaign another name; the runs of its trials are intact.",
        ) from error
