"""The search space: what is refused before anything starts, and what is drawn."""

import numpy as np
import pytest
from campaign_files import RECIPE, SPACE
from hypothesis import given
from hypothesis import strategies as st

from au_dist.config.paths import put as placed
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.space import check_space, distributions, leaves, parse_space, simplex, values_of

BASE = {"name": "x", "shards": "s", "runs": "r", **RECIPE}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_broken_stick_is_shares_that_sum_to_one(uniforms: list[float]) -> None:
    shares = simplex(uniforms)
    assert len(shares) == len(uniforms) + 1
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1)


def test_uniform_numbers_give_uniform_shares() -> None:
    drawn = np.array([simplex(row) for row in np.random.default_rng(0).random((20_000, 3))])
    # Uniform on the simplex of four shares: each is Beta(1, 3), which has mean 1/4 and variance 3/80.
    np.testing.assert_allclose(drawn.mean(0), 1 / 4, atol=0.005)
    np.testing.assert_allclose(drawn.var(0), 3 / 80, atol=0.002)


def test_parameters_become_values_of_a_recipe() -> None:
    space = parse_space({**SPACE, "batch.clips": {"choice": [4, 8]}}, "file")
    found = distributions(space)
    assert list(found) == [
        "aunce.temperature",
        "aunce.beta_majority",
        "aunce.beta_minority",
        "aunce.odds.highest",  # studies keep the first name of a value
        "aunce.odds.mean",
        "batch.clips",
    ]
    assert found["aunce.temperature"].log
    assert (found["aunce.beta_majority"].low, found["aunce.beta_majority"].high) == (0.2, 1.2)
    parameters = {name: 0.5 for name in found} | {"batch.clips": 8}
    values = values_of(space, parameters)
    assert values["aunce.positive_weights"] == pytest.approx([1 - 0.5**0.5, 0.5**1.5, 0.5**1.5, 0])
    recipe = Recipe.model_validate(placed(BASE, values))
    assert recipe.aunce.temperature == 0.5
    assert recipe.batch.clips == 8
    assert recipe.aunce.positive_weights[3] == 0


def test_the_corners_of_a_space_are_recipes() -> None:
    corners = check_space(parse_space(SPACE, "file"), BASE, "file")
    assert [corner.aunce.temperature for corner in corners[:2]] == [0.05, 1.0]
    assert [corner.aunce.positive_weights for corner in corners[-3:]] == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)]


def test_every_plain_value_of_a_recipe_has_a_path() -> None:
    paths = leaves(Recipe)
    assert {"seed", "optim.lr", "data.protocol.folds", "init.run", "aunce.positive_weights", "batch.contrast"} <= set(
        paths
    )
    assert "optim" not in paths


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"aunce.temprature": {"log": [0.1, 1]}}, "Did you mean `aunce.temperature`"),
        ({"aunce": {"log": [0.1, 1]}}, "A recipe has no value `aunce`"),
        ({"aunce.temperature": {"log": [0, 1]}}, "must start above 0"),
        ({"aunce.temperature": {"uniform": [1, 1]}}, "below the second"),
        ({"aunce.temperature": {"uniform": [0.1, float("nan")]}}, "below the second"),
        ({"aunce.temperature": {"unifrom": [0.1, 1]}}, "Did you mean `uniform`"),
        ({"aunce.temperature": {"log": [0.1, 1], "uniform": [0.1, 1]}}, "exactly one of"),
        ({"aunce.temperature": {}}, "exactly one of"),
        ({"aunce.temperature": [0.1, 1]}, "does not fit"),
        ({"aunce.temperature": {"uniform": [-1, 1]}}, "greater than 0"),
        ({"aunce.temperature": {"weights": ["mean", "view"]}}, "nothing else"),
        ({"aunce.positive_weights": {"uniform": [0, 1]}}, "nothing else"),
        ({"aunce.positive_weights": {"weights": ["mean", "mean"]}}, "twice"),
        ({"aunce.positive_weights": {"weights": ["mean", "median"]}}, "highest"),
        ({"optim.warmup": {"uniform": [0, 1]}}, "less than 1"),
        ({"batch.clips": {"choice": [8, "many"]}}, "valid integer"),
        ({"model.encoder": {"choice": ["tiny", "huge"]}}, "tiny"),
        ({"workers.count": {"choice": [1, 2]}}, "cannot search `workers.count`"),
        ({"data.protocol.fold": {"choice": [0, 1]}}, "cannot search `data.protocol.fold`"),
        ({"seed": {"choice": [0, 1]}}, "cannot search `seed`"),
        ({"detection.balance": {"choice": [True, False]}}, "no effect"),
        ({}, "needs a search space"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: dict, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_space(parse_space(space, "file"), BASE, "file")
    assert message in str(caught.value)
    assert "file" in str(caught.value)
