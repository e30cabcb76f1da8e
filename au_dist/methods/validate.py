"""Validation on subjects that do not train: scores of every labelled frame, or a linear probe of the embeddings."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from au_dist.config.sections import Labels
from au_dist.core.errors import TrainError
from au_dist.core.metrics import average, per_au, thresholds
from au_dist.data.decode import pixels, stack
from au_dist.data.labels import known
from au_dist.data.views import plain_views
from au_dist.dist.collectives import gather_objects
from au_dist.dist.world import World

#: Frames that go through the network at once.
CHUNK = 128

#: Validation frames that are compared with each other to see how well embeddings know who is seen.
IDENTITY_FRAMES = 2000


class Unreadable(Protocol):
    """Frames that were read."""

    faults: dict[str, str]
    valid_NA: np.ndarray


class Frames:
    """Labelled frames of some clips, decoded as they are asked for; of those that do not decode nothing is known.

    Args:
        rows: Clips as rows.
        columns: Label columns to use.
        aus: Label columns of the set.
        budget: The label budget.
        side: Side of the stored frames in pixels.
        take: Frames of each clip, evenly spaced among the labelled ones; all when None.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        columns: list[int],
        aus: int,
        budget: Labels,
        side: int,
        take: int | None = None,
    ) -> None:
        self.side, self.faults = side, dict[str, str]()
        self.frames: list[tuple[bytes, str]] = []
        self.subjects: list[str] = []
        self.videos: list[str] = []
        self.clips: list[str] = []
        y, valid = [], []
        for row in rows:
            y_TA, valid_TA = known(row, columns, aus, budget)
            labelled = np.flatnonzero(valid_TA.any(1))
            for frame in labelled if take is None else labelled[_spread(len(labelled), take)]:
                self.frames.append((row["jpeg"][frame], f"{row['clip_id']} frame {frame}"))
                self.subjects.append(row["subject"])
                self.videos.append(f"{row['subject']}/{row['video']}")
                self.clips.append(row["clip_id"])
                y.append(y_TA[frame])
                valid.append(valid_TA[frame])
        shape = (len(self.frames), len(columns))
        self.y_NA = np.array(y, np.float32).reshape(shape)
        self.valid_NA = np.array(valid, bool).reshape(shape)

    def inputs(self, size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """Yield plain views as network input, at most `CHUNK` at once."""
        for start in range(0, len(self.frames), CHUNK):
            chunk = self.frames[start : start + CHUNK]
            frame_BHWC, faults = stack((pixels(jpeg, self.side) for jpeg, _ in chunk), self.side)
            for place, fault in faults.items():
                self.faults[chunk[place][1]] = fault
                self.valid_NA[start + place] = False
            yield plain_views(frame_BHWC, size, device)


def _spread(frames: int, take: int) -> np.ndarray:
    """Return the middles of `take` equal spans, or every frame when there are no more than that."""
    take = min(frames, take)
    return ((np.arange(take) + 0.5) * frames / take).astype(int)


@torch.no_grad()
def outputs(
    function: Callable[[torch.Tensor], torch.Tensor], frames: Frames, size: int, aus: int, world: World
) -> np.ndarray:
    """Return what a function makes of frames, [N, A, ...] in float32.

    All ranks call the function equally often, with an empty picture where one has no frames left: under ZeRO-3 a
    forward pass is itself a collective.
    """
    calls = max(gather_objects(-(-len(frames.frames) // CHUNK), world))
    inputs, found = frames.inputs(size, world.device), []
    for _ in range(calls):
        chunk = next(inputs, None)
        result = function(torch.zeros(1, 3, size, size, device=world.device) if chunk is None else chunk)
        if chunk is not None:
            found.append(result.float().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, aus), np.float32)


def joined(arrays: tuple[np.ndarray, ...], world: World) -> list[np.ndarray]:
    """Return arrays of frames with those of all ranks one under the other.

    Args:
        arrays: Of this rank, equally long; the last says what is known.
        world: This process among the workers.

    Raises:
        TrainError: No frame of any rank has a label.
    """
    parts = [part for part in gather_objects(arrays, world) if len(part[0])]
    whole = [np.concatenate(same) for same in zip(*parts, strict=True)]
    if not whole or not whole[-1].any():
        raise TrainError(
            "No frame that should judge this run has a label within the budget",
            where="data.labels, data.protocol",
            fix="Raise data.labels.share, take another data.labels.seed, or leave more subjects to validate.",
        )
    return whole


def unreadable(read: Sequence["Unreadable"], share: float, world: World) -> dict[str, Any]:
    """Return what did not decode of frames that were read, on any rank; nothing where all of them did.

    Args:
        read: Sets of frames or clips of this rank.
        share: Share of the frames that may not decode.
        world: This process among the workers.

    Raises:
        TrainError: More do not.
    """
    mine = [f"{name}: {fault}" for some in read for name, fault in some.faults.items()]
    counts, lists = zip(*gather_objects((sum(len(some.valid_NA) for some in read), mine), world), strict=True)
    faults = sorted(fault for part in lists for fault in part)
    if len(faults) > share * sum(counts):
        raise TrainError(
            "Too many frames of validation do not decode",
            expected=f"at most {share:.3g} of them (data.unreadable)",
            found=f"{len(faults)} of {sum(counts)}, e.g. {faults[0]}",
            fix="`au-dist doctor` checks the whole set.",
        )
    return {"val_unreadable": len(faults), "unreadable": faults} if faults else {}


def detection_metrics(score_NA: np.ndarray, frames: Frames, world: World) -> dict[str, Any]:
    """Return metrics and thresholds over the validation frames of all ranks.

    Args:
        score_NA: Scores of this rank's frames.
        frames: These frames.
        world: This process among the workers.
    """
    return _judged(*joined((score_NA, frames.y_NA, frames.valid_NA), world))


def _judged(score_NA: np.ndarray, y_NA: np.ndarray, valid_NA: np.ndarray) -> dict[str, Any]:
    limits = thresholds(y_NA, valid_NA, score_NA)
    rows = per_au(y_NA, valid_NA, score_NA, limits)
    return {"val_f1": average(rows, "f1"), "val_auc": average(rows, "auc"), "thresholds": limits.tolist()}


def probe_metrics(
    train_NAD: np.ndarray, train: Frames, validation_NAD: np.ndarray, validation: Frames, world: World
) -> dict[str, Any]:
    """Return what embeddings know: the labels of validation frames, and who is seen in them.

    `val_f1`, `val_auc` and the thresholds are those of a ridge regression fitted on training frames, `val_knn_auc` that
    of the nearest training frames; `val_identity` is the share of validation frames whose nearest other frame shows the
    same subject (`identity`), `val_identity_chance` what guessing would give.

    Args:
        train_NAD: Embeddings of this rank's training frames.
        train: These frames.
        validation_NAD: Embeddings of this rank's validation frames.
        validation: These frames.
        world: This process among the workers.
    """
    z_NAD, y_NA, valid_NA = joined((train_NAD, train.y_NA, train.valid_NA), world)
    ridge_NA, knn_NA = (np.zeros(validation_NAD.shape[:2], np.float32) for _ in range(2))
    for index in range(y_NA.shape[1]):
        known = valid_NA[:, index]
        if known.any() and len(validation_NAD):
            ridge_NA[:, index] = ridge(z_NAD[known, index], y_NA[known, index], validation_NAD[:, index])
            knn_NA[:, index] = nearest(z_NAD[known, index], y_NA[known, index], validation_NAD[:, index])
    ridge_NA, knn_NA, judged_y_NA, judged_NA = joined((ridge_NA, knn_NA, validation.y_NA, validation.valid_NA), world)
    few = _few(validation, world)
    lists = ([names[index] for index in few] for names in (validation.subjects, validation.videos, validation.clips))
    parts = gather_objects((validation_NAD[few], *lists), world)
    seen_ND = np.concatenate([part[0].reshape(len(part[0]), -1) for part in parts if len(part[0])])
    who, chance = identity(seen_ND, *([name for part in parts for name in part[index]] for index in (1, 2, 3)))
    return {
        **_judged(ridge_NA, judged_y_NA, judged_NA),
        "val_knn_auc": average(per_au(judged_y_NA, judged_NA, knn_NA, np.zeros(judged_NA.shape[1])), "auc"),
        "val_identity": who,
        "val_identity_chance": chance,
    }


def _few(frames: Frames, world: World) -> list[int]:
    """Return which of this rank's frames are asked who they show, about `IDENTITY_FRAMES` over all ranks.

    They belong to the frames' names: any number of workers asks the same ones. Those that did not decode are not asked.
    """
    step = max(1, -(-sum(gather_objects(len(frames.frames), world)) // IDENTITY_FRAMES))
    names = (name for _, name in frames.frames)
    return [k for k, name in enumerate(names) if zlib.crc32(name.encode()) % step == 0 and name not in frames.faults]


def nearest(x_ND: np.ndarray, y_N: np.ndarray, new_MD: np.ndarray, neighbours: int = 20) -> np.ndarray:
    """Return the mean label of the nearest rows by cosine, for new rows; all vectors have length one."""
    count = min(neighbours, len(x_ND))
    place_MK = np.argpartition(-(new_MD @ x_ND.T), count - 1, axis=1)[:, :count]
    return y_N[place_MK].mean(1)


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
    found_N = same_NN[np.arange(len(who_N)), like_NN.argmax(1)]
    chance_N = (same_NN & others_NN).sum(1) / others_NN.sum(1).clip(min=1)
    return float(found_N[asked_N].mean()), float(chance_N[asked_N].mean())


def ridge(x_ND: np.ndarray, y_N: np.ndarray, new_MD: np.ndarray, strength: float = 1e-3) -> np.ndarray:
    """Return ridge-regression predictions for new rows; the strength is relative to the variance of the rows."""
    mean_D, mean = x_ND.mean(0), y_N.mean()
    x_ND = (x_ND - mean_D).astype(np.float64)
    gram_DD = x_ND.T @ x_ND
    gram_DD[np.diag_indices_from(gram_DD)] += strength * np.trace(gram_DD) / len(gram_DD) + 1e-9
    return (new_MD - mean_D) @ np.linalg.solve(gram_DD, x_ND.T @ (y_N - mean)) + mean
