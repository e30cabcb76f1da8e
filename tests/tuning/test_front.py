"""Two objectives: the metric, and what a trial costs."""

from pathlib import Path
from typing import Any

import pytest
from campaign_files import write_campaign

from au_dist.core.errors import RecipeError
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.front import cost, front
from au_dist.tuning.record import TrialState, trials_of
from au_dist.tuning.report import write_page
from au_dist.tuning.study import open_study


def one(folder: Path, **keys: Any) -> Campaign:
    keys = {"against": "hours", "early_stopping": None, "trials": 30, **keys}
    return load_campaign(write_campaign(folder, **keys))


def trial(number: int, metric: float, seconds: float, state: str = "finished") -> TrialState:
    return TrialState(number, state, {}, {1: metric}, None, seconds=seconds)


def test_the_front_has_the_trials_of_which_none_is_as_good_at_less_cost(tmp_path: Path) -> None:
    trials = [
        trial(0, 0.8, 100),
        trial(1, 0.9, 300),
        trial(2, 0.85, 300),  # as dear as 1
        trial(3, 0.8, 90),
        trial(4, 0.5, 90),  # as dear as 3
        trial(5, 0.4, 10),
        trial(6, 0.99, 1, "stopped early"),
        trial(7, float("nan"), 1),
        trial(8, 0.9, 300),  # as 1
    ]
    assert [one.number for one in front(one(tmp_path), trials)] == [1, 3, 5]
    gpus = one(tmp_path, against="gpu_hours", recipe={"workers": {"count": 2, "gpus": 0.5}})
    assert cost(gpus, trial(0, 0.5, 7200)) == 2.0
    gpus = one(tmp_path, against="gpu_hours", recipe={"workers": {"count": 4, "gpus": 1}, "data": {"lanes": 4}})
    assert cost(gpus, trial(0, 0.5, 3600)) == 4.0


@pytest.mark.slow
def test_the_sampler_weighs_both_and_the_report_shows_the_front(tmp_path: Path) -> None:
    campaign = one(tmp_path)
    claim(campaign, "manifest")
    costs = []
    with open_study(campaign) as study:
        for _ in range(14):
            number = study.ask()
            temperature = study.trial(number).values["aunce.temperature"]
            study.spend(number, 7200 * temperature)  # what is good is dear
            study.report(number, 1, temperature)
            study.finish(number, temperature)
            costs.append(temperature)
        values = [one.values for one in study._study.trials]
        assert [direction.name for direction in study._study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert values == [pytest.approx([cost, 2 * cost]) for cost in costs]
    trials = trials_of(campaign)
    assert len(front(campaign, trials)) == 14
    write_page(campaign, trials)
    text = campaign.place.read("report.html").decode()
    assert "Trials of which none is as good at less cost" in text
    assert "val_auc against hours" in text


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"early_stopping": {"grace": 1}}, "neither says which trial is worse"),
        ({"against": "gpu_hours"}, "Trials use no GPU"),
        ({"against": "money"}, "against"),
    ],
)
def test_a_second_objective_that_cannot_be_weighed_is_refused(tmp_path: Path, keys: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        one(tmp_path, **keys)
