"""Labels of a row: occurrence or intensity, what is known of them, and how many may be used."""

from typing import Any

import numpy as np

from au_dist.config.sections import Labels
from au_dist.core.seeds import word
from au_dist.data.label_noise import spoilt


def occurrence(row: dict[str, Any], columns: list[int], num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return occurrence float32 [T, A] and validity bool [T, A] of a row for some label columns.

    Args:
        row: A clip.
        columns: Label columns.
        num_columns: Label columns of the set.
    """
    shape = (len(row["number"]), num_columns)
    y_TA = np.asarray(row["label"], np.float32).reshape(shape)[:, columns]
    valid_TA = np.asarray(row["valid"], bool).reshape(shape)[:, columns]
    return y_TA, valid_TA


def intensity(row: dict[str, Any], columns: list[int], num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return intensity float32 [T, A], 0 to 5, 0 where unknown, and validity; arguments as for `occurrence`."""
    y_TA = np.asarray(row["intensity"], np.float32).reshape(len(row["number"]), num_columns)[:, columns]
    valid_TA = ~np.isnan(y_TA)
    return np.where(valid_TA, y_TA, np.float32(0)), valid_TA


def allowed(row: dict[str, Any], config: Labels) -> np.ndarray:
    """Return which frames of a row are within the label budget, bool [T].

    A frame is, by a hash of the budget's seed and the frame's name: alike on every machine, and whatever a smaller
    budget allows, a larger one allows too.
    """
    if config.share == 1:
        return np.ones(len(row["number"]), bool)
    limit = config.share * 2**64
    return np.array([word(f"{config.seed}/label/{name}") < limit for name in _names(row)])


def known(
    row: dict[str, Any], columns: list[int], num_columns: int, config: Labels, *, intensities: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that a run may use of a row, and which of them are known and within its budget, both [T, A].

    Args:
        row: A clip.
        columns: Label columns.
        num_columns: Label columns of the set.
        config: The label budget.
        intensities: Intensities, not occurrence.
    """
    if intensities or not config.spoils:
        y_TA, valid_TA = (intensity if intensities else occurrence)(row, columns, num_columns)
    else:
        y_TA, valid_TA = occurrence(row, list(range(num_columns)), num_columns)
        y_TA = spoilt(y_TA, valid_TA, _names(row), columns, config)[:, columns]
        valid_TA = valid_TA[:, columns]
    return y_TA, valid_TA & allowed(row, config)[:, None]


def _names(row: dict[str, Any]) -> list[str]:
    """Return the name of each frame of a row: subject, video and frame number."""
    video = row["clip_id"].rpartition("/")[0]
    return [f"{video}/{number}" for number in row["number"]]
