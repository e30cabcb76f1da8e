"""What comes of training a campaign's winner again: pairs, their mean difference, and where that may lie."""

import json
import math
import statistics
from dataclasses import dataclass, field

from au_dist.tuning.campaign import Campaign
from au_dist.tuning.intervals import SURE, Interval, jackknife, mean_interval

#: Holds what was confirmed, and the runs.
FOLDER = "confirm"

BEFORE = "confirmation.json"


@dataclass(frozen=True)
class Pair:
    """The winner and what it is compared with, trained alike but for the searched values.

    Attributes:
        fold: The fold.
        seed: The seed.
        winner: Best validation of the winner.
        base: Best validation of what it is compared with.
        without: The same two without a validation subject, for each of them; None where that cannot be judged.
    """

    fold: int
    seed: int
    winner: float
    base: float
    without: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def gain(self, without: str | None = None) -> float:
        """By how much the winner is better; without one of the subjects, if it is one of this fold's."""
        winner, base = self.without.get(without or "", (self.winner, self.base))
        return math.nan if winner is None or base is None else winner - base


@dataclass(frozen=True)
class Confirmation:
    """What came of training the winner again.

    Attributes:
        trial: The winner's number.
        metric: What was searched for; larger is better.
        pairs: A pair for each fold and seed.
        beside: The trial that it is compared with; None for the recipe as it stands.
    """

    trial: int
    metric: str
    pairs: tuple[Pair, ...]
    beside: int | None = None

    @property
    def other(self) -> str:
        """What the winner is compared with, in words."""
        return "the recipe as it stands" if self.beside is None else f"trial {self.beside}"

    @property
    def gain(self) -> float:
        """Mean of the pairs' differences."""
        return statistics.mean(pair.gain() for pair in self.pairs)

    @property
    def over_pairs(self) -> Interval:
        """Where it lies as far as folds and seeds make it differ."""
        return mean_interval([pair.gain() for pair in self.pairs])

    @property
    def over_subjects(self) -> Interval:
        """Where it lies as far as it depends on who the validation subjects are; unbounded where that is not known."""
        subjects = sorted({name for pair in self.pairs for name in pair.without})
        return jackknife(self.gain, [statistics.mean(pair.gain(name) for pair in self.pairs) for name in subjects])

    @property
    def unknown(self) -> str | None:
        """Why it is not known how much depends on who the validation subjects are; None where it is."""
        if not all(pair.without for pair in self.pairs):
            return "not asked yet over validation subjects: the same command does"
        if any(len(pair.without) < 2 for pair in self.pairs):
            return "not known for other validation subjects: a fold has one of them"
        if not math.isfinite(self.over_subjects.low):
            return "not known for other validation subjects: without one of them nothing can be judged"
        return None

    @property
    def intervals(self) -> dict[str, Interval]:
        """Where the gain lies, by what makes it differ: folds and seeds, and who the validation subjects are."""
        found = {"pairs": self.over_pairs} if len(self.pairs) > 1 else {}
        return found if self.unknown else {**found, "validation subjects": self.over_subjects}

    @property
    def sure(self) -> bool:
        """Whether the winner is better by more than noise: there are several pairs, and all that is known says so."""
        return len(self.pairs) > 1 and min(interval.low for interval in self.intervals.values()) > 0

    @property
    def words(self) -> str:
        """What it says, in a sentence."""
        ends = [f"{interval.words} over {interval.of} {what}" for what, interval in self.intervals.items()]
        ends += [self.unknown] if self.unknown else []
        told = f" ({SURE:.0%} interval {'; '.join(ends)})"
        said = f"trial {self.trial} is {self.gain:+.4f} {self.metric} from {self.other}{told}"
        if len(self.pairs) < 2:
            return f"One pair says nothing of the noise of seeds: {said}."
        worse = max(interval.high for interval in self.intervals.values()) < 0
        end = "more than noise" if self.sure else "it is WORSE" if worse else "no more than noise"
        return f"Trained again, {said}: {end}."


def confirmations_of(campaign: Campaign) -> list[Confirmation]:
    """Return what was confirmed of a campaign: beside the recipe as it stands, then beside trials."""
    place = campaign.place.at(FOLDER)
    names = [name for name in place.list() if name.endswith(".json")]
    # Where they were before a winner could be compared with a trial.
    texts = [campaign.place.read(BEFORE)] if campaign.place.exists(BEFORE) and file_of(None) not in names else []
    found = [_read(text) for text in (*texts, *(place.read(name) for name in names))]
    return sorted(found, key=lambda one: -1 if one.beside is None else one.beside)


def file_of(beside: int | None) -> str:
    """Return the name of a confirmation's file."""
    return "beside-the-recipe.json" if beside is None else f"beside-trial-{beside}.json"


def _read(text: bytes) -> Confirmation:
    raw = json.loads(text)
    pairs = []
    for pair in raw["pairs"]:
        without = {name: (winner, base) for name, (winner, base) in pair.get("without", {}).items()}
        pairs.append(Pair(**{**pair, "without": without}))
    return Confirmation(raw["trial"], raw["metric"], tuple(pairs), raw.get("beside"))
