"""Ridge regression: the closed form, and a strength that serves subjects that it has not seen."""

import numpy as np
import pytest

from au_dist.methods.ridge import FOLDS, STRENGTHS, USUAL, fit_ridge, fit_units


def by_hand(x_ND, y_N, strength):
    """Weights and bias by the normal equations of centred rows."""
    x = x_ND - x_ND.mean(0)
    gram = x.T @ x
    weight = np.linalg.solve(gram + strength * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ (y_N - y_N.mean()))
    return weight, y_N.mean() - x_ND.mean(0) @ weight


def people(subjects, frames, size, who, noise=0.5, seed=0):
    """Rows of a label in one direction, and of who is seen in all others."""
    random = np.random.default_rng(seed)
    y_N = random.integers(0, 2, subjects * frames).astype(np.float64)
    groups = [f"S{k // frames}" for k in range(len(y_N))]
    x_ND = noise * random.standard_normal((len(y_N), size))
    x_ND[:, 0] += y_N
    x_ND += np.repeat(who * random.standard_normal((subjects, size)), frames, 0)
    return x_ND + 3.0, y_N, groups


def test_a_linear_label_is_found():
    x_ND, _, groups = people(8, 40, 6, who=0.0)
    new = people(3, 20, 6, who=0.0, seed=1)[0]
    found = fit_ridge(x_ND, 2 * x_ND[:, [2]] - 5, groups)
    assert found.strength_K == [STRENGTHS[0]]
    assert np.corrcoef(found(new)[:, 0], new[:, 2])[0, 1] > 0.998


@pytest.mark.parametrize("size", [30, 400])
def test_it_is_the_closed_form_at_the_strength_with_the_least_error_on_held_out_groups(size):
    """With fewer columns than rows, and with more."""
    x_ND, y_N, groups = people(9, 12, size, who=1.0)
    fold_N = np.unique(groups, return_inverse=True)[1] % FOLDS
    errors = []
    for strength in STRENGTHS:
        error = 0.0
        for fold in range(FOLDS):
            weight, bias = by_hand(x_ND[fold_N != fold], y_N[fold_N != fold], strength)
            error += ((x_ND[fold_N == fold] @ weight + bias - y_N[fold_N == fold]) ** 2).sum()
        errors.append(error)
    found = fit_ridge(x_ND.astype(np.float32), y_N[:, None], groups)
    assert found.strength_K == [STRENGTHS[int(np.argmin(errors))]]
    weight, bias = by_hand(x_ND, y_N, found.strength_K[0])
    np.testing.assert_allclose(found(x_ND)[:, 0], x_ND @ weight + bias, rtol=1e-5)


@pytest.mark.parametrize("size", [20, 300])
def test_values_that_are_fitted_together_are_as_those_fitted_alone(size):
    x_ND, y_N, groups = people(9, 12, size, who=1.0)
    y_NK = np.stack([y_N, x_ND[:, 1], np.random.default_rng(3).standard_normal(len(y_N))], 1)
    together = fit_ridge(x_ND, y_NK, groups)
    assert len(set(together.strength_K)) > 1
    for k in range(3):
        alone = fit_ridge(x_ND, y_NK[:, [k]], groups)
        assert together.strength_K[k] == alone.strength_K[0]
        np.testing.assert_allclose(together(x_ND)[:, k], alone(x_ND)[:, 0], rtol=1e-9)


@pytest.mark.parametrize(("who", "size"), [(1.0, 30), (1.0, 400), (3.0, 100)])
def test_people_whom_it_has_not_seen_are_served(who, size):
    """Who is seen says nothing about the label, and of few people everything about each other frame of theirs."""
    x_ND, y_N, groups = people(10, 40, size, who)
    new_ND, new_y_N, _ = people(200, 4, size, who, seed=7)
    errors = {}
    for strength in (1e-3, *STRENGTHS):
        weight, bias = by_hand(x_ND, y_N, strength)
        errors[strength] = ((new_ND @ weight + bias - new_y_N) ** 2).mean()
    chosen = errors[fit_ridge(x_ND, y_N[:, None], groups).strength_K[0]]
    assert chosen < 1.05 * min(errors.values())
    assert chosen < 0.6 * errors[1e-3]


@pytest.mark.parametrize("size", [3, 200])
def test_one_group_or_few_rows_have_the_usual_strength(size):
    x_ND, y_N, _ = people(1, 10, size, who=0.0)
    found = fit_ridge(x_ND, y_N[:, None], ["S0"] * 10)
    assert found.strength_K == [USUAL]
    assert np.isfinite(found(x_ND)).all()
    weight, bias = by_hand(x_ND, y_N, USUAL)
    np.testing.assert_allclose(found(x_ND)[:, 0], x_ND @ weight + bias, rtol=1e-6)


def test_where_nothing_differs_the_mean_is_told():
    found = fit_ridge(np.ones((6, 4)), np.array([[0, 1, 1, 0, 0, 0.0]]).T, list("aabbcc"))
    np.testing.assert_allclose(found(np.ones((2, 4))), [[1 / 3], [1 / 3]], atol=1e-6)
    assert found.strength_K == [STRENGTHS[-1]]


def test_units_known_in_other_frames_are_fitted_on_those():
    random = np.random.default_rng(0)
    x_ND, subjects = random.standard_normal((60, 5)), np.repeat(list("abcdef"), 10)
    y_NA = (x_ND[:, :4] > 0).astype(np.float64)
    valid_NA = np.ones((60, 4), bool)
    valid_NA[:20, 1] = valid_NA[:, 3] = False
    y_NA[:20, 1] = 7.0  # never looked at
    found = fit_units(x_ND, y_NA, valid_NA, subjects)
    alone = fit_units(x_ND[20:], y_NA[20:, [1]], valid_NA[20:, [1]], subjects[20:])
    np.testing.assert_allclose(found.weight_DK[:, 1], alone.weight_DK[:, 0])
    assert (found.bias_K[1], found.strength_K[1]) == (alone.bias_K[0], alone.strength_K[0])
    assert not found.weight_DK[:, 3].any()
    assert np.isnan(found.strength_K).tolist() == [False, False, False, True]
