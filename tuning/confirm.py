"""Does the winner beat the recipe as it stands? Both are trained again, with seeds that the search has not seen."""

import dataclasses
import itertools
import json
import math
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from au_dist.compat.ray_tasks import apart
from au_dist.config.files import parse
from au_dist.config.paths import put
from au_dist.core.errors import RecipeError, ResumeError, TrainError
from au_dist.core.intervals import SURE, Interval, jackknife, mean_interval
from au_dist.recipes.recipe import Recipe
from au_dist.runs.train import train
from au_dist.runs.worker_group import IDLE_S, WorkerGroup
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.first import is_base
from au_dist.tuning.report import TrialRow

CONFIRMATION = "confirmation.json"

#: The seed of a repetition is the recipe's own, this, and the repetition's number added up.
FRESH = 1000


@dataclass(frozen=True)
class Pair:
    """The winner and the recipe as it stands, trained alike but for the searched values.

    Attributes:
        fold: The fold.
        seed: The seed.
        winner: Best validation of the winner.
        base: Best validation of the recipe as it stands.
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
    """

    trial: int
    metric: str
    pairs: tuple[Pair, ...]

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
        """Where it lies as far as it depends on who the validation subjects are."""
        subjects = sorted({name for pair in self.pairs for name in pair.without})
        return jackknife(self.gain, [statistics.mean(pair.gain(name) for pair in self.pairs) for name in subjects])

    @property
    def intervals(self) -> dict[str, Interval]:
        """Where the gain lies, by what makes it differ: folds and seeds, and who the validation subjects are."""
        found = {"pairs": self.over_pairs, "validation subjects": self.over_subjects}
        return {what: interval for what, interval in found.items() if interval.of > 1}

    @property
    def sure(self) -> bool:
        """Whether the winner is better by more than noise: several pairs say so, and all intervals."""
        return len(self.pairs) > 1 and min(interval.low for interval in self.intervals.values()) > 0

    @property
    def words(self) -> str:
        """What it says, in a sentence."""
        ends = [f"{interval.words} over {interval.of} {what}" for what, interval in self.intervals.items()]
        told = f" ({SURE:.0%} interval {', '.join(ends)})" if ends else ""
        said = f"trial {self.trial} is {self.gain:+.4f} {self.metric} from the recipe as it stands{told}"
        if len(self.pairs) < 2:
            return f"One pair says nothing of the noise of seeds: {said}."
        worse = max(interval.high for interval in self.intervals.values()) < 0
        end = "more than noise" if self.sure else "it is WORSE" if worse else "no more than noise"
        return f"Trained again, {said}: {end}."


def confirm(
    campaign: Campaign,
    winner: TrialRow,
    folds: Sequence[int],
    seeds: int,
    show: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
) -> Confirmation:
    """Train the winner and the recipe as it stands with fresh seeds, on each fold; Ray must be connected.

    The same call goes on where it stopped. The runs are below the campaign, in ``confirm``.

    Args:
        campaign: The campaign.
        winner: Its trial.
        folds: The folds; the recipe's own when empty.
        seeds: Repetitions on each.
        show: Called with a line of text for each run.
        stop: Set when the run under way is to store a checkpoint and stop.

    Raises:
        AuDistError: A run cannot be trained, or was asked to stop.
    """
    base = campaign.base()
    if is_base(base, winner.values):
        raise RecipeError(
            "There is nothing to confirm: the winner is the recipe as it stands",
            where=campaign.place.uri,
            found=f"trial {winner.number}",
        )
    settings = [
        (fold, base.seed + FRESH + repetition)
        for fold, repetition in itertools.product(folds or [base.data.protocol.fold], range(seeds))
    ]
    best = []
    with WorkerGroup(IDLE_S) as group:
        for fold, seed in settings:
            values = {"data.protocol.fold": fold, "seed": seed}
            for name, chosen in (("winner", winner.values), ("base", {})):
                recipe = _recipe(campaign, {**chosen, **values}, f"{name}-{winner.number}-fold-{fold}-seed-{seed}")
                place, value = _best(recipe, stop, group)
                show(f"{recipe.name}  {base.metric} {value:.4f}")
                best.append((place, value))
    show(f"asking how much it depends on who the validation subjects are: {len(best)} checkpoints are judged again")
    pairs = []
    for (fold, seed), (winners, bases) in zip(settings, zip(best[::2], best[1::2], strict=True), strict=True):
        without = [_without(base, place, stop) for place, _ in (winners, bases)]
        both = {name: (without[0][name], without[1][name]) for name in sorted(without[0].keys() & without[1].keys())}
        pairs.append(Pair(fold, seed, winners[1], bases[1], both))
    result = Confirmation(winner.number, base.metric, tuple(pairs))
    campaign.place.write(CONFIRMATION, json.dumps(dataclasses.asdict(result), indent=1).encode())
    return result


def confirmation_of(campaign: Campaign) -> Confirmation | None:
    """Return what was confirmed of a campaign; None before."""
    if not campaign.place.exists(CONFIRMATION):
        return None
    raw = json.loads(campaign.place.read(CONFIRMATION))
    pairs = []
    for pair in raw["pairs"]:
        without = {name: (winner, base) for name, (winner, base) in pair.get("without", {}).items()}
        pairs.append(Pair(**{**pair, "without": without}))
    return Confirmation(raw["trial"], raw["metric"], tuple(pairs))


def _recipe(campaign: Campaign, values: dict[str, Any], name: str) -> Recipe:
    places = {"name": name, "runs": campaign.place.at("confirm").uri}
    return parse(Recipe, put(campaign.recipe, {**values, **places}), f"{campaign.place.uri}, {name}")


def _best(recipe: Recipe, stop: threading.Event | None, group: WorkerGroup) -> tuple[Store, float]:
    result = train(recipe, stop=stop, group=group)
    place = checkpoint.best(open_store(result["run"]), recipe.metric)
    if result["best"] is None or place is None:
        raise TrainError("A run has no validation that is a number", where=result["run"], found=result["metric"])
    return place, float(result["best"])


def _without(base: Recipe, place: Store, stop: threading.Event | None) -> dict[str, float | None]:
    """Return the metric of a checkpoint without each of its validation subjects, computed where a worker would be."""

    def meanwhile(waited_s: float) -> None:
        if stop and stop.is_set():
            raise ResumeError("It was asked to stop", where=place.uri, fix="The same command does what is left.")

    workers = base.workers
    found = apart(_judged_without, (workers.cpus, workers.gpus), place, meanwhile=meanwhile)
    values = {name: float(metrics[base.metric]) for name, metrics in found.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _judged_without(place: Store) -> dict[str, dict[str, Any]]:
    from au_dist.runs.rescore import judge_again  # loads torch, which the driver has no need of

    return judge_again(place).without()
