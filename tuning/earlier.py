"""What a campaign knows from earlier ones before its first draw: trials of the same recipe on the same shards."""

from collections.abc import Iterator
from dataclasses import dataclass

from au_dist.config.paths import differences, get
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import worker_counts
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.claims import shards_of, stored_campaign
from au_dist.tuning.first import Point, not_held, parameters_of
from au_dist.tuning.record import TrialState, trials_of
from au_dist.tuning.report import RESULTS


@dataclass(frozen=True)
class Earlier:
    """A trial of an earlier campaign.

    Attributes:
        source: Its campaign's address and its number.
        parameters: A study's parameters by name.
        trial: What came of it.
    """

    source: str
    parameters: Point
    trial: TrialState


def earlier_trials(campaign: Campaign, manifest: str) -> tuple[list[Earlier], list[str]]:
    """Return the trials of earlier campaigns that a campaign may learn from, and in words what is left out.

    A trial counts whose recipe is this campaign's but for values that its space holds; with these it would have come to
    the same result here. Where the cost counts, too, it came to its end, on the same workers.

    Args:
        campaign: The campaign, with `warm_start`.
        manifest: Hash of the manifest of its shards.

    Raises:
        RecipeError: An earlier campaign cannot be learnt from.
    """
    found, words = list[Earlier](), list[str]()
    for address in campaign.warm_start:
        other = stored_campaign(address)
        where = f"warm_start, {other.place.uri}"
        mine, theirs = campaign.base(), other.base()
        for what, one, two in (
            ("metric", mine.metric, theirs.metric),
            ("shards", manifest, shards_of(other)),
            ("folds and seeds", campaign.repetitions(), other.repetitions()),
            ("steps between validations", mine.checkpoint.every_steps, theirs.checkpoint.every_steps),
            *([("workers", _workers(mine), _workers(theirs))] if campaign.against else []),
        ):
            if one != two:
                raise RecipeError(f"This campaign was searched with other {what}", where=where, expected=one, found=two)
        ended = [trial for trial in trials_of(other) if trial.state in RESULTS]
        fitting = list(_fitting(campaign, other, ended))
        if not fitting:
            raise RecipeError(
                "No trial of this campaign can be learnt from",
                where=where,
                expected="the same recipe but for values of this space",
                found="; ".join(differences(theirs.science(), mine.science())[:3]) or f"{len(ended)} trials that ended",
                fix="`au-dist tune points` gives its best values, to be tried `first`.",
            )
        found += fitting
        words.append(f"{len(fitting)} of {len(ended)} trials of {other.place.uri} are known from the start")
    return found, words


def _fitting(campaign: Campaign, other: Campaign, ended: list[TrialState]) -> Iterator[Earlier]:
    base = campaign.base()
    for trial in ended:
        if campaign.against and (trial.state != "finished" or not trial.seconds):
            continue
        recipe = other.trial(trial.number, trial.values)
        values = {path: get(recipe, path) for path in campaign.space}
        if list(not_held(campaign.space, base, values)) or not campaign.allows(values):
            continue
        if _science(campaign, values) == recipe.science():
            yield Earlier(f"{other.place.uri}#{trial.number}", parameters_of(campaign.space, base, values), trial)


def _workers(recipe: Recipe) -> tuple[float, ...]:
    return (*worker_counts(recipe), recipe.workers.cpus, recipe.workers.gpus)


def _science(campaign: Campaign, values: Point) -> object:
    try:
        recipe: Recipe = campaign.trial(0, values)
    except RecipeError:
        return None
    return recipe.science()
