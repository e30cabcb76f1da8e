"""Intervals of a mean and of what is no mean."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.core.metrics import auc
from au_dist.tuning.intervals import jackknife, mean_interval

VALUES = st.lists(st.floats(-1, 1), min_size=2, max_size=8)


def test_the_interval_of_a_mean_is_students() -> None:
    found = mean_interval([0.01, 0.02, 0.03])
    # t of 0.975 with two degrees of freedom is 4.3027, the standard error 0.01 / sqrt 3.
    half = 4.3027 * 0.01 / math.sqrt(3)
    assert (found.low, found.high, found.of) == (
        pytest.approx(0.02 - half, rel=1e-3),
        pytest.approx(0.02 + half, rel=1e-4),
        3,
    )


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan], [0.5, math.inf]])
def test_what_cannot_be_known_has_no_end(values: list[float]) -> None:
    found = mean_interval(values, 0.5)
    assert (found.low, found.high) == (-math.inf, math.inf)


@given(VALUES)
def test_of_a_mean_both_ways_are_one(values: list[float]) -> None:
    without = [np.mean(values[:index] + values[index + 1 :]) for index in range(len(values))]
    found, plain = jackknife(float(np.mean(values)), without), mean_interval(values)
    assert (found.low, found.high) == (pytest.approx(plain.low, abs=1e-9), pytest.approx(plain.high, abs=1e-9))


def test_an_interval_over_subjects_holds_the_truth_as_often_as_it_says() -> None:
    """Frames of a subject are alike: taken for independent they would be far too sure."""
    rng, subjects, frames, held = np.random.default_rng(0), 20, 40, 0
    # A score is the label, who is seen, and noise: frames of two subjects, one with the unit, differ by N(1, 2 * 1.5).
    truth = 0.5 * (1 + math.erf(1 / math.sqrt(2 * (0.5 + 1)) / math.sqrt(2)))
    rounds = 400
    for _ in range(rounds):
        y_SF = rng.random((subjects, frames)) < 0.3
        noise_SF = rng.normal(0, math.sqrt(0.5), (subjects, 1)) + rng.normal(size=(subjects, frames))
        score_SF = y_SF + noise_SF
        keep = ~np.eye(subjects, dtype=bool)
        without = [auc(y_SF[keep[s]].ravel(), score_SF[keep[s]].ravel()) for s in range(subjects)]
        found = jackknife(auc(y_SF.ravel(), score_SF.ravel()), without)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / rounds <= 0.98, held / rounds
