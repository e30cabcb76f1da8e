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
    """A fitted ridge regression.

    Attributes:
        weight_D: Weights, float64.
        bias: What is added.
        strength: The strength that was chosen.
    """

    weight_D: np.ndarray
    bias: float
    strength: float

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        """Return predictions [N] of rows."""
        return np.asarray(x_ND @ self.weight_D + self.bias)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What a regression needs to know of rows; sums of parts are sums of the whole."""

    rows: int
    x_D: np.ndarray
    y: float
    xx_DD: np.ndarray
    xy_D: np.ndarray

    @classmethod
    def of(cls, x_ND: np.ndarray, y_N: np.ndarray) -> "_Sums":
        return cls(len(x_ND), x_ND.sum(0), float(y_N.sum()), x_ND.T @ x_ND, x_ND.T @ y_N)

    def without(self, part: "_Sums") -> "_Sums":
        return _Sums(
            self.rows - part.rows,
            self.x_D - part.x_D,
            self.y - part.y,
            self.xx_DD - part.xx_DD,
            self.xy_D - part.xy_D,
        )

    def solved(self, strengths: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return weights [L, D] and biases [L] for L strengths."""
        mean_D, mean = self.x_D / self.rows, self.y / self.rows
        value_D, vector_DD = np.linalg.eigh(self.xx_DD - self.rows * np.outer(mean_D, mean_D))
        penalty_L1 = np.array(strengths)[:, None] * max(value_D.mean(), 0.0) + 1e-9
        along_D = vector_DD.T @ (self.xy_D - self.rows * mean_D * mean)
        weight_LD = (along_D / (value_D.clip(min=0) + penalty_L1)) @ vector_DD.T
        return weight_LD, mean - weight_LD @ mean_D


def fit_ridge(x_ND: np.ndarray, y_N: np.ndarray, groups: Sequence[str] | np.ndarray) -> Ridge:
    """Fit a ridge regression, with the strength that predicts groups best which were held out.

    Frames of one subject are so alike that leaving out frames instead would choose hardly any strength. Groups are
    dealt into `FOLDS` parts; each is predicted from the others with every strength, and the least squared error wins.

    Args:
        x_ND: Rows; not centred.
        y_N: Their values.
        groups: The group of each row, such as its subject.
    """
    centre_D = x_ND.mean(0, dtype=np.float64)
    x_ND, y_N = x_ND - centre_D, np.asarray(y_N, np.float64)
    whole = _Sums.of(x_ND, y_N)
    fold_N = np.unique(groups, return_inverse=True)[1] % FOLDS
    folds = [fold_N == fold for fold in np.unique(fold_N)]
    strength = USUAL
    if len(folds) > 1:
        error_L = np.zeros(len(STRENGTHS))
        for held_N in folds:
            weight_LD, bias_L = whole.without(_Sums.of(x_ND[held_N], y_N[held_N])).solved(STRENGTHS)
            error_L += ((x_ND[held_N] @ weight_LD.T + bias_L - y_N[held_N, None]) ** 2).sum(0)
        # Of equals, which occur where nothing can be learnt, the strongest.
        strength = STRENGTHS[len(STRENGTHS) - 1 - int(error_L[::-1].argmin())]
    (weight_D,), (bias,) = whole.solved((strength,))
    return Ridge(weight_D, float(bias - weight_D @ centre_D), strength)
