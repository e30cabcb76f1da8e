"""Wrong labels as coding makes them, for experiments: alike on every machine and for any number of workers."""

import numpy as np

from au_dist.config.sections import Labels
from au_dist.core.seeds import rng


def spoilt(y_TA: np.ndarray, valid_TA: np.ndarray, names: list[str], columns: list[int], labels: Labels) -> np.ndarray:
    """Return the occurrence labels of a row with the errors that a recipe asks for.

    Events begin and end earlier or later first, then positives are missed, then labels are turned.

    Args:
        y_TA: Occurrence of all label columns of the set, 0 or 1.
        valid_TA: What is known of it; unknown labels stay.
        names: Names of its frames: corpus, subject, video and number.
        columns: Label columns that are asked for.
        labels: The errors.
    """
    shape = y_TA.shape

    def drawn(what: str) -> np.ndarray:
        return np.array([rng(labels.seed, what, name).random(shape[1]) for name in names]).reshape(shape)

    if labels.shifted or labels.coder:
        y_TA = _moved(y_TA, valid_TA, names, columns, labels)
    if labels.missed:
        y_TA = np.where(valid_TA & (y_TA > 0) & (drawn("missed label") < labels.missed), np.float32(0), y_TA)
    if labels.noise:
        y_TA = np.where(valid_TA & (drawn("label noise") < labels.noise), 1 - y_TA, y_TA)
    return y_TA


def _moved(y_TA: np.ndarray, valid_TA: np.ndarray, names: list[str], columns: list[int], labels: Labels) -> np.ndarray:
    """Return labels whose events begin and end elsewhere; what touches the clip's ends or the unknown stays there."""
    frames, units = y_TA.shape
    # Names begin with the subject, and with the corpus that it belongs to.
    subject = "/".join(names[0].split("/")[:2])
    bias_A = np.asarray(rng(labels.seed, "coder", subject).integers(-labels.coder, labels.coder, units, endpoint=True))

    def shift(frame: int) -> np.ndarray:
        draws = rng(labels.seed, "shifted label", names[frame])
        return np.asarray(draws.integers(-labels.shifted, labels.shifted, units, endpoint=True))

    moved_TA = y_TA.copy()
    for au in columns:
        there_T, valid_T = valid_TA[:, au] & (y_TA[:, au] > 0), valid_TA[:, au]
        edges = np.flatnonzero(np.diff(there_T.astype(np.int8), prepend=0, append=0))
        new_T = np.zeros(frames, np.float32)
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            first, last = begin, end
            if begin > 0 and valid_T[begin - 1]:
                first = begin + int(shift(begin)[au] - bias_A[au])
            if end < frames and valid_T[end]:
                last = end + int(shift(end)[au] + bias_A[au])
            new_T[max(first, 0) : max(last, 0)] = 1
        moved_TA[:, au] = np.where(valid_T, new_T, y_TA[:, au])
    return moved_TA
