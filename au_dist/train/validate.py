"""Validation on subjects that do not train: scores of every labelled frame, or a linear probe of the embeddings."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from au_dist.data.batches import decode, labels
from au_dist.data.views import apply_views, no_view
from au_dist.dist.collectives import gather_objects
from au_dist.dist.world import World
from au_dist.metrics import average, per_au, thresholds

#: Frames that go through the network at once.
CHUNK = 128


class Frames:
    """Labelled frames of some clips, decoded as they are asked for.

    Args:
        rows: Clips as rows.
        columns: Label columns to use.
        aus: Label columns of the set.
        take: Frames of each clip, evenly spaced; all when None.
    """

    def __init__(self, rows: list[dict[str, Any]], columns: list[int], aus: int, take: int | None = None) -> None:
        self.frames: list[tuple[bytes, str]] = []
        y, valid = [], []
        for row in rows:
            y_TA, valid_TA = labels(row, columns, aus)
            chosen = np.arange(len(y_TA)) if take is None else _spread(len(y_TA), take)
            for frame in chosen[valid_TA[chosen].any(1)]:
                self.frames.append((row["jpeg"][frame], f"{row['clip_id']} frame {frame}"))
                y.append(y_TA[frame])
                valid.append(valid_TA[frame])
        shape = (len(self.frames), len(columns))
        self.y_NA = np.array(y, np.float32).reshape(shape)
        self.valid_NA = np.array(valid, bool).reshape(shape)

    def inputs(self, size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """Yield plain views as network input, at most `CHUNK` at once."""
        for start in range(0, len(self.frames), CHUNK):
            chunk = np.stack([decode(*frame) for frame in self.frames[start : start + CHUNK]])
            frame_BCHW = torch.from_numpy(chunk).permute(0, 3, 1, 2).to(device)
            yield apply_views(frame_BCHW, torch.from_numpy(no_view()).to(device).expand(len(chunk), -1), size)


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


def detection_metrics(score_NA: np.ndarray, frames: Frames, world: World) -> dict[str, Any]:
    """Return metrics and thresholds over the validation frames of all ranks.

    Args:
        score_NA: Scores of this rank's frames.
        frames: These frames.
        world: This process among the workers.
    """
    parts = gather_objects((score_NA, frames.y_NA, frames.valid_NA), world)
    score, y, valid = (np.concatenate([part[index] for part in parts if len(part[0])]) for index in range(3))
    limits = thresholds(y, valid, score)
    rows = per_au(y, valid, score, limits)
    return {"val_f1": average(rows, "f1"), "val_auc": average(rows, "auc"), "thresholds": limits.tolist()}


def probe_metrics(
    train_NAD: np.ndarray, train: Frames, validation_NAD: np.ndarray, validation: Frames, world: World
) -> dict[str, Any]:
    """Return metrics of a ridge-regression probe: fitted on training frames, scored on validation frames.

    Args:
        train_NAD: Embeddings of this rank's training frames.
        train: These frames.
        validation_NAD: Embeddings of this rank's validation frames.
        validation: These frames.
        world: This process among the workers.
    """
    parts = gather_objects((train_NAD, train.y_NA, train.valid_NA), world)
    z_NAD, y_NA, valid_NA = (np.concatenate([part[index] for part in parts if len(part[0])]) for index in range(3))
    score_NA = np.zeros(validation_NAD.shape[:2], np.float32)
    for index in range(y_NA.shape[1]):
        known = valid_NA[:, index]
        if known.any() and len(validation_NAD):
            score_NA[:, index] = ridge(z_NAD[known, index], y_NA[known, index], validation_NAD[:, index])
    return detection_metrics(score_NA, validation, world)


def ridge(x_ND: np.ndarray, y_N: np.ndarray, new_MD: np.ndarray, strength: float = 1e-3) -> np.ndarray:
    """Return ridge-regression predictions for new rows; the strength is relative to the variance of the rows."""
    mean_D, mean = x_ND.mean(0), y_N.mean()
    x_ND = (x_ND - mean_D).astype(np.float64)
    gram_DD = x_ND.T @ x_ND
    gram_DD[np.diag_indices_from(gram_DD)] += strength * np.trace(gram_DD) / len(gram_DD) + 1e-9
    return (new_MD - mean_D) @ np.linalg.solve(gram_DD, x_ND.T @ (y_N - mean)) + mean
