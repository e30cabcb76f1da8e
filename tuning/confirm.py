"""Does the winner beat the recipe as it stands? Both are trained again, with seeds that the search has not seen."""

import dataclasses
import itertools
import json
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from au_dist.config.files import parse
from au_dist.config.paths import put
from au_dist.core.errors import RecipeError, TrainError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.train import train
from au_dist.runs.worker_group import IDLE_S, WorkerGroup
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.confirmation import FOLDER, Confirmation, Pair, file_of
from au_dist.tuning.first import is_base
from au_dist.tuning.judging import judged_apart
from au_dist.tuning.report import TrialRow

#: The seed of a repetition is the recipe's own, this, and the repetition's number added up.
FRESH = 1000

#: Beside a run: its metric without each of its validation subjects.
LEFT_OUT = "left_out.json"


def confirm(
    campaign: Campaign,
    winner: TrialRow,
    folds: Sequence[int],
    seeds: int,
    show: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
    beside: TrialRow | None = None,
) -> Confirmation:
    """Train the winner and what it is compared with, with fresh seeds, on each fold; Ray must be connected.

    Then the best checkpoint of each is judged without each of its validation subjects. The same call goes on where it
    stopped. The runs are below the campaign, in ``confirm``.

    Args:
        campaign: The campaign.
        winner: Its trial.
        folds: The folds; the recipe's own when empty.
        seeds: Repetitions on each.
        show: Called with a line of text for each run.
        stop: Set when the run under way is to store a checkpoint and stop.
        beside: The trial that it is compared with; the recipe as it stands when None.

    Raises:
        AuDistError: A run cannot be trained, or was asked to stop.
    """
    stop, metric = stop or threading.Event(), campaign.base().metric
    settings, recipes = _recipes(campaign, winner, beside, folds, seeds)
    runs = []
    with WorkerGroup(IDLE_S, of=f"{campaign.name}-confirm") as group:
        for recipe in recipes:
            place, value = _best(recipe, stop, group)
            show(f"{recipe.name}  {metric} {value:.4f}")
            runs.append((place, value))
    left_out = [_kept(place, metric) for place, _ in runs]
    other = beside.number if beside else None
    result = _write(campaign, Confirmation(winner.number, metric, _pairs(settings, runs, left_out), other))
    if None in left_out:
        show("asking how much that depends on who the validation subjects are")
        left_out = [
            _left_out(campaign.base(), place, show, stop) if known is None else known
            for (place, _), known in zip(runs, left_out, strict=True)
        ]
        result = _write(campaign, Confirmation(winner.number, metric, _pairs(settings, runs, left_out), other))
    return result


def _pairs(
    settings: Sequence[tuple[int, int]],
    runs: Sequence[tuple[Store, float]],
    left_out: Sequence[dict[str, float | None] | None],
) -> tuple[Pair, ...]:
    pairs = []
    for (fold, seed), k in zip(settings, range(0, len(runs), 2), strict=True):
        one, other = left_out[k] or {}, left_out[k + 1] or {}
        without = {name: (one[name], other[name]) for name in sorted(one.keys() & other.keys())}
        pairs.append(Pair(fold, seed, runs[k][1], runs[k + 1][1], without))
    return tuple(pairs)


def _recipes(
    campaign: Campaign, winner: TrialRow, beside: TrialRow | None, folds: Sequence[int], seeds: int
) -> tuple[list[tuple[int, int]], list[Recipe]]:
    """Return fold and seed of each pair, and the recipes of winner and other in turn, all of which are sound."""
    base, where = campaign.base(), campaign.place.uri
    if is_base(base, winner.values) if beside is None else winner.values == beside.values:
        raise RecipeError(
            "There is nothing to confirm: the winner has the values of what it would be compared with",
            where=where,
            found=f"trial {winner.number}",
        )
    if len(set(folds)) < len(folds):
        raise RecipeError("A fold is given twice", where=where, found=", ".join(map(str, folds)))
    settings = [
        (fold, base.seed + FRESH + repetition)
        for fold, repetition in itertools.product(folds or [base.data.protocol.fold], range(seeds))
    ]
    recipes = []
    for fold, seed in settings:
        other = (f"base-{winner.number}", {}) if beside is None else (f"winner-{beside.number}", beside.values)
        for kind, chosen in ((f"winner-{winner.number}", winner.values), other):
            name = f"{kind}-fold-{fold}-seed-{seed}"
            places = {"name": name, "runs": campaign.place.at(FOLDER).uri}
            values: dict[str, Any] = {**chosen, "data.protocol.fold": fold, "seed": seed, **places}
            recipes.append(parse(Recipe, put(campaign.recipe, values), f"{where}, {name}"))
    return settings, recipes


def _write(campaign: Campaign, result: Confirmation) -> Confirmation:
    campaign.place.at(FOLDER).write(file_of(result.beside), json.dumps(dataclasses.asdict(result), indent=1).encode())
    return result


def _best(recipe: Recipe, stop: threading.Event, group: WorkerGroup) -> tuple[Store, float]:
    result = train(recipe, stop=stop, group=group)
    if result["best"] is None:
        raise TrainError("A run has no validation that is a number", where=result["run"], found=result["metric"])
    place = checkpoint.best(open_store(result["run"]), recipe.metric)
    if place is None:
        raise TrainError(
            "The run has ended, and its checkpoints are gone",
            where=result["run"],
            fix="Remove the run, and the same command trains it again.",
        )
    return place, float(result["best"])


def _kept(place: Store, metric: str) -> dict[str, float | None] | None:
    """Return what is kept beside a run of its metric without each subject; None where nothing is."""
    run = place.parent.parent
    known = json.loads(run.read(LEFT_OUT)) if run.exists(LEFT_OUT) else {}
    return known["without"] if (known.get("checkpoint"), known.get("metric")) == (place.name, metric) else None


def _left_out(
    base: Recipe, place: Store, show: Callable[[str], None], stop: threading.Event
) -> dict[str, float | None]:
    """Return a checkpoint's metric without each of its validation subjects, and keep it beside the run."""
    found = judged_apart(_judged_without, base, place, show, stop)
    values = {name: float(metrics[base.metric]) for name, metrics in found.items()}
    without = {name: value if math.isfinite(value) else None for name, value in values.items()}
    kept = {"checkpoint": place.name, "metric": base.metric, "without": without}
    place.parent.parent.write(LEFT_OUT, json.dumps(kept, indent=1).encode())
    return without


def _judged_without(place: Store) -> dict[str, dict[str, Any]]:
    from au_dist.runs.rescore import judge_again  # loads torch, which the driver has no need of

    return judge_again(place).without()
