"""A campaign that knows what came of earlier ones."""

from pathlib import Path
from typing import Any

import pytest
from campaign_files import write_campaign

from au_dist.core.errors import RecipeError
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.earlier import earlier_trials
from au_dist.tuning.study import Study, open_study

TEMPERATURE = {"aunce.temperature": {"log": [0.05, 1.0]}}


def one(folder: Path, **keys: Any) -> Campaign:
    folder.mkdir(exist_ok=True)
    return load_campaign(write_campaign(folder, trials=30, **{"space": TEMPERATURE, **keys}))


def drawn(study: Study, count: int, seconds: float = 0.0) -> list[float]:
    """Ask for trials, of which small temperatures are good; every third is stopped early."""
    found = []
    for _ in range(count):
        number = study.ask()
        temperature = study.trial(number).values["aunce.temperature"]
        study.spend(number, seconds)
        study.report(number, 1, -temperature, stops=number % 3 == 2)
        if number % 3 != 2:
            study.finish(number, -temperature)
        found.append(temperature)
    return found


@pytest.fixture
def before(tmp_path: Path) -> Campaign:
    campaign = one(tmp_path / "before", name="before")
    claim(campaign, "manifest")
    with open_study(campaign) as study:
        drawn(study, 15)
        study.fail(study.ask(), "no good")
    return campaign


def test_what_came_of_them_is_known_and_is_none_of_its_own_trials(tmp_path: Path, before: Campaign) -> None:
    """A search that has learnt draws good values from the start, the recipe as it stands first."""
    campaign = one(tmp_path / "now", warm_start=[before.place.uri], seed=5)
    found, words = earlier_trials(campaign, "manifest")
    assert words == [f"15 of 15 trials of {before.place.uri} are known from the start"]
    with open_study(campaign) as study:
        study.learn(found)
        study.learn(found)
        assert study.trials() == []
        warm = drawn(study, 6)
        assert len(study.trials()) == 6
        assert sum("earlier" in trial.user_attrs for trial in study._study.trials) == 15
    with open_study(one(tmp_path / "cold", seed=5)) as study:
        cold = drawn(study, 6)
    assert warm[0] == cold[0] == 0.5
    assert max(warm[1:]) < 0.3 < max(cold[1:])


@pytest.mark.parametrize(
    ("keys", "manifest", "match"),
    [
        ({}, "another", "other shards"),
        ({"seeds": 2}, "manifest", "other folds and seeds"),
        ({"recipe": {"optim": {"epochs": 4}}}, "manifest", "No trial.*optim.epochs from 3.0 to 4.0"),
        *(
            pytest.param(keys, "manifest", match, marks=pytest.mark.slow)
            for keys, match in [
                ({"recipe": {"checkpoint": {"metric": "val_f1"}}}, "other metric"),
                ({"space": {"aunce.temperature": {"log": [1e-3, 2e-3]}}}, "No trial.*15 trials"),
                ({"warm_start": ["/nowhere/there"]}, "No campaign is there"),
            ]
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, before: Campaign, keys: dict[str, Any], manifest: str, match: str
) -> None:
    campaign = one(tmp_path / "now", **{"warm_start": [before.place.uri], **keys})
    with pytest.raises(RecipeError, match=match):
        earlier_trials(campaign, manifest)


def test_with_two_objectives_only_trials_that_came_to_their_end_count(tmp_path: Path, before: Campaign) -> None:
    keys = {"warm_start": [before.place.uri], "against": "hours", "early_stopping": None}
    with pytest.raises(RecipeError, match="No trial"):  # of these nobody knows how long they took
        earlier_trials(one(tmp_path / "now", **keys), "manifest")
    timed = one(tmp_path / "timed", name="timed")
    claim(timed, "manifest")
    with open_study(timed) as study:
        drawn(study, 15, seconds=60.0)
    campaign = one(tmp_path / "now", **{**keys, "warm_start": [timed.place.uri]})
    found, words = earlier_trials(campaign, "manifest")
    assert words[0].startswith("10 of 15 trials")
    with open_study(campaign) as study:
        study.learn(found)
        assert study.has_learnt
        numbers = [study.ask() for _ in range(3)]
        assert len(study.trials()) == len(numbers) == 3


def test_trials_with_values_that_this_space_does_not_hold_are_left_out(tmp_path: Path, before: Campaign) -> None:
    narrow = {"aunce.temperature": {"log": [0.05, 0.6]}, "aunce.beta_majority": {"uniform": [0.2, 1.2]}}
    found, (words,) = earlier_trials(one(tmp_path / "now", warm_start=[before.place.uri], space=narrow), "manifest")
    assert 0 < len(found) < 15
    assert words.startswith(f"{len(found)} of 15 trials")
