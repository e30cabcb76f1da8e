"""A preview of a run: arithmetic from measured numbers, advice only from what was measured, nothing left behind."""

from pathlib import Path

import pytest
from test_main_job import recipe

from au_dist.core.errors import RecipeError
from au_dist.runs.context import make_context
from au_dist.runs.preview import Estimate, Measured, advise, estimate, preview, validation_advice


def measured(change="", step_s=1.0, memory_mib=1000.0, waits=0.0, error_s=0.01):
    return Measured(change, step_s, error_s, waits, memory_mib, 5.0, 3.0, 10.0, 1.0)


def test_the_estimate_is_the_sum_of_what_was_measured(shards):
    asked = recipe(shards, "runs", "x", checkpoint={"every_steps": 3, "last_k": 2, "top_k": 1, "keep_multiples_of": 6})
    plan = make_context(asked).plan(2)
    found = estimate(asked, plan, measured(step_s=0.5))
    checkpoints = -(-plan.steps // 3)
    assert found.training_s == plan.steps * 0.5
    assert found.validation_s == 5 + (checkpoints - 1) * 3
    assert found.waiting_s == 1  # only for the last one
    assert found.cpu_hours == pytest.approx(2 * (0.5 + 0.5) * found.total_s / 3600)
    assert found.gpu_hours == 0
    assert found.stored_mib == 10 * min(checkpoints, 2 + 1 + plan.steps // 6)


def test_a_store_that_is_slower_than_training_is_waited_for(shards):
    asked = recipe(shards, "runs", "x", checkpoint={"every_steps": 3, "last_k": 2})
    plan = make_context(asked).plan(2)
    own = Measured("", 0.5, 0.01, 0.0, 1000.0, 5.0, 3.0, 10.0, stored_s=20.0)
    checkpoints = -(-plan.steps // 3)
    assert estimate(asked, plan, own).waiting_s == (checkpoints - 1) * (20 - 3 * 0.5 - 3) + 20


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([measured("engine.zero=1", 1.2)], []),
        ([measured("engine.zero=1", 0.97)], []),
        ([measured("engine.zero=1", 0.8, error_s=0.2)], []),
        ([measured("engine.zero=1", 0.8), measured("", 0.78)], []),
        ([measured("engine.zero=1", 0.8), measured("engine.zero=2", 0.7)], ["engine.zero=2: 1.43 times as fast"]),
        ([measured("engine.zero=3", 1.5, 400)], ["engine.zero=3 only if memory is short: 40% of it, at 1.50 times"]),
        ([Measured("engine.zero=3", error="out of memory"), Measured("", error="lost")], []),
    ],
)
def test_only_what_was_measured_to_be_better_is_advised(others, expected):
    lines = list(advise([measured(), *others]))
    assert len(lines) == len(expected)
    assert all(line.startswith(words) for line, words in zip(lines, expected, strict=True))


def test_waiting_for_data_is_told():
    assert "wait for data 30%" in next(advise([measured(waits=0.3)]))


def test_validations_that_take_much_of_a_run_are_told():
    found = [Estimate(100.0, validation_s, 0, 0, 0, 1, 1) for validation_s in (30.0, 50.0)]
    assert [list(validation_advice(one)) for one in found] == [
        [],
        ["validation takes 33% of the time: validate less often with checkpoint.every_steps"],
    ]


@pytest.mark.ray
@pytest.mark.slow
def test_a_measured_preview_leaves_nothing_behind(ray_here, shards, tmp_path):
    asked = recipe(shards, tmp_path, "x", workers={"count": [1, 2], "max_failures": 0})
    shown = []
    found = preview(asked, 1, 2, variants=False, show=shown.append)
    assert found.plan.world == 1
    assert shown == ["the recipe as it is"]
    (own,) = found.measured
    assert min(own.step_s, own.memory_mib, own.first_s, own.stored_mib) > 0
    assert list(Path(tmp_path).iterdir()) == []
    with pytest.raises(RecipeError, match=r"data\.lanes"):
        preview(asked.model_copy(update={"batch": asked.batch.model_copy(update={"clips": 5})}), 2, 4, variants=False)
    assert list(Path(tmp_path).iterdir()) == []
