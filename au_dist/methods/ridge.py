"""Ridge regression in closed form, as strong as serves subjects that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Strengths that are tried: penalty of a squared weight, in mean variances of a column. Below 1 it learns who is seen.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)

#: Where nothing can be held out, and parts that groups are dealt into.
USUAL, FOLDS = 10.0, 5


@dataclass(frozen=True, eq=False)
class Ridge:
    """Fitted ridge regressions of several values K.

    Attributes:
        weight_DK: Weights, float64.
        bias_K: What is added.
        strength_K: The strengths that were chosen.
    """

    weight_DK: np.ndarray
    bias_K: np.ndarray
    strength_K: np.ndarray

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        """Return predictions [N, K] of rows."""
        return np.asarray(x_ND @ self.weight_DK + self.bias_K)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What a regression needs to know of rows; sums of parts are sums of the whole."""

    rows: int
    x_D: np.ndarray
    y_K: np.ndarray
    xx_DD: np.ndarray
    xy_DK: np.ndarray

    @classmethod
    def of(cls, x_ND: np.ndarray, y_NK: np.ndarray) -> "_Sums":
        return cls(len(x_ND), x_ND.sum(0), y_NK.sum(0), x_ND.T @ x_ND, x_ND.T @ y_NK)

    def without(self, part: "_Sums") -> "_Sums":
        return _Sums(
            self.rows - part.rows,
            self.x_D - part.x_D,
            self.y_K - part.y_K,
            self.xx_DD - part.xx_DD,
            self.xy_DK - part.xy_DK,
        )

    def solved(self, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return weights [L, D, K] and biases [L, K] for each of `STRENGTHS`; the rows had so many columns."""
        mean_D, mean_K = self.x_D / self.rows, self.y_K / self.rows
        value_D, vector_DD = np.linalg.eigh(self.xx_DD - self.rows * np.outer(mean_D, mean_D))
        value_D = value_D.clip(min=0)
        penalty_L1 = np.array(STRENGTHS)[:, None] * value_D.sum() / columns + 1e-9
        along_DK = vector_DD.T @ (self.xy_DK - self.rows * np.outer(mean_D, mean_K))
        weight_LDK = vector_DD @ (along_DK / (value_D + penalty_L1)[:, :, None])
        return weight_LDK, mean_K - mean_D @ weight_LDK


def fit_ridge(x_ND: np.ndarray, y_NK: np.ndarray, groups: Sequence[str] | np.ndarray) -> Ridge:
    """Fit ridge regressions, each with the strength that predicts groups best which were held out.

    Frames of one subject are so alike that leaving out frames instead would choose hardly any strength. Groups are
    dealt into `FOLDS` parts; each is predicted from the others with every strength, and the least squared error wins.

    Args:
        x_ND: Rows; not centred.
        y_NK: Their values.
        groups: The group of each row, such as its subject.
    """
    columns = x_ND.shape[1]
    centre_D = x_ND.mean(0, dtype=np.float64)
    x_ND, y_NK = x_ND - centre_D, np.asarray(y_NK, np.float64)
    basis_DR = None
    if columns > len(x_ND):
        x_ND, basis_DR = _within(x_ND)
    whole = _Sums.of(x_ND, y_NK)
    fold_N = np.unique(groups, return_inverse=True)[1] % FOLDS
    folds = [fold_N == fold for fold in np.unique(fold_N)]
    chosen_K = np.full(y_NK.shape[1], STRENGTHS.index(USUAL))
    if len(folds) > 1:
        error_LK = np.zeros((len(STRENGTHS), y_NK.shape[1]))
        for held_N in folds:
            weight_LDK, bias_LK = whole.without(_Sums.of(x_ND[held_N], y_NK[held_N])).solved(columns)
            error_LK += ((x_ND[held_N] @ weight_LDK + bias_LK[:, None] - y_NK[held_N]) ** 2).sum(1)
        # Of equals, which occur where nothing can be learnt, the strongest.
        chosen_K = len(STRENGTHS) - 1 - error_LK[::-1].argmin(0)
    weight_LDK, bias_LK = whole.solved(columns)
    each_K = np.arange(len(chosen_K))
    weight_DK = weight_LDK[chosen_K, :, each_K].T
    weight_DK = weight_DK if basis_DR is None else basis_DR @ weight_DK
    return Ridge(weight_DK, bias_LK[chosen_K, each_K] - centre_D @ weight_DK, np.array(STRENGTHS)[chosen_K])


def fit_units(x_ND: np.ndarray, y_NA: np.ndarray, valid_NA: np.ndarray, groups: np.ndarray) -> Ridge:
    """Fit a ridge regression an action unit on the same rows, each where its label is known.

    Where nothing is known of one, its weights and bias are 0, and its strength is NaN.

    Args:
        x_ND: Rows; not centred.
        y_NA: Labels.
        valid_NA: Whether they are known; units that are known in the same rows are fitted at once.
        groups: The group of each row.
    """
    num_aus = y_NA.shape[1]
    found = Ridge(np.zeros((x_ND.shape[1], num_aus)), np.zeros(num_aus), np.full(num_aus, np.nan))
    patterns, which_A = np.unique(valid_NA, axis=1, return_inverse=True)
    for index, known_N in enumerate(patterns.T):
        units = np.flatnonzero(which_A.ravel() == index)
        if known_N.any():
            fitted = fit_ridge(x_ND[known_N], y_NA[np.ix_(known_N, units)], groups[known_N])
            found.weight_DK[:, units] = fitted.weight_DK
            found.bias_K[units], found.strength_K[units] = fitted.bias_K, fitted.strength_K
    return found


def _within(x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows by their coordinates [N, R] in the space that they span, and a basis [D, R] of it.

    A ridge regression has no weight outside of it, so nothing is lost where there are more columns than rows.
    """
    value_R, vector_NR = np.linalg.eigh(x_ND @ x_ND.T)
    kept_R = value_R > 1e-10 * max(value_R[-1], 1e-300)
    length_R, vector_NR = value_R[kept_R] ** 0.5, vector_NR[:, kept_R]
    return vector_NR * length_R, x_ND.T @ vector_NR / length_R
