"""The table of a campaign has the best trial first; those that came to nothing are last, by their numbers."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from campaign_files import write_campaign

from au_dist.core.errors import ResumeError
from au_dist.storage.store import open_store
from au_dist.tuning import judging, report
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import table


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


@pytest.mark.parametrize("asked", [False, True])
def test_scoring_again_waits_in_words_and_ends_when_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    shown: list[str] = []
    stop = threading.Event()

    def apart(work: object, resources: tuple[float, float], *arguments: Any, meanwhile: Callable[[float], None]) -> Any:
        assert resources == (0.5, 0.0)
        for waited_s in (1.0, 61.0, 62.0):
            meanwhile(waited_s)
        return {"val_auc": 0.75}

    monkeypatch.setattr(judging, "apart", apart)
    campaign, best = load_campaign(write_campaign(tmp_path)), open_store(tmp_path / "best")
    if asked:
        stop.set()
        with pytest.raises(ResumeError, match=r"asked to stop(?s:.)*this checkpoint is not judged again yet"):
            report._scored_again(campaign, best, shown.append, stop)
        return
    assert report._scored_again(campaign, best, shown.append, stop) == 0.75
    assert shown[1:] == ["not judged yet: it needs 0.5 CPU, and the time of a validation"]
