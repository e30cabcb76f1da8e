"""Metrics against slow definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.metrics import auc, average, best_threshold, f1, per_au, thresholds

pairs = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40)


@given(pairs)
def test_auc_is_the_share_of_ordered_pairs(rows):
    y, score = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    wins = [(p > n) + 0.5 * (p == n) for p in score[y] for n in score[~y]]
    assert auc(y, score) == pytest.approx(np.mean(wins) if wins else np.nan, nan_ok=True)


@given(pairs)
def test_no_threshold_beats_the_best(rows):
    y, score = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    if not y.any():
        assert best_threshold(y, score) == 0.5
        return
    best = f1(y, score >= best_threshold(y, score))
    assert best == pytest.approx(max(f1(y, score >= t) for t in np.arange(-0.5, 7)))


def test_all_positive_f1_is_known_from_the_prevalence():
    y = np.zeros((100, 1))
    y[:20] = 1
    row = per_au(y, np.ones_like(y), np.zeros((100, 1)), np.array([0.5]))[0]
    assert row["all_positive_f1"] == pytest.approx(2 * 0.2 / 1.2)
    assert row["f1"] == 0


def test_unknown_labels_are_left_out():
    y = np.array([[1.0], [0.0], [0.0], [1.0]])
    score = np.array([[0.9], [0.1], [0.95], [0.05]])
    valid = np.array([[1], [1], [0], [0]])
    limits = thresholds(y, valid, score)
    row = per_au(y, valid, score, limits)[0]
    assert (row["f1"], row["auc"], row["frames"]) == (1, 1, 2)
    assert 0.1 < limits[0] <= 0.9


def test_the_average_skips_action_units_without_a_value():
    assert average([{"f1": 0.5}, {"f1": float("nan")}, {"f1": 0.7}], "f1") == pytest.approx(0.6)
