"""Losses and gradients are the same on one and on several workers, through the DeepSpeed engine."""

import pytest
import torch
from spawn import spawn
from task_jobs import gradients

pytestmark = pytest.mark.slow

PER_AU, PER_ANCHOR = "corrected/mixed/action_unit", "corrected/mixed/anchor"
KINDS = [
    PER_AU,
    PER_ANCHOR,
    "corrected/highest/action_unit",
    "released/mean/action_unit",
    "released/view/action_unit",
    "detect",
    "predict",
    "regress",
]
TWO = [(kind, 0) for kind in KINDS] + [(kind, stage) for kind in (PER_ANCHOR, "predict") for stage in (1, 2, 3)]


@pytest.fixture(scope="module")
def alone():
    return dict(zip(KINDS, spawn(1, gradients, [(kind, 0) for kind in KINDS])[0], strict=True))


@pytest.fixture(scope="module")
def together():
    """On two workers: case -> what each rank found."""
    return dict(zip(TWO, zip(*spawn(2, gradients, TWO), strict=True), strict=True))


@pytest.mark.parametrize("case", TWO)
def test_two_workers_equal_one(alone, together, case):
    check(alone[case[0]], together[case])


def test_four_workers_equal_one(alone):
    found = spawn(4, gradients, [(PER_AU, 0), (PER_ANCHOR, 0)])
    check(alone[PER_AU], [rank[0] for rank in found])
    check(alone[PER_ANCHOR], [rank[1] for rank in found])
    assert alone[PER_AU]["loss"] != alone[PER_ANCHOR]["loss"]


def check(alone, together):
    assert len(alone["grads"]) > 10
    for found in together:
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        for name, expected in alone["grads"].items():
            torch.testing.assert_close(found["grads"][name], expected, rtol=1e-3, atol=1e-6, msg=name)
