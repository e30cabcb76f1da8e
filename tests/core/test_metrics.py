"""Metrics against slow definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.core.metrics import (
    agreement,
    auc,
    average,
    best_threshold,
    f1,
    intensity_per_au,
    judged,
    per_au,
    thresholds,
)

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


@given(pairs)
def test_the_best_threshold_lies_half_way_between_two_scores(rows):
    y, score = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    if not y.any():
        return
    limit = best_threshold(y, score)
    called, others = score[score >= limit], score[score < limit]
    # A score that was not seen, near either, is called as its neighbour.
    assert limit == pytest.approx((called.min() + others.max()) / 2 if len(others) else called.min())


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


@given(st.lists(st.integers(0, 6), min_size=4, max_size=4), st.lists(st.integers(0, 6), min_size=4, max_size=4))
def test_which_action_units_are_averaged_depends_on_labels_alone(one, other):
    """Of four units one never occurs, one always does, one has no label: F1 of the first is 0 or unknown, as called."""
    y = np.array([[0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 1]], bool)
    valid = np.array([True, True, False, True]) & np.ones((4, 1), bool)
    score = np.stack([np.array(scores, float) for scores in (one, other, one, other)], 1)
    for limits in (np.full(4, 3.0), thresholds(y, valid, score)):
        rows = per_au(y, valid, score, limits)
        assert judged(rows) == [rows[3]]
        assert average(judged(rows), "f1") == rows[3]["f1"]
    levels = intensity_per_au(y.astype(float), valid, score)
    assert judged(levels) == [levels[3]]
    assert not np.isnan(list(levels[3].values())).any()


def anova_icc(ratings_NK: np.ndarray) -> float:
    """ICC(3,1) as Shrout and Fleiss define it: (BMS - EMS) / (BMS + (k - 1) EMS)."""
    n, k = ratings_NK.shape
    grand, rows, columns = ratings_NK.mean(), ratings_NK.mean(1), ratings_NK.mean(0)
    between = k * ((rows - grand) ** 2).sum() / (n - 1)
    residual = ratings_NK - rows[:, None] - columns[None] + grand
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    return (between - error) / (between + (k - 1) * error)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=3, max_size=40))
def test_icc_is_the_anova_form(rows):
    ratings = np.round(np.array(rows), 3)
    found = agreement(ratings[:, 0], ratings[:, 1])
    if ratings.std(0).max() < 1e-3:
        return
    assert found["icc"] == pytest.approx(anova_icc(ratings), abs=1e-9)
    assert found["mse"] == pytest.approx(np.mean((ratings[:, 0] - ratings[:, 1]) ** 2))
    assert found["mae"] == pytest.approx(np.mean(np.abs(ratings[:, 0] - ratings[:, 1])))


def test_the_published_ratings_give_the_published_icc():
    """Four judges of Shrout and Fleiss (1979), table 2: ICC(3,1) = 0.71."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    assert anova_icc(ratings) == pytest.approx(0.71, abs=0.005)


def test_a_constant_estimate_has_no_agreement_and_a_bias_is_not_seen():
    y = np.array([0.0, 1.0, 2.0, 5.0])
    constant = agreement(y, np.full(4, 2.0))
    assert constant["icc"] == 0
    assert np.isnan(constant["pcc"])
    shifted = agreement(y, y + 1)
    assert shifted["icc"] == pytest.approx(1)
    assert shifted["mae"] == 1
    assert all(np.isnan(value) for value in agreement(y[:0], y[:0]).values())


def test_unknown_intensities_are_left_out():
    y, valid = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), np.array([[1, 0], [1, 0], [0, 0]], bool)
    rows = intensity_per_au(y, valid, np.array([[1.0, 9.0], [2.0, 9.0], [99.0, 9.0]]))
    assert rows[0]["mse"] == 0
    assert rows[0]["frames"] == 2
    assert np.isnan(rows[1]["icc"])
    assert average(rows, "icc") == pytest.approx(1)
