"""The numbers of a run belong together on any number of workers; the learning rate warms up and ends at zero."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.config.running import Optim
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import learning_rate, plan_batches, rate_shares, worker_counts


def recipe(**sections):
    raw = {"name": "x", "shards": "s", "runs": "r", "method": "aunce"}
    return Recipe.model_validate({**raw, "data": {"lanes": 8}, "batch": {"clips": 32, "contrast": 8}, **sections})


shapes = st.fixed_dictionaries(
    {
        "world": st.sampled_from([1, 2, 3, 4]),
        "each": st.integers(1, 3),  # lanes of a rank
        "take": st.integers(1, 4),
        "accumulate": st.integers(1, 4),
        "more": st.integers(0, 500),  # clips of an epoch beyond those of a step
        "epochs": st.floats(0.05, 20),
        "warmup": st.floats(0, 0.9),
    }
)


def planned(world, each, take, accumulate, more, epochs, warmup):
    contrast = world * each * take
    # A step has at least two clips.
    contrast, take = (contrast, take) if contrast > 1 else (2, 2)
    asked = recipe(
        data={"lanes": world * each},
        batch={"clips": contrast * accumulate, "contrast": contrast},
        optim={"epochs": epochs, "warmup": warmup},
    )
    return asked, plan_batches(asked, contrast * accumulate + more, world)


@given(shapes)
def test_every_clip_of_a_step_is_read_by_one_rank_in_one_set_from_one_lane(shape):
    asked, plan = planned(**shape)
    assert plan.clips == asked.batch.clips == plan.accumulate * plan.contrast
    assert plan.accumulate == shape["accumulate"]
    assert plan.contrast == asked.batch.contrast == plan.micro * plan.world == plan.take * asked.data.lanes
    assert plan.world == shape["world"]


@given(shapes)
def test_the_last_step_is_the_first_that_ends_the_epochs(shape):
    asked, plan = planned(**shape)
    assert plan.epoch(plan.steps) >= asked.optim.epochs * (1 - 1e-9)
    assert plan.epoch(plan.steps - 1) <= asked.optim.epochs * (1 + 1e-9)
    assert (plan.every - 1) * plan.clips < plan.epoch_clips <= plan.every * plan.clips


@given(shapes)
def test_the_number_of_workers_changes_nothing_but_their_own_share(shape):
    asked, plan = planned(**shape)
    alone = plan_batches(asked, plan.epoch_clips, 1)
    mine = {"world", "micro"}
    assert {k: v for k, v in vars(plan).items() if k not in mine} == {
        k: v for k, v in vars(alone).items() if k not in mine
    }


@given(shapes)
def test_steps_follow_each_other_set_by_set_without_a_gap(shape):
    _, plan = planned(**shape)
    sets = [plan.sets(step) + part for step in range(5) for part in range(plan.accumulate)]
    assert sets == list(range(plan.sets(5)))
    # A set takes its clips, so a step's end is where its clips end.
    assert plan.sets(plan.steps) * plan.contrast == plan.steps * plan.clips


@given(shapes)
def test_the_learning_rate_rises_in_equal_steps_over_its_share_and_falls_to_nothing(shape):
    asked, plan = planned(**shape)
    assert plan.warmup == pytest.approx(asked.optim.warmup * plan.steps, abs=0.5)
    rates = [learning_rate(step, 2.0, plan.warmup, plan.steps) for step in range(plan.steps)]
    assert rates[: plan.warmup] == pytest.approx([2.0 * (step + 1) / plan.warmup for step in range(plan.warmup)])
    after = rates[plan.warmup :]
    assert after == sorted(after, reverse=True)
    assert after[:1] in ([], [2.0])
    assert all(0 < rate <= 2.0 for rate in rates)
    assert learning_rate(plan.steps, 2.0, plan.warmup, plan.steps) == pytest.approx(0, abs=1e-12) or not after


def test_half_way_down_the_learning_rate_is_half_the_peak():
    assert learning_rate(60, 1.0, 20, 100) == pytest.approx(0.5)
    assert learning_rate(40, 1.0, 20, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_a_constant_learning_rate_rises_and_stays():
    rates = [learning_rate(step, 2.0, 4, 10, "constant") for step in range(10)]
    assert rates == [0.5, 1.0, 1.5, *[2.0] * 7]


def test_a_run_warms_up_unless_it_is_told_not_to():
    assert plan_batches(recipe(optim={"epochs": 10}), 320, 2).warmup == 5  # of 100 steps
    assert plan_batches(recipe(optim={"epochs": 10, "warmup": 0.0}), 320, 2).warmup == 0


def test_checkpoints_come_once_an_epoch_or_as_asked():
    assert plan_batches(recipe(), 100, 1).every == 4
    assert plan_batches(recipe(checkpoint={"every_steps": 7}), 100, 1).every == 7


@pytest.mark.parametrize(
    ("sections", "epoch", "world", "match"),
    [
        ({"batch": {"clips": 12, "contrast": 8}}, 100, 1, "batch.contrast must divide"),
        ({"batch": {"clips": 24, "contrast": 12}}, 100, 1, "data.lanes must divide"),
        ({}, 100, 3, "cannot share the lanes"),
        ({}, 31, 1, "fewer clips than one step"),
    ],
)
def test_numbers_that_do_not_divide_each_other_are_refused(sections, epoch, world, match):
    with pytest.raises(RecipeError, match=match):
        plan_batches(recipe(**sections), epoch, world)


def test_a_run_may_have_the_numbers_of_workers_that_share_the_lanes():
    assert worker_counts(recipe(workers={"count": [2, 7]})) == [2, 4]
    assert worker_counts(recipe(workers={"count": 4})) == [4]
    with pytest.raises(RecipeError, match="cannot share the lanes"):
        worker_counts(recipe(workers={"count": [5, 7]}))


def test_the_stage_next_to_the_pixels_learns_slowest():
    stages = {"stem": 0, "middle": 1, "top": 2}
    shares = rate_shares(stages, Optim(encoder=0.5, layer_decay=0.1))
    assert shares == pytest.approx({"stem": 0.005, "middle": 0.05, "top": 0.5})
    assert rate_shares({}, Optim()) == {}
