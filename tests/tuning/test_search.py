"""What Ray Tune is told: which trial is next, what became of one, who is stopped."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from campaign_files import write_campaign

from au_dist.tuning.campaign import EarlyStopping, load_campaign
from au_dist.tuning.search import Halving, StudySearch
from au_dist.tuning.study import TrialState, open_study

CONTINUE, STOP = "CONTINUE", "STOP"


def validation(number: int, value: float) -> dict[str, Any]:
    return {"validation": number, "rung": number, "step": number, "val_auc": value}


def test_each_outcome_finds_its_way_into_the_study(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=4))
    shown: list[dict[str, Any]] = []
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append)
        assert search.left == 4
        configs = [search.suggest(name) for name in "abcd"]
        assert search.suggest("e") == StudySearch.FINISHED
        assert [config["recipe"]["name"] for config in configs] == [f"trial-0000{number}" for number in range(4)]
        search.on_trial_result("a", validation(1, 0.5))
        search.on_trial_result("a", validation(1, 0.5))
        search.on_trial_result("a", {"outcome": "finished", "val_auc": 0.5})
        search.on_trial_complete("a", {"outcome": "finished", "val_auc": 0.5})
        search.on_trial_complete("b", validation(1, 0.25))
        search.on_trial_complete("c", {"outcome": "failed", "error": "no good"})
        search.on_trial_result("d", validation(1, 0.75))
        search.on_trial_complete("d", validation(1, 0.75), error=True)
        assert [trial.state for trial in study.trials()] == ["finished", "stopped early", "failed", "unfinished"]
        assert study.trial(1).history == {1: 0.25}
        assert study.trial(2).error == "no good"
    events = [(row["trial"], row["event"]) for row in shown if row["event"] != "start"]
    assert events == [
        (0, "validation"),
        (0, "finished"),
        (1, "validation"),
        (1, "stopped early"),
        (2, "failed"),
        (3, "validation"),
        (3, "interrupted"),
    ]
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append)
        assert search.left == 1
        assert search.suggest("f")["number"] == 3
        assert search.suggest("g") == StudySearch.FINISHED


def trial(name: str, number: int = 99) -> SimpleNamespace:
    return SimpleNamespace(trial_id=name, config={"number": number})


def state(number: int, state: str, *history: float) -> TrialState:
    return TrialState(number, state, {}, dict(enumerate(history, 1)), None)


@pytest.mark.parametrize(("value", "decision"), [(0.9, CONTINUE), (0.42, STOP)])
def test_halving_knows_the_trials_of_earlier_sessions(value: float, decision: str) -> None:
    rule = EarlyStopping(grace=2, reduction=2)
    past = [state(0, "finished", 0.0, 0.5, 0.9), state(1, "stopped early", 0.0, 0.4)]
    halving = Halving(rule, "val_auc", past)
    new = trial("new")
    halving.on_trial_add(None, new)
    assert halving.on_trial_result(None, new, validation(1, -1.0)) == CONTINUE
    assert halving.on_trial_result(None, new, validation(2, value)) == decision
    fresh = Halving(rule, "val_auc", [])
    fresh.on_trial_add(None, new)
    assert fresh.on_trial_result(None, new, validation(2, value)) == CONTINUE


def test_a_trial_that_is_taken_up_is_not_judged_twice_on_a_rung() -> None:
    past = [state(0, "stopped early", 0.9), state(1, "unfinished", 0.1)]
    halving = Halving(EarlyStopping(grace=1, reduction=2), "val_auc", past)
    resumed = trial("again", number=1)
    halving.on_trial_add(None, resumed)
    assert halving.on_trial_result(None, resumed, validation(1, 0.1)) == CONTINUE
    # The same trial, had its first validation not been known.
    stranger = trial("stranger")
    halving.on_trial_add(None, stranger)
    assert halving.on_trial_result(None, stranger, validation(1, 0.1)) == STOP


def test_the_last_validation_is_on_no_rung() -> None:
    halving = Halving(EarlyStopping(grace=1, reduction=2), "val_auc", [state(0, "finished", 0.9, 0.9)])
    new = trial("new")
    halving.on_trial_add(None, new)
    last = {key: value for key, value in validation(2, 0.0).items() if key != "rung"}
    assert halving.on_trial_result(None, new, last) == CONTINUE
    # Of the finished trial, too: its second validation set no bar for others.
    assert halving.on_trial_result(None, new, validation(2, 0.0)) == CONTINUE
