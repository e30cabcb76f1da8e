"""Does the winner beat the recipe as it stands? Both are trained again, with seeds that the search has not seen."""

import dataclasses
import itertools
import json
import math
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from au_dist.config.files import parse
from au_dist.config.paths import put
from au_dist.core.errors import RecipeError, TrainError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.train import train
from au_dist.runs.worker_group import IDLE_S, WorkerGroup
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.first import is_base
from au_dist.tuning.report import TrialRow

CONFIRMATION = "confirmation.json"

#: The seed of a repetition is the recipe's own, this, and the repetition's number added up.
FRESH = 1000

#: How sure the interval is meant to be.
SURE = 0.95


@dataclass(frozen=True)
class Pair:
    """The winner and the recipe as it stands, trained alike but for the searched values.

    Attributes:
        fold: The fold.
        seed: The seed.
        winner: Best validation of the winner.
        base: Best validation of the recipe as it stands.
    """

    fold: int
    seed: int
    winner: float
    base: float


@dataclass(frozen=True)
class Confirmation:
    """What came of training the winner again.

    Attributes:
        trial: The winner's number.
        metric: What was searched for; larger is better.
        pairs: A pair for each fold and seed.
        gain: Mean of their differences.
        low: Lower end of its interval (`SURE`), by Student's t over the pairs.
        high: Upper end.
    """

    trial: int
    metric: str
    pairs: tuple[Pair, ...]
    gain: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """What it says, in a sentence."""
        gain = f"{self.gain:+.4f} {self.metric}"
        if len(self.pairs) < 2:
            return f"One pair says nothing of noise: trial {self.trial} is {gain} from the recipe as it stands."
        interval = f"{SURE:.0%} interval {self.low:+.4f} to {self.high:+.4f}, {len(self.pairs)} pairs"
        again = f"Trained again, trial {self.trial} is {gain} from the recipe as it stands ({interval})"
        if self.low > 0:
            return f"{again}: more than noise."
        return f"{again}: it is WORSE." if self.high < 0 else f"{again}: no more than noise."


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
    pairs = []
    with WorkerGroup(IDLE_S) as group:
        for fold, repetition in itertools.product(folds or [base.data.protocol.fold], range(seeds)):
            seed = base.seed + FRESH + repetition
            values = {"data.protocol.fold": fold, "seed": seed}
            found = {}
            for name, chosen in (("winner", winner.values), ("base", {})):
                recipe = _recipe(campaign, {**chosen, **values}, f"{name}-{winner.number}-fold-{fold}-seed-{seed}")
                found[name] = _best(recipe, stop, group)
                show(f"{recipe.name}  {base.metric} {found[name]:.4f}")
            pairs.append(Pair(fold, seed, **found))
    result = judged(winner.number, base.metric, pairs)
    campaign.place.write(CONFIRMATION, json.dumps(dataclasses.asdict(result), indent=1).encode())
    return result


def judged(trial: int, metric: str, pairs: Sequence[Pair]) -> Confirmation:
    """Return what pairs say; of a single one there is no interval.

    Args:
        trial: The winner's number.
        metric: What was searched for.
        pairs: The pairs, at least one.
    """
    gains = [pair.winner - pair.base for pair in pairs]
    gain, half = statistics.mean(gains), math.inf
    if len(gains) > 1:
        from scipy.stats import t

        half = float(t.ppf((1 + SURE) / 2, len(gains) - 1)) * statistics.stdev(gains) / math.sqrt(len(gains))
    return Confirmation(trial, metric, tuple(pairs), gain, gain - half, gain + half)


def confirmation_of(campaign: Campaign) -> Confirmation | None:
    """Return what was confirmed of a campaign; None before."""
    if not campaign.place.exists(CONFIRMATION):
        return None
    raw = json.loads(campaign.place.read(CONFIRMATION))
    return Confirmation(**{**raw, "pairs": tuple(Pair(**pair) for pair in raw["pairs"])})


def _recipe(campaign: Campaign, values: dict[str, Any], name: str) -> Recipe:
    places = {"name": name, "runs": campaign.place.at("confirm").uri}
    return parse(Recipe, put(campaign.recipe, {**values, **places}), f"{campaign.place.uri}, {name}")


def _best(recipe: Recipe, stop: threading.Event | None, group: WorkerGroup) -> float:
    result = train(recipe, stop=stop, group=group)
    if result["best"] is None:
        raise TrainError("A run has no validation that is a number", where=result["run"], found=result["metric"])
    return float(result["best"])
