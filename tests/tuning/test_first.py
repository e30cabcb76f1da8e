"""What is tried first: the recipe as it stands, and points that the file names."""

from pathlib import Path
from typing import Any

import pytest
from campaign_files import write_campaign
from hypothesis import given
from hypothesis import strategies as st

from au_dist.core.errors import RecipeError
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.first import is_base, not_held, same, why_no_base
from au_dist.tuning.space import breaks, simplex
from au_dist.tuning.study import open_study


def drawn(path: Path, count: int) -> list[dict[str, Any]]:
    with open_study(load_campaign(path)) as study:
        return [study.trial(study.ask()).values for _ in range(count)]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_the_recipe_comes_first_then_the_named_points_then_draws(tmp_path: Path, sampler: str) -> None:
    paper = {"aunce.temperature": 0.1, "aunce.positive_weights": [1.0, 2.0, 1.0, 0.0]}
    path = write_campaign(tmp_path, first=[paper], sampler=sampler)
    base, named, *more = drawn(path, 4)
    assert base["aunce.temperature"] == pytest.approx(0.5)
    assert base["aunce.positive_weights"] == pytest.approx([0.2, 0.6, 0.2, 0.0])
    assert (base["aunce.beta_majority"], base["aunce.beta_minority"]) == (0.8, 1.2)
    assert named == {
        "aunce.temperature": pytest.approx(0.1),
        "aunce.beta_majority": 0.8,
        "aunce.beta_minority": 1.2,
        "aunce.positive_weights": pytest.approx([0.25, 0.5, 0.25, 0.0]),
    }
    assert len({values["aunce.temperature"] for values in (base, named, *more)}) == 4


def test_points_that_are_equal_are_tried_once(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, first=[{"aunce.temperature": 0.5}, {"aunce.temperature": 0.25}])
    assert [values["aunce.temperature"] for values in drawn(path, 2)] == pytest.approx([0.5, 0.25])


def test_a_recipe_that_the_space_does_not_hold_is_not_tried(tmp_path: Path) -> None:
    space = {"aunce.temperature": {"log": [0.05, 0.4]}, "batch.clips": {"uniform": [4, 16], "step": 4}}
    path = write_campaign(tmp_path, space=space, recipe={"batch": {"clips": 6}})
    campaign = load_campaign(path)
    assert why_no_base(campaign) == "the space does not hold aunce.temperature 0.5; batch.clips 6"
    assert list(not_held(campaign.space, campaign.base(), {"aunce.temperature": 0.4, "batch.clips": 8})) == []
    assert all(values["aunce.temperature"] <= 0.4 for values in drawn(path, 2))


def test_what_has_no_effect_need_not_be_in_the_space(tmp_path: Path) -> None:
    space = {
        "model.encoder": {"choice": ["tiny", "swin_t"]},
        "model.drop_path": {"uniform": [0.1, 0.3], "when": {"model.encoder": "swin_t"}},
    }
    path = write_campaign(tmp_path, space=space, first=[{"model.encoder": "swin_t", "model.drop_path": 0.2}])
    assert drawn(path, 2) == [{"model.encoder": "tiny"}, {"model.encoder": "swin_t", "model.drop_path": 0.2}]


@pytest.mark.parametrize(
    ("first", "match"),
    [
        ({"aunce.temperature": 2.0}, "not in the space.*point 1.*aunce.temperature 2.0"),
        ({"aunce.temperature": "hot"}, "not in the space"),
        ({"aunce.temperatur": 0.2}, "names what is not searched: aunce.temperatur"),
        ({"aunce.positive_weights": [0.5, 0.5, 0.0, 0.5]}, "not in the space"),
        ({"aunce.positive_weights": [0.5, 0.5]}, "not in the space"),
        ({"aunce.positive_weights": [0, 0, 0, 0]}, "not in the space"),
        ({"aunce.temperature": True}, "not in the space"),
        ({"aunce.beta_majority": 1.0}, "constraints do not allow this point"),
    ],
)
def test_a_point_that_cannot_be_tried_is_refused(tmp_path: Path, first: dict[str, Any], match: str) -> None:
    rule = ["aunce.beta_majority < 0.9"]
    with pytest.raises(RecipeError, match=rf"(?s){match}"):
        load_campaign(write_campaign(tmp_path, first=[first], constraints=rule))


def test_a_recipe_that_the_constraints_do_not_allow_is_not_tried(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, constraints=["aunce.beta_majority > 0.9"])
    assert why_no_base(load_campaign(path)) == "the constraints do not allow it"
    assert all(values["aunce.beta_majority"] > 0.9 for values in drawn(path, 2))


def test_a_whole_number_is_the_number_that_it_is(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, space={"optim.epochs": {"choice": [1, 3]}})
    campaign = load_campaign(path)
    assert why_no_base(campaign) is None
    assert drawn(path, 1) == [{"optim.epochs": 3}]
    assert is_base(campaign.base(), {"optim.epochs": 3})


def test_what_is_the_same() -> None:
    assert same([0.1 + 0.2, 1], [0.3, 1.0])
    assert not same(None, 0.3)
    assert not same(0.3, None)
    assert not same(None, [0.3])
    assert not same(True, 1)
    assert same(None, None)
    assert not same("1", 1)


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_a_sampler_that_the_constraints_do_not_allow_is_helped(tmp_path: Path, sampler: str) -> None:
    """The best lies where nothing is allowed."""
    space = {"aunce.temperature": {"uniform": [0.1, 1.0]}, "aunce.beta_majority": {"uniform": [0.1, 1.0]}}
    rule = ["aunce.temperature + aunce.beta_majority > 1.0"]
    path = write_campaign(tmp_path, space=space, constraints=rule, sampler=sampler, trials=12)
    with open_study(load_campaign(path)) as study:
        for _ in range(12):  # the first ten of a sampler are at random
            number = study.ask()
            values = study.trial(number).values
            assert sum(values.values()) > 1.0
            study.report(number, 1, -sum(values.values()))
            study.finish(number, -sum(values.values()))


def test_other_points_are_another_campaign_but_those_of_before_have_none(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    claim(load_campaign(path), "hash")
    written = load_campaign(path).place
    text = written.read("campaign.yaml").decode()
    assert "sampler: tpe\n" in text
    written.write("campaign.yaml", text.replace("sampler: tpe\n", "").replace("first: []\n", "").encode())
    claim(load_campaign(path), "hash")
    with pytest.raises(RecipeError, match="searches something else"):
        claim(load_campaign(path, ["sampler=random"]), "hash")
    claim(load_campaign(path, ["budget.hours=3"]), "hash")


@given(st.lists(st.floats(0, 10), min_size=2, max_size=4).filter(lambda weights: sum(weights) > 1e-6))
def test_the_breaks_of_a_stick_are_found_again(weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    assert simplex(breaks(weights)) == pytest.approx(shares, abs=1e-5)
