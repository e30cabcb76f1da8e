"""The search space: what is refused before anything starts, and what is drawn."""

import numpy as np
import optuna
import pytest
from campaign_files import RECIPE, SPACE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from au_dist.config.paths import leaf_kind
from au_dist.config.paths import put as placed
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import plan_batches
from au_dist.tuning.campaign import Campaign, check_combinations
from au_dist.tuning.space import (
    check_space,
    combinations,
    distributions,
    leaves,
    parse_space,
    simplex,
    values_of,
)

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
    values = values_of(space, parameters, Recipe.model_validate(BASE))
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
        ({"batch.clips": {"uniform": [4, 8.5]}}, "`batch.clips` is a whole number"),
        ({"batch.clips": {"uniform": [4, 8], "step": 0.5}}, "whole bounds, and a whole step"),
        ({"batch.clips": {"uniform": [4, 10], "step": 4}}, "an end such as 8"),
        ({"batch.clips": {"log": [4, 8], "step": 2}}, "step belongs to uniform"),
        ({"aunce.temperature": {"uniform": [0.1, 1], "step": 0.4}}, "an end such as 0.9"),
        ({"data.views.each_frame": {"uniform": [0, 1]}}, "is no number"),
        ({"model.encoder": {"log": [1, 2]}}, "is no number"),
        ({"aunce.temperature": {"log": [0.1, 1], "when": {"aunce.mod": "released"}}}, "names no other value"),
        ({"aunce.temperature": {"log": [0.1, 1], "when": {"aunce.temperature": 1}}}, "names no other value"),
        (
            {
                "aunce.temperature": {"log": [0.1, 1], "when": {"aunce.beta_majority": [0.5, 1]}},
                "aunce.beta_majority": {"uniform": [0.5, 1]},
            },
            "value of `aunce.beta_majority` that is not drawn",
        ),
        ({"aunce.temperature": {"log": [0.1, 1], "when": {"aunce.mode": "relaesed"}}}, "is not drawn"),
        (
            {
                "aunce.temperature": {"log": [0.1, 1], "when": {"aunce.mode": "relaesed"}},
                "aunce.mode": {"choice": ["corrected", "released"]},
            },
            "among corrected, released",
        ),
        (
            {
                "aunce.temperature": {"log": [0.1, 1], "when": {"aunce.beta_majority": 1}},
                "aunce.beta_majority": {"choice": [0.5, 1], "when": {"aunce.mode": "released"}},
            },
            "a condition of its own",
        ),
        ({}, "needs a search space"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: dict, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_space(parse_space(space, "file"), BASE, "file")
    assert message in str(caught.value)
    assert "file" in str(caught.value)


def test_whole_numbers_are_drawn_whole() -> None:
    raw = {
        "batch.clips": {"uniform": [16, 64], "step": 16},
        "optim.epochs": {"uniform": [1, 2], "step": 0.5},
        "model.embed_dim": {"log": [8, 64]},
        "batch.contrast": {"uniform": [4, 8]},  # a whole number or none
    }
    found = distributions(parse_space(raw, "file"))
    kinds = {name: type(one).__name__ for name, one in found.items()}
    whole = {name for name, kind in kinds.items() if kind == "IntDistribution"}
    assert whole == {"batch.clips", "model.width", "batch.contrast"}  # studies keep the first name of a value
    assert (found["batch.clips"].step, found["optim.epochs"].step, found["model.width"].log) == (16, 0.5, True)
    drawn = list(combinations(parse_space(raw, "file"), Recipe.model_validate(BASE)))
    assert {row["batch.clips"] for row in drawn} == {16, 32, 48, 64}
    assert {row["optim.epochs"] for row in drawn} == {1.0, 1.5, 2.0}
    assert {type(row["model.embed_dim"]) for row in drawn} == {int}
    assert {8, 64} <= {row["model.embed_dim"] for row in drawn} <= set(range(8, 65))


def test_all_of_a_small_space_are_its_combinations() -> None:
    raw = {"batch.clips": {"choice": [4, 8]}, "batch.contrast": {"uniform": [2, 4], "step": 2}}
    drawn = [(*row.values(),) for row in combinations(parse_space(raw, "file"), Recipe.model_validate(BASE))]
    assert drawn == [(4, 2), (4, 4), (8, 2), (8, 4)]


def test_a_value_with_a_condition_is_drawn_only_where_it_holds() -> None:
    raw = {
        "aunce.mode": {"choice": ["corrected", "released"]},
        "aunce.beta_minority": {"choice": [1.5], "when": {"aunce.mode": "corrected"}},
        "aunce.beta_majority": {"choice": [0.5], "when": {"optim.epochs": [1, 3], "aunce.draw": "anchor"}},
        "aunce.temperature": {"choice": [0.25], "when": {"optim.epochs": [1, 3]}},
    }
    drawn = list(combinations(parse_space(raw, "file"), Recipe.model_validate(BASE)))
    assert drawn == [
        {"aunce.mode": "corrected", "aunce.beta_minority": 1.5, "aunce.temperature": 0.25},
        {"aunce.mode": "released", "aunce.temperature": 0.25},
    ]


def test_a_condition_may_be_what_makes_values_fit() -> None:
    raw = {
        "model.encoder": {"choice": ["tiny", "swin_t"]},
        "model.drop_path": {"uniform": [0.1, 0.3], "when": {"model.encoder": "swin_t"}},
    }
    corners = check_space(parse_space(raw, "file"), BASE, "file")
    assert {(corner.model.encoder, corner.model.drop_path) for corner in corners} == {
        ("tiny", 0.0),
        ("swin_t", 0.0),
        ("swin_t", 0.1),
        ("swin_t", 0.3),
    }


#: Numbers, their bounds in a recipe, and what else it can choose from.
NUMBERS = {
    "aunce.temperature": (0.01, 5), "aunce.beta_majority": (0.1, 3), "optim.lr": (1e-5, 1), "optim.warmup": (0, 0.9),
    "optim.epochs": (0.5, 20), "data.balance": (0, 2), "batch.clips": (2, 96), "batch.contrast": (2, 96),
    "data.lanes": (1, 16), "model.embed_dim": (4, 64), "model.num_neighbors": (0, 12), "model.stages": (1, 5),
    "data.size": (16, 64), "optim.encoder": (0, 1), "model.drop_path": (0, 0.9), "data.shuffle_row_groups": (1, 9),
}  # fmt: skip
CHOICES = {
    "model.encoder": ["tiny", "resnet18", "swin_t", "timm/vit_tiny_patch16_224"],
    "model.norm": ["group", "frozen"],
    "aunce.mode": ["corrected", "released"],
    "model.bottleneck_channels": [0, 4],
    "optim.schedule": ["cosine", "constant"],
}


@st.composite
def spaces(draw: st.DrawFn) -> dict:
    space: dict = {}
    for path in draw(st.lists(st.sampled_from([*NUMBERS, *CHOICES]), min_size=1, max_size=4, unique=True)):
        if path in CHOICES:
            space[path] = {"choice": draw(st.lists(st.sampled_from(CHOICES[path]), min_size=1, unique=True))}
            continue
        low, high = NUMBERS[path]
        if path in ("batch.clips", "batch.contrast", "data.lanes"):
            numbers = st.sampled_from([number for number in (1, 2, 4, 8, 16, 32, 64, 96) if low <= number <= high])
        elif leaf_kind(Recipe, path) is int and draw(st.integers(0, 9)):
            numbers = st.integers(int(low), int(high))
        else:
            numbers = st.floats(low, high)
        bounds = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
        way = draw(st.sampled_from(["uniform", "log", "choice", "choice"]))
        space[path] = {way: bounds}
        if way == "uniform" and draw(st.booleans()):
            space[path]["step"] = draw(st.sampled_from([(bounds[1] - bounds[0]) / 2, bounds[1] - bounds[0], 1]))
    return space


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(spaces(), st.integers(0, 1000))
def test_no_draw_of_a_campaign_that_is_accepted_is_refused(space: dict, seed: int) -> None:
    """By the recipe or by the plan; what is refused is refused before anything is drawn, in words."""
    clips = 200

    def plan(recipe: Recipe) -> object:
        return plan_batches(recipe, clips, 1)

    raw = {"name": "c", "campaigns": "x", "recipe": BASE, "space": space}
    try:
        campaign = Campaign.model_validate({**raw, "space": parse_space(space, "file")})
        check_space(campaign.space, campaign.recipe, "file")
        check_combinations(campaign, "file", plan)
    except RecipeError:
        return
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(10):
        trial = drawn.ask(distributions(campaign.space))
        plan(campaign.trial(trial.number, values_of(campaign.space, trial.params, campaign.base())))
