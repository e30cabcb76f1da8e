"""The table of a campaign has the best trial first; those that came to nothing are last, by their numbers."""

from pathlib import Path

from campaign_files import write_campaign

from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.report import table
from au_dist.tuning.study import TrialState


def trial(number: int, *history: float, state: str = "finished") -> TrialState:
    return TrialState(number, state, {"optim.lr": 0.1}, dict(enumerate(history, 1)), None)


def test_the_best_trial_is_first(tmp_path: Path) -> None:
    nan = float("nan")
    trials = [
        trial(0, 0.5, 0.6),
        trial(1, state="failed"),
        trial(2, 0.9, 0.7),  # what counts is its best validation
        trial(3, -0.2),
        trial(4, nan, state="unfinished"),
        trial(5, 0.6, state="stopped early"),
    ]
    rows = table(load_campaign(write_campaign(tmp_path)), trials)
    assert [row.number for row in rows] == [2, 0, 5, 3, 1, 4]
    assert [row.metric for row in rows] == [0.9, 0.6, 0.6, -0.2, None, None]
    assert rows[0].run.endswith("runs/trial-00002")
    assert [row.validations for row in rows] == [2, 2, 1, 1, 0, 1]
