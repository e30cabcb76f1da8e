"""DeepSpeed: N processes equal one, and a resumed run equals one that never stopped, at any ZeRO stage."""

import pytest
import torch
from engine_jobs import all_steps
from spawn import spawn

pytestmark = pytest.mark.slow

#: ZeRO stage, accumulation.
SHAPES = [(0, 1), (0, 2), (1, 2), (2, 1), (3, 1)]


@pytest.fixture(scope="module")
def alone():
    """Six steps on one process at stage 0."""
    return spawn(1, all_steps, [(0, 1, 0, 6, None)])[0][0]


@pytest.fixture(scope="module")
def whole():
    """Six steps on two processes, for every shape."""
    return dict(zip(SHAPES, spawn(2, all_steps, [(*shape, 0, 6, None) for shape in SHAPES])[0], strict=True))


@pytest.fixture(scope="module")
def half():
    """The first three of them."""
    return dict(zip(SHAPES, spawn(2, all_steps, [(*shape, 0, 3, None) for shape in SHAPES])[0], strict=True))


@pytest.fixture(scope="module")
def rest(half):
    """The last three, in new processes."""
    return dict(zip(SHAPES, spawn(2, all_steps, [(*s, 3, 6, half[s]) for s in SHAPES])[0], strict=True))


def assert_same(found, expected, **tolerance):
    for kind in ("weights", "moments"):
        assert found[kind].keys() == expected[kind].keys()
        for name, tensor in found[kind].items():
            torch.testing.assert_close(tensor, expected[kind][name], **tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_two_processes_equal_one(alone, whole, shape):
    assert_same(whole[shape], alone, rtol=1e-5, atol=1e-6)
    assert whole[shape]["norms"] == pytest.approx(alone["norms"], rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_resuming_equals_not_stopping_to_the_bit(whole, half, rest, shape):
    assert_same(rest[shape], whole[shape], rtol=0, atol=0)
    assert half[shape]["norms"] + rest[shape]["norms"] == whole[shape]["norms"]


def test_resuming_on_other_workers_and_another_stage(alone, half):
    """Optimizer state travels: three steps at stage 3 on two processes, three at stage 1 on one."""
    elsewhere = spawn(1, all_steps, [(1, 1, 3, 6, half[3, 1])])[0][0]
    assert_same(elsewhere, alone, rtol=1e-5, atol=1e-6)
