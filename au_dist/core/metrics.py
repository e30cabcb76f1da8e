"""Metrics per action unit over frames: F1, area under the ROC curve, prevalence; for intensity ICC, MSE, MAE, PCC.

Unknown labels are left out.
"""

import numpy as np


def f1(y_N: np.ndarray, called_N: np.ndarray) -> float:
    """Return 2 TP / (2 TP + FP + FN), NaN when nothing is positive and nothing was called.

    Args:
        y_N: Labels, bool.
        called_N: Calls, bool.
    """
    hits = int((y_N & called_N).sum())
    total = int(y_N.sum()) + int(called_N.sum())
    return 2 * hits / total if total else float("nan")


def auc(y_N: np.ndarray, score_N: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half; NaN when one class is absent."""
    positives = int(y_N.sum())
    negatives = len(y_N) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score_N, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    rank_N = (ends - (counts - 1) / 2)[inverse]
    return float((rank_N[y_N].sum() - positives * (positives + 1) / 2) / (positives * negatives))


#: The threshold of probabilities for which nobody chose one.
UNCHOSEN = 0.5


def best_threshold(y_N: np.ndarray, score_N: np.ndarray) -> float:
    """Return the threshold with the highest F1: call positive where the score is at least this.

    Of equally good ones the highest is taken, half-way to the score below it; `UNCHOSEN` when no label is positive.
    """
    if not y_N.any():
        return UNCHOSEN
    order = np.argsort(-score_N, kind="stable")
    y_N, score_N = y_N[order], score_N[order].astype(np.float64)
    last: np.ndarray = np.append(np.diff(score_N) != 0, True)
    hits = np.cumsum(y_N)
    f1_N = np.where(last, 2 * hits / (np.arange(1, len(y_N) + 1) + hits[-1]), -1)
    best = int(f1_N.argmax())
    below = score_N[best + 1] if best + 1 < len(score_N) else score_N[best]
    return float((score_N[best] + below) / 2)


def per_au(
    y_NA: np.ndarray, valid_NA: np.ndarray, score_NA: np.ndarray, threshold_A: np.ndarray
) -> list[dict[str, float]]:
    """Return F1, AUC, prevalence, the F1 of calling every frame positive, and known frames of each action unit."""
    rows = []
    for index, threshold in enumerate(threshold_A):
        known: np.ndarray = valid_NA[:, index].astype(bool)
        y, score = y_NA[known, index].astype(bool), score_NA[known, index]
        rows.append(
            {
                "f1": f1(y, score >= threshold),
                "auc": auc(y, score),
                "prevalence": float(y.mean()) if len(y) else float("nan"),
                "all_positive_f1": f1(y, np.ones_like(y)),
                "threshold": float(threshold),
                "frames": float(len(y)),
            }
        )
    return rows


def agreement(y_N: np.ndarray, found_N: np.ndarray) -> dict[str, float]:
    """Return how well estimated intensities agree with known ones.

    Args:
        y_N: Known intensities.
        found_N: Estimates.

    Returns:
        ``icc``, the intraclass correlation ICC(3,1) of Shrout and Fleiss (1979) for two raters, blind to a constant
        difference, 0 for a constant estimate; ``pcc``, Pearson's correlation, NaN without variation in one of them;
        ``mse`` and ``mae`` on the scale of the labels. All NaN without frames.
    """
    if not len(y_N):
        return dict.fromkeys(("icc", "pcc", "mse", "mae"), float("nan"))
    y, estimate = y_N.astype(np.float64), found_N.astype(np.float64)
    error = estimate - y
    y, estimate = y - y.mean(), estimate - estimate.mean()
    both, spread = (y * estimate).mean(), ((y * y).mean(), (estimate * estimate).mean())
    return {
        "icc": float(2 * both / sum(spread)) if sum(spread) > 0 else float("nan"),
        "pcc": float(both / np.sqrt(spread[0] * spread[1])) if min(spread) > 0 else float("nan"),
        "mse": float((error * error).mean()),
        "mae": float(np.abs(error).mean()),
    }


def intensity_per_au(y_NA: np.ndarray, valid_NA: np.ndarray, found_NA: np.ndarray) -> list[dict[str, float]]:
    """Return `agreement`, mean intensity, the error of the best constant, and known frames of each action unit.

    Where labels never vary, ``icc`` and ``pcc`` are NaN; where they do and the estimate does not, ``pcc`` is 0 as
    ``icc`` is: which action units have a value depends on the labels alone.
    """
    rows = []
    for index in range(y_NA.shape[1]):
        known: np.ndarray = valid_NA[:, index].astype(bool)
        y = y_NA[known, index]
        row = agreement(y, found_NA[known, index])
        if not len(y) or y.min() == y.max():
            row |= {"icc": float("nan"), "pcc": float("nan")}
        elif np.isnan(row["pcc"]):
            row["pcc"] = 0.0
        mean = float(y.mean()) if len(y) else float("nan")
        constant = float(y.astype(np.float64).var()) if len(y) else float("nan")
        rows.append({**row, "mean": mean, "constant_mse": constant, "frames": float(len(y))})
    return rows


def thresholds(y_NA: np.ndarray, valid_NA: np.ndarray, score_NA: np.ndarray) -> np.ndarray:
    """Return the best threshold of each action unit over its known frames."""
    best = []
    for index in range(y_NA.shape[1]):
        known: np.ndarray = valid_NA[:, index].astype(bool)
        best.append(best_threshold(y_NA[known, index].astype(bool), score_NA[known, index]))
    return np.array(best)


def judged(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the rows of those action units whose labels can judge: their AUC, or their ICC, is a number.

    They have frames with the action unit and frames without it. Averages of F1 and AUC are over the same ones, whatever
    was called: the F1 of an action unit that never occurs is 0 or unknown, as one call more or less has it.
    """
    return [row for row in rows if not np.isnan(row["auc"] if "auc" in row else row["icc"])]


def average(rows: list[dict[str, float]], key: str) -> float:
    """Return the mean of a metric over the action units that have it, NaN when none has."""
    values = [row[key] for row in rows if not np.isnan(row[key])]
    return float(np.mean(values)) if values else float("nan")
