"""The end of a campaign: a table of its trials and the best checkpoint, scored again."""

import dataclasses
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from au_dist.core.errors import TrainError
from au_dist.core.words import number_of, short, span
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.judging import judged_apart
from au_dist.tuning.record import TrialState

REPORT, PAGE = "report.json", "report.html"

#: States of trials that a campaign can be won by.
RESULTS = ("finished", "stopped early")


@dataclass(frozen=True)
class TrialRow:
    """A trial as the table shows it.

    Attributes:
        number: The trial's number.
        state: ``finished``, ``stopped early``, ``failed``, ``parked`` or ``unfinished``.
        values: Recipe values by path.
        metric: The best validation; None before the first. Of several runs the mean; None before the last.
        validations: How many there were; of several runs, how many of them are done.
        run: The run's address; of several, that of the best so far.
        error: Why it failed or was interrupted.
        runs: Of how many runs it is.
    """

    number: int
    state: str
    values: dict[str, Any]
    metric: float | None
    validations: int
    run: str
    error: str | None
    runs: int = 1


@dataclass(frozen=True)
class Best:
    """The best checkpoint of a campaign.

    Attributes:
        number: The trial's number.
        values: Recipe values by path.
        reported: The metric that its training run stored with it.
        rescored: The metric computed from the stored weights.
        checkpoint: The checkpoint's address, for `au-dist pull`.
    """

    number: int
    values: dict[str, Any]
    reported: float
    rescored: float
    checkpoint: str


class TrialTable:
    """What has trials and a metric, as a table.

    Attributes:
        metric: The validation metric that was searched for; larger is better.
        trials: All trials, best first; those without a metric last.
    """

    metric: str
    trials: tuple[TrialRow, ...]

    @property
    def columns(self) -> list[str]:
        """The table's header."""
        return header(self.trials, self.metric)

    @property
    def rows(self) -> list[list[str]]:
        """The table's cells; reasons of failure are in the summary."""
        return cells(self.trials)


@dataclass(frozen=True)
class CampaignResult(TrialTable):
    """What a campaign found.

    Attributes:
        name: The campaign's name.
        place: Its address.
        metric: The validation metric that was searched for; larger is better.
        trials: All trials, best first; those without a metric last.
        best: The best checkpoint.
    """

    name: str
    place: str
    metric: str
    trials: tuple[TrialRow, ...]
    best: Best

    @property
    def summary(self) -> str:
        """What to know and what to do next, in a few lines."""
        best = self.best
        lines = [f"{count} {state}" for state, count in sorted(Counter(row.state for row in self.trials).items())]
        lines = [f"{number_of(len(self.trials), 'trial')}: {', '.join(lines)}"]
        lines += [f"trial {row.number} {row.state}: {row.error}" for row in self.trials if row.error]
        of = next(row for row in self.trials if row.number == best.number)
        mean = f"{of.metric:.6f}, the mean of {of.runs} runs; of the best of these " if of.runs > 1 else ""
        lines.append(
            f"best  trial {best.number}, {self.metric} {mean}{best.reported:.6f}; "
            f"scored again from its checkpoint: {best.rescored:.6f}"
        )
        lines.append(f"report  {self.place}/{PAGE}")
        return "\n".join([*lines, f"fetch it with  au-dist pull {best.checkpoint} --to FOLDER"])


def header(trials: Sequence[TrialRow], metric: str) -> list[str]:
    """Return the header of a table of trials."""
    done = "runs done" if any(trial.runs > 1 for trial in trials) else "validations"
    return ["trial", "state", done, metric, *_paths(trials)]


def cells(trials: Sequence[TrialRow]) -> list[list[str]]:
    """Return the cells of a table of trials."""
    paths = _paths(trials)
    return [
        [
            str(trial.number),
            trial.state,
            str(trial.validations),
            "–" if trial.metric is None else f"{trial.metric:.4f}",
            *(short(trial.values[path]) if path in trial.values else "–" for path in paths),
        ]
        for trial in trials
    ]


def _paths(trials: Sequence[TrialRow]) -> list[str]:
    """Return the searched paths; a value that had no effect in a trial is not among its own."""
    return list(dict.fromkeys(path for trial in trials for path in trial.values))


def line(event: Mapping[str, Any]) -> str:
    """Return an event of a campaign (of `StudySearch` and `run_campaign`) as a line of text."""
    numbers = [f"{key} {value:.4f}" for key, value in event.items() if key.startswith("val_") and math.isfinite(value)]
    if event["event"] == "campaign":
        return f"{number_of(event['trials'], 'trial')}, {event['left']} left to run, {event['at_once']} at once"
    if event["event"] == "waiting" and "why" in event:
        return f"waiting for room, {event['running']} under way: {event['why']}"
    if event["event"] == "over":
        return f"no other trial begins, {event['left']} of them are left undone: {event['why']}"
    if event["event"] == "room":
        return f"there is room again, after {event['after_s']:.0f} s"
    if event["event"] == "start":
        numbers = [f"{path} {short(value)}" for path, value in event["values"].items()]
    what = event["event"]
    if what in ("validation", "run"):
        what = f"{what} {event['validation']} of {event['of']}"
        numbers += [f"about {span(event['left_s'])} left"] if event["left_s"] else []
    text = f"trial {event['trial']}  {what}  {', '.join(numbers)}".rstrip()
    return f"{text}  {event['error']}" if event.get("error") else text


def table(campaign: Campaign, trials: list[TrialState]) -> tuple[TrialRow, ...]:
    """Return the rows of a campaign's table, best first."""
    rows = [
        TrialRow(
            number=trial.number,
            state=trial.state,
            values=trial.values,
            metric=trial.metric if math.isfinite(trial.metric) else None,
            validations=len(trial.history),
            run=_best_run(campaign, trial).uri,
            error=trial.error,
            runs=trial.runs,
        )
        for trial in trials
    ]
    return tuple(sorted(rows, key=lambda row: (row.metric is None, -(row.metric or 0.0), row.number)))


def _best_run(campaign: Campaign, trial: TrialState) -> Store:
    places = campaign.run_places(trial.number)
    if len(places) == 1 or not trial.history:
        return places[0]
    return places[max(trial.history, key=lambda run: trial.history[run]) - 1]


def write_page(campaign: Campaign, trials: list[TrialState]) -> str:
    """Write the HTML report into the campaign's place and return its address.

    Raises:
        StorageError: The store fails.
        TrainError: There is no trial yet.
    """
    if not trials:
        raise TrainError("There is nothing to report yet", where=campaign.place.uri, found="no trial")
    from au_dist.tuning.page import render

    campaign.place.write(PAGE, render(campaign, trials, concluded(campaign, trials)).encode())
    return f"{campaign.place.uri}/{PAGE}"


def conclude(
    campaign: Campaign, trials: list[TrialState], show: Callable[[str], None], stop: threading.Event
) -> CampaignResult:
    """Write and return a campaign's result; the best checkpoint is scored again unless that was done before.

    Ray must be connected.

    Args:
        campaign: The campaign.
        trials: All its trials.
        show: Called with a line of text before the scoring.
        stop: Set when it is to wait no longer for a place to score.

    Raises:
        ClusterError: The process that scored was lost.
        CheckpointError: The best checkpoint is damaged.
        ShardError: The shards are missing or damaged.
        StorageError: The store fails.
        ResumeError: It was asked to stop.
        TrainError: No trial has a checkpoint with a metric.
    """
    place, metric = campaign.place, campaign.base().metric
    rows = table(campaign, trials)
    for row in rows:
        best = checkpoint.best(open_store(row.run), metric) if _has_result(row) else None
        if best is not None and math.isfinite(checkpoint.value(best, metric)):
            break
    else:
        raise _nothing_trained(campaign, rows)
    result = CampaignResult(
        name=campaign.name,
        place=place.uri,
        metric=metric,
        trials=rows,
        best=Best(
            number=row.number,
            values=row.values,
            reported=checkpoint.value(best, metric),
            rescored=_scored_again(campaign, best, show, stop),
            checkpoint=best.uri,
        ),
    )
    place.write(REPORT, json.dumps(dataclasses.asdict(result), indent=1).encode())
    write_page(campaign, trials)
    return result


def best_of(campaign: Campaign, trials: list[TrialState], number: int | None) -> str:
    """Return the address to pull a campaign's model from: its best checkpoint, or the run of one of its trials.

    Args:
        campaign: The campaign.
        trials: All its trials.
        number: The trial; the winner as it is now when None.

    Raises:
        TrainError: There is no such trial, or none with a result.
    """
    if number is None and (best := concluded(campaign, trials)):
        return best.checkpoint
    return row_of(campaign, trials, number).run


def row_of(campaign: Campaign, trials: list[TrialState], number: int | None) -> TrialRow:
    """Return a trial of a campaign: one by its number, or the winner as it is now.

    Raises:
        TrainError: There is no such trial, or none that has come to its end, or was stopped early, with a value.
    """
    if number is None:
        return results(campaign, trials)[0]
    if row := next((row for row in table(campaign, trials) if row.number == number), None):
        return row
    raise TrainError("The campaign has no such trial", where=campaign.place.uri, found=number)


def results(campaign: Campaign, trials: list[TrialState]) -> list[TrialRow]:
    """Return the trials that came to their end or were stopped early, with a value, best first.

    Raises:
        TrainError: There are none.
    """
    rows = [row for row in table(campaign, trials) if _has_result(row)]
    if not rows:
        raise TrainError("No trial has come to a result yet", where=campaign.place.uri)
    return rows


def _has_result(row: TrialRow) -> bool:
    return row.state in RESULTS and row.metric is not None


def points(rows: Sequence[TrialRow]) -> str:
    """Return the values of trials with results as the lines of another campaign's file that has them tried first."""
    lines = (f"  - {json.dumps(row.values)}   # trial {row.number}: {row.metric:.4f}" for row in rows)
    return "\n".join(("first:", *lines))


def winner(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Return the best of the trials that came to their end or were stopped early; None without any."""
    return next((row for row in rows if _has_result(row)), None)


def concluded(campaign: Campaign, trials: list[TrialState]) -> Best | None:
    """Return the best trial as the campaign's last conclusion has it; None before, and when another is better now."""
    if not campaign.place.exists(REPORT):
        return None
    best, now = Best(**json.loads(campaign.place.read(REPORT))["best"]), winner(table(campaign, trials))
    return best if now and now.number == best.number else None


def _scored_again(campaign: Campaign, best: Store, show: Callable[[str], None], stop: threading.Event) -> float:
    """Return the metric that an earlier report computed of this checkpoint, or compute it, where a worker would be."""
    place, metric = campaign.place, campaign.base().metric
    if place.exists(REPORT):
        before = json.loads(place.read(REPORT))
        if before["metric"] == metric and before["best"]["checkpoint"] == best.uri:
            return float(before["best"]["rescored"])
    show(f"scoring the best again from {best.uri}")
    return float(judged_apart(_rescored, campaign.base(), best, show, stop)[metric])


def _rescored(place: Store) -> dict[str, Any]:
    from au_dist.runs.rescore import rescore  # loads torch, which the driver has no need of

    return rescore(place)


def _nothing_trained(campaign: Campaign, rows: tuple[TrialRow, ...]) -> TrainError:
    counts = Counter(row.state for row in rows)
    errors = [row for row in rows if row.error]
    return TrainError(
        "No trial of the campaign came to a result",
        where=campaign.place.uri,
        found=", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        + (f"; trial {errors[0].number}: {errors[0].error}" if errors else ""),
        fix="The same command takes up the unfinished trials."
        if counts["unfinished"]
        else "What stopped them is above; with retry_parked=true the same command takes them up again."
        if counts["parked"]
        else "Train the campaign's recipe once with `au-dist train` to see why, or narrow the space.",
    )
