"""DeepSpeed: N processes equal one, and a resumed run equals one that never stopped, at any ZeRO stage."""

import pytest
import torch
from engine_jobs import all_steps
from spawn import spawn

pytestmark = pytest.mark.slow

#: A loss scale that fits, and one that is too large for the first steps.
FITS, LARGE = 2.0**8, 2.0**19

#: Engine, accumulation, loss scale to begin with.
SHAPES = [
    ({"zero": 0}, 1, None),
    ({"zero": 0}, 2, None),
    ({"zero": 1}, 2, None),
    ({"zero": 3}, 1, None),
    ({"zero": 2, "offload": True}, 1, None),
    ({"zero": 3, "offload": True}, 2, None),
    ({"zero": 2, "precision": "bf16"}, 2, None),
    ({"zero": 0, "precision": "fp16"}, 2, FITS),
    ({"zero": 3, "precision": "fp16"}, 1, FITS),
    ({"zero": 0, "precision": "fp16"}, 1, LARGE),
    ({"zero": 1, "precision": "fp16"}, 1, LARGE),
]
KINDS = ("fp32", "bf16", "fp16")

#: Rounding of products: (rtol, atol) of what several updates make of it.
TOLERANCE = {"fp32": (1e-5, 1e-6), "bf16": (0.1, 0.03), "fp16": (0.02, 0.005)}


def name_of(shape):
    config, accumulate, size = shape
    return "-".join(f"{key}={value}" for key, value in config.items()) + f"-x{accumulate}" + "-large" * (size == LARGE)


def kind(config):
    return config.get("precision", "fp32")


@pytest.fixture(scope="module")
def alone():
    """Six steps on one process at stage 0, for every precision."""
    cases = [
        ({"zero": 0, "precision": precision}, 1, FITS if precision == "fp16" else None, 0, 6, None)
        for precision in KINDS
    ]
    return dict(zip(KINDS, spawn(1, all_steps, cases)[0], strict=True))


def run(first, last, saved=None):
    """Steps on two processes, for every shape."""
    cases = [(*shape, first, last, saved and saved[name_of(shape)]) for shape in SHAPES]
    return dict(zip(map(name_of, SHAPES), spawn(2, all_steps, cases)[0], strict=True))


@pytest.fixture(scope="module")
def whole():
    return run(0, 6)


@pytest.fixture(scope="module")
def half():
    """The first three of them."""
    return run(0, 3)


@pytest.fixture(scope="module")
def rest(half):
    """The last three, in new processes."""
    return run(3, 6, half)


def assert_same(found, expected, **tolerance):
    for part in ("weights", "moments"):
        assert found[part].keys() == expected[part].keys()
        for name, tensor in found[part].items():
            torch.testing.assert_close(tensor, expected[part][name], **tolerance)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[2] != LARGE], ids=name_of)
def test_two_processes_equal_one(alone, whole, shape):
    found, expected = whole[name_of(shape)], alone[kind(shape[0])]
    rtol, atol = TOLERANCE[kind(shape[0])]
    assert_same(found, expected, rtol=rtol, atol=atol)
    assert found["norms"] == pytest.approx(expected["norms"], rel=max(rtol, 1e-4))


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_resuming_equals_not_stopping_to_the_bit(whole, half, rest, shape):
    name = name_of(shape)
    assert_same(rest[name], whole[name], rtol=0, atol=0)
    norms = half[name]["norms"] + rest[name]["norms"]
    assert norms == pytest.approx(whole[name]["norms"], rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[2] == LARGE], ids=name_of)
def test_fp16_seeks_its_scale(whole, shape):
    """What is left out moves nothing and is no update."""
    found = whole[name_of(shape)]
    lost = sum(found["left_out"])
    assert 0 < lost < 5
    assert found["left_out"] == [True] * lost + [False] * (6 - lost)
    assert found["moments"]["loss_scale"].tolist() == [LARGE / 2**lost, 6 - lost, 6 - lost]


def test_resuming_on_other_workers_and_another_stage(alone, half):
    """Optimizer state travels: three steps at stage 3 on two processes, three at stage 1 on one."""
    elsewhere = spawn(1, all_steps, [({"zero": 1}, 1, None, 3, 6, half[name_of(({"zero": 3}, 1, None))])])[0][0]
    assert_same(elsewhere, alone["fp32"], rtol=1e-5, atol=1e-6)
