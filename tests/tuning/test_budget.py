"""When a campaign begins no other trial."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from campaign_files import write_campaign

from au_dist.tuning.budget import spent, without_gain
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.record import TrialState
from au_dist.tuning.search import StudySearch
from au_dist.tuning.sections import Budget
from au_dist.tuning.study import open_study
from au_dist.tuning.trial import BEGUN

BEGIN = datetime(2026, 1, 1)


def trials(*metrics: float | None) -> list[TrialState]:
    """Trials that began together and ended hour by hour, each after an hour's work; of None there is no validation."""
    return [
        TrialState(
            k,
            "failed" if metric is None else "finished",
            {},
            {} if metric is None else {1: metric},
            None,
            BEGIN,
            BEGIN + timedelta(hours=k + 1),
            3600.0,
        )
        for k, metric in enumerate(metrics)
    ]


def test_without_a_budget_nothing_ends_it() -> None:
    assert spent(Budget(), trials(*[0.5] * 50), (8, 0.0), BEGIN + timedelta(days=400)) is None


def test_the_hours_count_from_the_first_draw() -> None:
    budget = Budget(hours=3)
    assert spent(budget, [], (0, 0.0), BEGIN) is None
    assert spent(budget, trials(0.5), (0, 0.0), BEGIN + timedelta(hours=2.9)) is None
    assert spent(budget, trials(0.5), (0, 0.0), BEGIN + timedelta(hours=3)) == (
        "3.0 of 3 hours have passed since its first trial was drawn"
    )


def test_gpu_hours_are_those_of_all_trials() -> None:
    budget = Budget(gpu_hours=8)
    assert spent(budget, trials(0.5, 0.5, 0.5), (2, 0.0), BEGIN) is None
    assert spent(budget, trials(0.5, 0.5, 0.5, None), (2, 0.0), BEGIN) == "8.0 of 8 GPU-hours are used"
    assert spent(budget, trials(*[0.5] * 9), (0, 0.0), BEGIN) is None
    assert spent(budget, trials(0.5, 0.5, 0.5), (2, 3600.0), BEGIN) is not None  # those under way count


def test_patience_counts_trials_since_the_last_gain() -> None:
    assert without_gain(trials(), 0) == 0
    assert without_gain(trials(0.5), 0) == 0
    assert without_gain(trials(0.5, 0.6, 0.6, None, 0.55), 0) == 3
    assert without_gain(trials(0.5, 0.6, 0.605), 0.01) == 1
    assert without_gain(trials(None, None), 0) == 2
    budget = Budget(patience=2, gain=0.01)
    assert spent(budget, trials(0.5, 0.505), (0, 0.0), BEGIN) is None
    assert spent(budget, trials(0.5, 0.505, 0.509), (0, 0.0), BEGIN) == (
        "2 trials have ended since one was better than all before it by more than 0.01"
    )


def test_a_slow_rise_is_no_gain_but_the_best_is_what_the_next_is_compared_with() -> None:
    assert without_gain(trials(0.5, 0.508, 0.516), 0.01) == 2


def test_a_campaign_that_has_used_its_budget_draws_no_more(tmp_path: Path) -> None:
    campaign, clock = load_campaign(write_campaign(tmp_path, trials=9, budget={"patience": 1})), [0.0]
    shown: list[dict[str, Any]] = []
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append, clock=lambda: clock[0])
        for turn, value in enumerate((0.5, 0.4)):
            assert search.suggest(str(turn))["number"] == turn
            clock[0] += 5.0  # while its workers are waited for nothing counts
            search.on_trial_result(str(turn), {BEGUN: True})
            clock[0] += 3.0
            told = {"validation": 1, "validations": 1, "rung": 1, "step": 1, "val_auc": value}
            search.on_trial_result(str(turn), told)
            assert study.trial(turn).seconds == 3.0
            clock[0] += 4.0
            search.on_trial_complete(str(turn), {"outcome": "finished", "val_auc": value})
        assert search.suggest("x") == StudySearch.FINISHED
        assert [trial.seconds for trial in study.trials()] == [7.0, 7.0]
        assert len(study.trials()) == 2
    assert shown[-1]["event"] == "over"
    assert shown[-1]["left"] == 7


@pytest.mark.parametrize("keys", [{"hours": 0}, {"gpu_hours": -1}, {"patience": 0}, {"gain": -0.1}])
def test_a_budget_of_nothing_is_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(keys))):
        Budget(**keys)
