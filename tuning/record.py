"""What is known of a campaign's trials: its study, to be read.

A study is a journal, or in a database (`au_dist.tuning.database`). The journal is written on the driver's own disk and,
after every change, copied whole to the campaign's place: a folder and a bucket are served alike, a reader finds a
complete file at any moment, and another machine can go on with it.
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from au_dist.core.errors import RecipeError, StorageError
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.database import connect, patiently
from au_dist.tuning.space import distributions, values_of

JOURNAL = "study.journal"

#: How each state of a trial is called here; a trial that is RUNNING while no driver works on it was interrupted. One
#: that is WAITING has not been drawn yet.
STATES = {"COMPLETE": "finished", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "unfinished"}


#: What a trial carries that is none, one that was lost, and every one that was under way.
NONE, LOST, SECONDS = "outside", "lost", "seconds"

#: What a trial carries that is stopped early: at which validation. Whoever is cut off behind that ends it so.
STOPS = "stops at"

#: Why a trial is none of this campaign's: the constraints did not allow it (True in journals of before), its draw was
#: cut off, or it is an earlier campaign's, and which.
DISALLOWED, TORN, EARLIER = "constraints", "torn", "earlier"

#: What every trial carries beside its parameters: its run's address, and by path the values that several of these make.
RUN = "run"

#: What a study carries: how many trials it is to come to, its campaign's address, and whether it has taken in what is
#: known from earlier campaigns.
PLANNED, PLACE, LEARNT = "trials", "campaign", "learnt"

#: Losses without a new validation after which a trial is parked.
MOST_LOSSES = 3

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
        runs: Of how many runs it is. `history` has the validations of a single one, or the best of each of several.
    """

    number: int
    state: str
    values: dict[str, Any]
    history: dict[int, float]
    error: str | None
    begun: datetime | None = None
    ended: datetime | None = None
    seconds: float = 0.0
    runs: int = 1

    @property
    def metric(self) -> float:
        """The best validation so far, or the mean of its runs' when all are done; minus infinity before."""
        if self.runs > 1:
            return statistics.mean(self.history.values()) if len(self.history) == self.runs else -math.inf
        return max((value for value in self.history.values() if not math.isnan(value)), default=-math.inf)


@dataclass(frozen=True)
class Home:
    """Where a study is kept.

    Attributes:
        storage: Optuna's storage.
        address: Of a database; None of a journal.
        publish: Puts what was written where others see it.
    """

    storage: Any
    address: str | None
    publish: Callable[[], None]


class Record:
    """A campaign's trials, to be read.

    Args:
        campaign: The campaign.
        home: Where the study is.
        say: Called with words for a person.
    """

    def __init__(self, campaign: Campaign, home: Home, say: Callable[[str], None] = lambda words: None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._campaign, self._base = optuna, campaign, campaign.base()
        self._home, self._storage, self.address, self.say = home, home.storage, home.address, say
        self._distributions, self._runs = distributions(campaign.space), len(campaign.repetitions())
        self._directions = ["maximize", *(["minimize"] if campaign.against else [])]
        self._study = self._load()

    def _load(self) -> Any:
        """Return Optuna's study; an empty one that is stored nowhere where there is none yet."""
        try:
            study = self._optuna.load_study(storage=self._storage, study_name=self._campaign.name)
        except KeyError:
            return self._optuna.create_study(directions=self._directions)
        there = study.user_attrs.get(PLACE, self._campaign.place.uri)
        if self.address and there != self._campaign.place.uri:
            raise RecipeError(
                "The database holds a study of another campaign of this name",
                where=f"{self.address}, {self._campaign.name}",
                found=there,
                expected=self._campaign.place.uri,
                fix="Give this campaign another name.",
            )
        return study

    @property
    @patiently
    def planned(self) -> int:
        """How many trials the command that began last is to come to."""
        return int(self._study.user_attrs.get(PLANNED, self._campaign.trials))

    @property
    @patiently
    def has_learnt(self) -> bool:
        """Whether what is known from earlier campaigns has been taken in."""
        return bool(self._study.user_attrs.get(LEARNT))

    @patiently
    def trials(self) -> list[TrialState]:
        """Return all trials in the order of their numbers, without draws that are none."""
        return [self._state(trial) for trial in self._all() if trial.state.name in STATES and self._is_whole(trial)]

    def _all(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

    def _is_whole(self, trial: Any) -> bool:
        """Return whether a draw is a trial: it came to its end, and the constraints allow it."""
        return NONE not in trial.user_attrs and (trial.state.name != "RUNNING" or self._is_drawn(trial))

    def _is_drawn(self, trial: Any) -> bool:
        """Return whether all parameters of a trial are stored."""
        return {*self._distributions} <= {*trial.params}

    @patiently
    def trial(self, number: int) -> TrialState:
        """Return one trial."""
        return self._state(self._all()[number])

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
            runs=self._runs,
        )


def forget(campaign: Campaign) -> None:
    """Remove a campaign's study from its database, if it has one there."""
    if campaign.storage:
        import optuna

        with suppress(KeyError):
            optuna.delete_study(study_name=campaign.name, storage=connect(campaign.storage))


@contextmanager
def read_study(campaign: Campaign) -> Iterator[Record]:
    """Yield what a campaign's study holds now; whoever goes on with it is not disturbed.

    Raises:
        StorageError: The store or the database fails, or the study there cannot be read.
    """
    with home_of(campaign) as home:
        yield opened(home, campaign, lambda: Record(campaign, home))


def trials_of(campaign: Campaign) -> list[TrialState]:
    """Return a campaign's trials as its study holds them now; whoever goes on with it is not disturbed.

    Raises:
        StorageError: The store or the database fails, or the study there cannot be read.
    """
    with read_study(campaign) as study:
        return study.trials()


@contextmanager
def home_of(campaign: Campaign) -> Iterator[Home]:
    """Yield where a campaign's study is kept: in its database, or in a copy of its journal on this disk."""
    if campaign.storage:
        yield Home(connect(campaign.storage), campaign.storage, lambda: None)
        return
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    place = campaign.place
    with tempfile.TemporaryDirectory(prefix="au-dist-study-") as folder:
        journal = Path(folder) / JOURNAL
        if place.exists(JOURNAL):
            place.download(JOURNAL, journal)
        try:
            storage = JournalStorage(JournalFileBackend(str(journal)))
        except (ValueError, KeyError) as error:
            raise _unreadable(f"{place.uri}/{JOURNAL}", error) from error
        yield Home(storage, None, lambda: place.upload(journal, JOURNAL))


def opened(home: Home, campaign: Campaign, study: Callable[[], Opened]) -> Opened:
    """Return a study, or say that what is there cannot be read.

    Raises:
        StorageError: It cannot.
    """
    try:
        return study()
    except (ValueError, KeyError) as error:
        raise _unreadable(home.address or f"{campaign.place.uri}/{JOURNAL}", error) from error


def _unreadable(where: str, error: Exception) -> StorageError:
    return StorageError(
        "The campaign's study cannot be read",
        where=where,
        found=f"{type(error).__name__}: {error}"[:200],
        fix="Give the campaign another name; the runs of its trials are intact.",
    )
