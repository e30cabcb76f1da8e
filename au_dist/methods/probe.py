"""What embeddings know: a linear probe of them, their nearest neighbours, and whose face they show."""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from au_dist.core.errors import TrainError
from au_dist.core.metrics import average, judged, per_au
from au_dist.dist.collectives import all_gather_objects
from au_dist.dist.world import World
from au_dist.methods.base import Judgement
from au_dist.methods.frames import Frames, joined, metrics_of
from au_dist.methods.ridge import fit_ridge

#: Validation frames that are compared with each other to see how well embeddings know who is seen.
IDENTITY_FRAMES = 2000


def judge_embeddings(
    train_NAD: np.ndarray, train: Frames, validation_NAD: np.ndarray, validation: Frames, world: World
) -> Judgement:
    """Return what embeddings know: the labels of validation frames, and who is seen in them.

    `val_f1`, `val_auc` and the thresholds are those of a ridge regression fitted on training frames, as strong as
    predicts held-out training subjects best; `val_knn_auc` is that of the nearest training frames; `val_identity` is
    the share of validation frames whose nearest other frame shows the same subject (`identity`), `val_identity_chance`
    what guessing would give; `val_rank` is how many directions an action unit's embeddings use, on the mean over units.

    Args:
        train_NAD: Embeddings of this rank's training frames.
        train: These frames.
        validation_NAD: Embeddings of this rank's validation frames.
        validation: These frames.
        world: This process among the workers.
    """
    z_NAD, subject_N, y_NA, valid_NA = joined((train_NAD, np.array(train.subjects), train.y_NA, train.valid_NA), world)
    _check_finite(z_NAD)
    ridge_NA, knn_NA = (np.zeros(validation_NAD.shape[:2], np.float32) for _ in range(2))
    for index in range(y_NA.shape[1]):
        known = valid_NA[:, index]
        if known.any() and len(validation_NAD):
            fitted = fit_ridge(z_NAD[known, index], y_NA[known, index, None], subject_N[known])
            ridge_NA[:, index] = fitted(validation_NAD[:, index])[:, 0]
            knn_NA[:, index] = nearest(z_NAD[known, index], y_NA[known, index], validation_NAD[:, index])
    arrays = (np.array(validation.subjects), ridge_NA, knn_NA, validation.y_NA, validation.valid_NA)
    judged_subject_N, ridge_NA, knn_NA, judged_y_NA, judged_NA = joined(arrays, world)
    _check_finite(ridge_NA)
    few = _few(validation, world)
    lists = ([names[index] for index in few] for names in (validation.subjects, validation.videos, validation.clips))
    parts = all_gather_objects((validation_NAD[few], *lists), world)
    seen_NAD = np.concatenate([part[0] for part in parts if len(part[0])])
    seen_ND = seen_NAD.reshape(len(seen_NAD), -1)
    who, chance = identity(seen_ND, *([name for part in parts for name in part[index]] for index in (1, 2, 3)))
    rank = float(np.mean([effective_rank(seen_NAD[:, au]) for au in range(seen_NAD.shape[1])]))
    beside = {"val_identity": who, "val_identity_chance": chance, "val_rank": rank}
    return Judgement(judged_subject_N, (ridge_NA, knn_NA, judged_y_NA, judged_NA), _measure, beside)


def _measure(ridge_NA: np.ndarray, knn_NA: np.ndarray, y_NA: np.ndarray, valid_NA: np.ndarray) -> dict[str, Any]:
    knn_auc = average(judged(per_au(y_NA, valid_NA, knn_NA, np.zeros(valid_NA.shape[1]))), "auc")
    return {**metrics_of(ridge_NA, y_NA, valid_NA), "val_knn_auc": knn_auc}


def _check_finite(value_N: np.ndarray) -> None:
    """Refuse embeddings that are no numbers; all ranks see the same, and end together."""
    if not np.isfinite(value_N).all():
        raise TrainError(
            "The embeddings are not finite",
            where="validation",
            fix="Lower optim.lr or set optim.grad_clip; the last checkpoint is intact.",
        )


def _few(frames: Frames, world: World) -> list[int]:
    """Return which of this rank's frames are asked who they show, about `IDENTITY_FRAMES` over all ranks.

    They belong to the frames' names: any number of workers asks the same ones. Those that did not decode are not asked.
    """
    names = [name for _, name in frames.jpegs]
    return [k for k in sampled(names, sum(all_gather_objects(len(names), world))) if names[k] not in frames.faults]


def sampled(names: Sequence[str], of: int) -> list[int]:
    """Return which of some names are among about `IDENTITY_FRAMES` of all; the same ones whoever asks.

    Args:
        names: The names at hand.
        of: How many there are in all.
    """
    step = max(1, -(-of // IDENTITY_FRAMES))
    return [index for index, name in enumerate(names) if zlib.crc32(name.encode()) % step == 0]


def nearest(x_ND: np.ndarray, y_N: np.ndarray, new_MD: np.ndarray, neighbours: int = 20) -> np.ndarray:
    """Return the mean label of the nearest rows by cosine, for new rows; all vectors have length one."""
    count = min(neighbours, len(x_ND))
    place_MK = np.argpartition(-(new_MD @ x_ND.T), count - 1, axis=1)[:, :count]
    return y_N[place_MK].mean(1)


def effective_rank(z_ND: np.ndarray) -> float:
    """Return how many directions embeddings use, from 1 to D: the smaller, the more of them has collapsed.

    The exponential of the entropy of their singular values' shares: RankMe (Garrido et al., ICML 2023).

    Args:
        z_ND: Embeddings; not centred, as there.
    """
    value_D = np.linalg.eigvalsh(z_ND.T.astype(np.float64) @ z_ND.astype(np.float64)).clip(min=0) ** 0.5
    share_D = value_D / max(value_D.sum(), 1e-12)
    share_D = share_D[share_D > 1e-7]
    return float(np.exp(-(share_D * np.log(share_D)).sum()))


def identity(z_ND: np.ndarray, subjects: list[str], videos: list[str], clips: list[str]) -> tuple[float, float]:
    """Return how well embeddings tell who is seen: the share of frames whose nearest frame is of the same subject.

    Frames of the same video are not asked, because background and light would answer; where a subject has one video
    only, frames of the same clip are not.

    Args:
        z_ND: Embeddings of frames.
        subjects: Whose.
        videos: Of which video, unique over subjects.
        clips: Of which clip.

    Returns:
        The share, and the mean share of frames of the same subject among those that could have been chosen; NaN when
        no frame has one to choose.
    """
    who_N = np.unique(subjects, return_inverse=True)[1]
    several = min(Counter(dict(zip(videos, subjects, strict=True)).values()).values(), default=0) > 1
    apart_N = np.unique(videos if several else clips, return_inverse=True)[1]
    z_ND = z_ND / np.linalg.norm(z_ND, axis=1, keepdims=True).clip(min=1e-12)
    like_NN = np.where(apart_N[:, None] == apart_N, -np.inf, z_ND @ z_ND.T)
    asked_N = np.isfinite(like_NN).any(1)
    if not asked_N.any():
        return float("nan"), float("nan")
    same_NN = who_N[:, None] == who_N
    others_NN = np.isfinite(like_NN)
    right_N = same_NN[np.arange(len(who_N)), like_NN.argmax(1)]
    chance_N = (same_NN & others_NN).sum(1) / others_NN.sum(1).clip(min=1)
    return float(right_N[asked_N].mean()), float(chance_N[asked_N].mean())
