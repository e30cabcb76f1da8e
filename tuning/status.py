"""How far a campaign is, told from its storage alone; and a word to whoever runs it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from au_dist.core.errors import ClusterError
from au_dist.runs.leases import LEASE
from au_dist.tuning.campaign import STOP, Campaign
from au_dist.tuning.record import TrialState, read_study
from au_dist.tuning.report import RESULTS, TrialRow, TrialTable, table

#: Of so many trials that ended last the rate is taken.
LAST = 10

#: States that a trial does not leave by itself.
ENDED = (*RESULTS, "failed", "parked")


@dataclass(frozen=True)
class Status(TrialTable):
    """How far a campaign is.

    Attributes:
        place: Its address.
        metric: What is searched for; larger is better.
        planned: How many trials the command that began last is to come to.
        trials: Its trials, best first.
        an_hour: How many end in an hour; None before the second has ended.
        holder: Who runs it, or ran it last, in words.
    """

    place: str
    metric: str
    planned: int
    trials: tuple[TrialRow, ...]
    an_hour: float | None
    holder: str

    @property
    def left(self) -> int:
        """How many trials have not ended."""
        return self.planned - sum(row.state in ENDED for row in self.trials)

    @property
    def summary(self) -> str:
        """What to know, in a few lines."""
        counts = Counter(row.state for row in self.trials)
        ended = ", ".join(f"{counts[state]} {state}" for state in ENDED if counts[state])
        under_way = f"; {counts['unfinished']} under way or interrupted" if counts["unfinished"] else ""
        ends = self.planned - self.left
        lines = [f"campaign  {self.place}", f"trials    {ends} of {self.planned} ended"]
        lines[-1] += f": {ended}{under_way}" if ended else under_way
        lines += [f"trial {row.number} {row.state}: {row.error}" for row in self.trials if row.error]
        if self.trials and self.trials[0].metric is not None:
            best = self.trials[0]
            lines.append(f"best      trial {best.number}, {self.metric} {best.metric:.6f}, {best.run}")
        if self.an_hour and self.left:
            to_go = timedelta(seconds=round(self.left / self.an_hour * 3600))
            lines.append(f"rate      {self.an_hour:.3g} trials an hour; at this rate {to_go} for the {self.left} left")
        return "\n".join([*lines, f"driver    {self.holder}"])


def status(campaign: Campaign) -> Status:
    """Return how far a campaign is; whoever runs it is not disturbed.

    Raises:
        StorageError: The store fails.
    """
    with read_study(campaign) as study:
        trials, planned = study.trials(), study.planned
    return Status(
        place=campaign.place.uri,
        metric=campaign.base().metric,
        planned=max(planned, len(trials)),
        trials=table(campaign, trials),
        an_hour=an_hour(trials),
        holder=_holder(campaign),
    )


def an_hour(trials: Sequence[TrialState]) -> float | None:
    """Return how many trials ended in an hour lately: the last `LAST`, from the first of their ends to the last."""
    ends = sorted(trial.ended for trial in trials if trial.ended is not None)[-LAST:]
    if len(ends) < 2 or ends[-1] <= ends[0]:
        return None
    return 3600 * (len(ends) - 1) / (ends[-1] - ends[0]).total_seconds()


def _holder(campaign: Campaign) -> str:
    if not campaign.place.exists(LEASE):
        return "none so far"
    lease = json.loads(campaign.place.read(LEASE))
    return f"on {lease['host']}, since {lease['since']}"


def ask_to_stop(
    campaign: Campaign,
    wait_s: float,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Ask whoever runs a campaign to stop, and wait until they have heard.

    Args:
        campaign: The campaign.
        wait_s: Seconds to wait.
        sleep: Waits for so many seconds.
        clock: Seconds.

    Raises:
        ClusterError: Nobody heard.
        StorageError: The store fails.
    """
    place, begun = campaign.place, clock()
    # To this driver alone: one that begins later was not asked.
    word = json.loads(place.read(LEASE))["word"] if place.exists(LEASE) else ""
    place.write(STOP, word.encode())
    while place.exists(STOP):
        if clock() - begun >= wait_s:
            place.delete(STOP)
            raise ClusterError(
                "Nobody heard that the campaign is to stop",
                where=place.uri,
                expected=f"an answer within {wait_s:g} s",
                found=f"its driver was last one {_holder(campaign)}",
                fix="Nobody may be running it; a driver that waits for the store hears it later: ask again.",
            )
        sleep(0.5)
