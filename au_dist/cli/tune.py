"""Verbs of campaigns."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from au_dist.cli.options import Address, Overrides, ray
from au_dist.cli.preview import machine_hours
from au_dist.cli.terminal import asked_to_stop, note, say, table
from au_dist.core.errors import RecipeError
from au_dist.core.words import span

if TYPE_CHECKING:
    from au_dist.tuning.campaign import Campaign

app = typer.Typer()
tune_app = typer.Typer(help="Hyperparameter campaigns.", no_args_is_help=True)
app.add_typer(tune_app, name="tune")

Which = Annotated[str, typer.Argument(help="The campaign: its file, or its address, CAMPAIGNS/NAME.")]


@tune_app.command("run")
def tune_run(
    campaign: Annotated[Path, typer.Argument(help="Campaign (YAML).")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure its recipe and say what it will take.")] = False,
    address: Address = None,
) -> None:
    """Search hyperparameters; the same command again resumes."""
    from au_dist.tuning.campaign import load_campaign
    from au_dist.tuning.run import check_campaign, run_campaign

    loaded = load_campaign(campaign, overrides or [], note)  # what can be refused at once need not wait for Ray
    if dry_run:
        with ray(address):
            _show_forecast(loaded, campaign)
        return
    manifest = check_campaign(loaded, campaign, note)
    with ray(address), asked_to_stop() as stop:
        from au_dist.cluster.preflight import cluster_resources

        result = run_campaign(
            campaign, overrides or [], cluster_resources, show=say, note=note, stop=stop, manifest=manifest
        )
    table(result.columns, result.rows)
    say(result.summary)


@tune_app.command("status")
def tune_status(campaign: Which) -> None:
    """Show how far a campaign is, from anywhere that reaches its storage; it is not disturbed."""
    from au_dist.tuning.status import status

    found = status(_of(campaign))
    table(found.columns, found.rows)
    say(found.summary)


@tune_app.command("points")
def tune_points(
    campaign: Which, best: Annotated[int, typer.Option("--best", min=1, help="Of how many trials.")] = 3
) -> None:
    """Print the values of the best trials as `first` of another campaign's file, which then tries them first."""
    from au_dist.tuning.record import trials_of
    from au_dist.tuning.report import points, results

    found = _of(campaign)
    say(points(results(found, trials_of(found))[:best]))


@tune_app.command("stop")
def tune_stop(
    campaign: Which,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for whoever runs it to hear.", min=1)] = 60.0,
) -> None:
    """Ask a campaign to stop, wherever it runs: trials under way store a checkpoint, and it can go on later."""
    from au_dist.tuning.status import ask_to_stop

    ask_to_stop(_of(campaign), wait_s)
    say("asked to stop: trials under way store a checkpoint; `au-dist tune run` goes on from there")


@tune_app.command("confirm")
def tune_confirm(
    campaign: Which,
    seeds: Annotated[int, typer.Option(help="Fresh seeds on each fold.", min=1)] = 3,
    folds: Annotated[str | None, typer.Option(help="Folds, e.g. 0,1,2; the recipe's own if absent.")] = None,
    trial: Annotated[int | None, typer.Option(help="This trial, not the best.", min=0)] = None,
    beside: Annotated[
        int | None, typer.Option(help="Compare with this trial, not with the recipe as it stands.", min=0)
    ] = None,
    address: Address = None,
) -> None:
    """Train the winner and the recipe as it stands again, with fresh seeds: does the gain exceed noise?"""
    from au_dist.tuning.confirm import confirm
    from au_dist.tuning.record import trials_of
    from au_dist.tuning.report import row_of, write_page

    chosen, found = _numbers(folds), _of(campaign)
    trials = trials_of(found)
    winner = row_of(found, trials, trial)
    other = row_of(found, trials, beside) if beside is not None else None
    with ray(address), asked_to_stop() as stop:
        result = confirm(found, winner, chosen, seeds, say, stop, other)
    table(
        ["fold", "seed", f"trial {result.trial}", result.other, "gain"],
        [
            [str(one.fold), str(one.seed), f"{one.winner:.4f}", f"{one.base:.4f}", f"{one.gain():+.4f}"]
            for one in result.pairs
        ],
    )
    say(result.words)
    say(f"report  {write_page(found, trials)}")


@tune_app.command("clean")
def tune_clean(
    campaign: Annotated[Path, typer.Argument(help="Campaign (YAML), with `keep`.")], overrides: Overrides = None
) -> None:
    """Remove what `keep` of the campaign's file says that ended trials do not keep; `tune run` does it as they end."""
    from au_dist.tuning.campaign import load_campaign
    from au_dist.tuning.record import trials_of
    from au_dist.tuning.retention import Retention

    keep, found = load_campaign(campaign, overrides or []).keep, _of(str(campaign))
    freed = Retention(found.model_copy(update={"keep": keep})).apply(trials_of(found))
    say(f"freed  {freed / 2**20:.1f} MiB")


def _numbers(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise RecipeError(
            "These are no folds", where="--folds", expected="numbers such as 0,1,2", found=text
        ) from error


@tune_app.command("report")
def tune_report(campaign: Which) -> None:
    """Write a campaign's HTML report anew, as far as it is; `tune run` writes it at the end."""
    from au_dist.tuning.record import trials_of
    from au_dist.tuning.report import write_page

    found = _of(campaign)
    trials = trials_of(found)
    say(f"report  {write_page(found, trials)}")


def _show_forecast(campaign: "Campaign", where: Path) -> None:
    """Print what a campaign will take; nothing of it is begun."""
    from au_dist.cluster.preflight import cluster_resources
    from au_dist.tuning.forecast import measure
    from au_dist.tuning.run import check_runs

    check_runs(campaign, where, note)
    say("measuring the recipe as it is", err=True)
    found = measure(campaign, cluster_resources())
    say(f"trials    {found.trials} left, {found.at_once} at once")
    say(f"a trial   {span(found.trial_s)} to its end, {found.start_s:.0f} s of it until the first step")
    if found.share < 1:
        say(f"stopping  {found.share:.0%} of a trial is run on the average, if trials differ by nothing but luck")
    most = f", at most {span(found.most_s)}" if found.share < 1 else ""
    say(f"in all    {span(found.total_s)}{most}, {machine_hours(found)}")
    say(f"ends      {found.ends(datetime.now()):%Y-%m-%d %H:%M}, if it begins now")
    say("Not in it: what the space changes of a trial's length, and what else uses the cluster.")


def _of(campaign: str) -> "Campaign":
    """Return a campaign that is in storage, by its file or by its address."""
    from au_dist.tuning.campaign import load_campaign
    from au_dist.tuning.claims import stored_campaign

    file = Path(campaign)
    return stored_campaign(load_campaign(file).place.uri if file.is_file() else campaign)
