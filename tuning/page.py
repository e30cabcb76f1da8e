"""The HTML report of a campaign: one file that needs nothing else; its plots are Optuna's own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from au_dist.config.paths import get, put
from au_dist.core.words import short
from au_dist.scoring.report import number
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.confirmation import confirmations_of
from au_dist.tuning.first import is_base, why_no_base
from au_dist.tuning.front import COSTS, cost, front
from au_dist.tuning.plots import figures, scatter
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import Best, TrialRow, cells, header, table, winner


@dataclass(frozen=True)
class Verdict:
    """Whether the winner beats the recipe as it stands.

    Attributes:
        words: What is known of it.
        sure: Whether there is anything to compare with, and the winner is another.
    """

    words: str
    sure: bool


def verdict(
    rows: Sequence[TrialRow], best: TrialRow, base: TrialRow | None, metric: str, why_none: str | None
) -> Verdict:
    """Return what can be said of the winner: with one seed a trial that is a difference, not that it exceeds noise.

    Args:
        rows: All trials.
        best: The winner.
        base: The trial of the recipe as it stands; None if there is none with a value.
        metric: What was searched for.
        why_none: Why there is none, where that is known.
    """
    if base is None or base.metric is None or best.metric is None:
        reason = f" ({why_none})" if why_none else ""
        return Verdict(
            f"There is nothing to compare the winner with: the recipe as it stands was not tried{reason}.", False
        )
    if best.number == base.number:
        return Verdict("Nothing beat the recipe as it stands.", False)
    gain, ended = best.metric - base.metric, sum(row.metric is not None for row in rows)
    once = "trained once, with one seed" if best.runs == 1 else f"trained {best.runs} times"
    return Verdict(
        f"Trial {best.number} is {gain:+.4f} {metric} from the recipe as it stands, the best of {ended}. Each was "
        f"{once}, and the best of many is better than it would be again: au-dist tune confirm trains both with other "
        "seeds.",
        True,
    )


def _front_plot(campaign: Campaign, trials: Sequence[TrialState]) -> Iterator[tuple[str, str, str]]:
    if not campaign.against:
        return
    done = [trial for trial in trials if trial.state == "finished"]
    points = [(trial.number, cost(campaign, trial), trial.metric) for trial in done]
    best = {trial.number for trial in front(campaign, trials)}
    words = "The line joins the trials of which none is as good at less cost."
    yield (
        f"{campaign.base().metric} against {COSTS[campaign.against]}",
        words,
        scatter(points, best, COSTS[campaign.against], campaign.base().metric),
    )


def render(campaign: Campaign, trials: Sequence[TrialState], concluded: Best | None) -> str:
    """Return the page.

    Args:
        campaign: The campaign.
        trials: All its trials, at least one.
        concluded: The best trial, scored again; None while the campaign goes on.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    loaders = [jinja2.PackageLoader(f"au_dist.{room}", "assets") for room in ("tuning", "scoring")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    recipe, rows = campaign.base(), table(campaign, list(trials))
    metric = recipe.metric
    best = winner(rows) or rows[0]
    base = next((row for row in rows if row.metric is not None and is_base(recipe, row.values)), None)
    values = {path: get(recipe, path) for path in campaign.space}
    chosen = campaign.trial(best.number, best.values).model_dump(mode="json", exclude_none=True)
    chosen = put(chosen, {"name": f"{campaign.name}-{best.number}", "runs": str(recipe.runs)})
    hours = sum(trial.seconds for trial in trials) / 3600
    return environment.get_template("campaign.html").render(
        name=campaign.name,
        place=campaign.place.uri,
        metric=metric,
        plotly=get_plotlyjs(),
        verdict=verdict(rows, best, base, metric, why_no_base(campaign)),
        confirmations=confirmations_of(campaign),
        cards=[
            (number(best.metric, 4), f"{metric}, trial {best.number}"),
            (str(len(rows)), "trials"),
            *((str(count), state) for state, count in sorted(Counter(row.state for row in rows).items())),
            (f"{hours:.2f}", "hours of trials"),
        ],
        best=best,
        worth="best validation" if best.runs == 1 else f"mean of {best.runs} runs",
        against=COSTS.get(campaign.against or ""),
        front=[(trial, cost(campaign, trial)) for trial in front(campaign, trials)] if campaign.against else [],
        base=base if base and base.number != best.number else None,
        rescored=concluded.rescored if concluded else None,
        checkpoint=concluded.checkpoint if concluded else None,
        compared=[(path, short(best.values.get(path, values[path])), short(values[path])) for path in campaign.space],
        recipe=yaml.safe_dump(chosen, sort_keys=False),
        figures=[*_front_plot(campaign, trials), *figures(campaign.space, trials, metric)],
        troubles=sorted((row for row in rows if row.error), key=lambda row: row.number),
        columns=header(rows, metric),
        rows=cells(rows),
    )
