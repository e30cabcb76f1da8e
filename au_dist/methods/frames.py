"""Frames that a module is judged by: read once, scored again and again, thresholds chosen among them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from au_dist.config.sections import Labels
from au_dist.core.errors import TrainError
from au_dist.core.metrics import average, judged, per_au, thresholds
from au_dist.data.jpeg import pixels, stack
from au_dist.data.labels import known
from au_dist.data.views import plain_views
from au_dist.dist.collectives import all_gather_objects
from au_dist.dist.world import World
from au_dist.methods.base import Judgement

#: Frames that go through the network at once.
CHUNK = 128


class Unreadable(Protocol):
    """Frames that were read."""

    faults: dict[str, str]
    valid_NA: np.ndarray


class Frames:
    """Labelled frames of some clips, decoded as they are asked for; of those that do not decode nothing is known.

    Args:
        rows: Clips as rows.
        columns: Label columns to use.
        num_columns: Label columns of the set.
        budget: The label budget.
        side: Side of the stored frames in pixels.
        per_clip: Frames of each clip, evenly spaced among the labelled ones; all when None.
        intensities: Labels are intensities, not occurrence.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        columns: list[int],
        num_columns: int,
        budget: Labels,
        side: int,
        per_clip: int | None = None,
        *,
        intensities: bool = False,
    ) -> None:
        self.side, self.faults = side, dict[str, str]()
        self.jpegs: list[tuple[bytes, str]] = []
        self.subjects: list[str] = []
        self.videos: list[str] = []
        self.clips: list[str] = []
        y, valid = [], []
        for row in rows:
            y_TA, valid_TA = known(row, columns, num_columns, budget, intensities=intensities)
            labelled = np.flatnonzero(valid_TA.any(1))
            for frame in labelled if per_clip is None else labelled[_spread(len(labelled), per_clip)]:
                self.jpegs.append((row["jpeg"][frame], f"{row['clip_id']} frame {frame}"))
                self.subjects.append(row["subject"])
                self.videos.append(f"{row['subject']}/{row['video']}")
                self.clips.append(row["clip_id"])
                y.append(y_TA[frame])
                valid.append(valid_TA[frame])
        shape = (len(self.jpegs), len(columns))
        self.y_NA = np.array(y, np.float32).reshape(shape)
        self.valid_NA = np.array(valid, bool).reshape(shape)

    def inputs(self, size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """Yield plain views as network input, at most `CHUNK` at once."""
        for start in range(0, len(self.jpegs), CHUNK):
            chunk = self.jpegs[start : start + CHUNK]
            frame_BHWC, faults = stack((pixels(jpeg, self.side) for jpeg, _ in chunk), self.side)
            for place, fault in faults.items():
                self.faults[chunk[place][1]] = fault
                self.valid_NA[start + place] = False
            yield plain_views(frame_BHWC, size, device)


def _spread(frames: int, per_clip: int) -> np.ndarray:
    """Return the middles of `per_clip` equal spans, or every frame when there are no more than that."""
    per_clip = min(frames, per_clip)
    return ((np.arange(per_clip) + 0.5) * frames / per_clip).astype(int)


@torch.no_grad()
def outputs(
    function: Callable[[torch.Tensor], torch.Tensor], frames: Frames, size: int, num_aus: int, world: World
) -> np.ndarray:
    """Return what a function makes of frames, [N, A, ...] in float32.

    All ranks call the function equally often, with an empty picture where one has no frames left: under ZeRO-3 a
    forward pass is itself a collective.
    """
    calls = max(all_gather_objects(-(-len(frames.jpegs) // CHUNK), world))
    inputs, results = frames.inputs(size, world.device), []
    for _ in range(calls):
        chunk = next(inputs, None)
        result = function(torch.zeros(1, 3, size, size, device=world.device) if chunk is None else chunk)
        if chunk is not None:
            results.append(result.float().cpu().numpy())
    return np.concatenate(results) if results else np.zeros((0, num_aus), np.float32)


def joined(arrays: tuple[np.ndarray, ...], world: World) -> list[np.ndarray]:
    """Return arrays of frames with those of all ranks one under the other.

    Args:
        arrays: Of this rank, equally long; the last says what is known.
        world: This process among the workers.

    Raises:
        TrainError: No frame of any rank has a label.
    """
    parts = [part for part in all_gather_objects(arrays, world) if len(part[0])]
    whole = [np.concatenate(same) for same in zip(*parts, strict=True)]
    if not whole or not whole[-1].any():
        raise TrainError(
            "No frame that should judge this run has a label within the budget",
            where="data.labels, data.protocol",
            fix="Raise data.labels.share, take another data.labels.seed, or leave more subjects to validate.",
        )
    return whole


def unreadable(read: Sequence[Unreadable], share: float, world: World) -> dict[str, Any]:
    """Return what did not decode of frames that were read, on any rank; nothing where all of them did.

    Args:
        read: Sets of frames or clips of this rank.
        share: Share of the frames that may not decode.
        world: This process among the workers.

    Raises:
        TrainError: More do not.
    """
    mine = [f"{name}: {fault}" for some in read for name, fault in some.faults.items()]
    counts, lists = zip(*all_gather_objects((sum(len(some.valid_NA) for some in read), mine), world), strict=True)
    faults = sorted(fault for part in lists for fault in part)
    if len(faults) > share * sum(counts):
        raise TrainError(
            "Too many frames of validation do not decode",
            expected=f"at most {share:.3g} of them (data.unreadable)",
            found=f"{len(faults)} of {sum(counts)}, e.g. {faults[0]}",
            fix="`au-dist doctor` checks the whole set.",
        )
    return {"val_unreadable": len(faults), "unreadable": faults} if faults else {}


def judge_detection(score_NA: np.ndarray, frames: Frames, world: World) -> Judgement:
    """Return what scores come to, over the validation frames of all ranks.

    Args:
        score_NA: Scores of this rank's frames.
        frames: These frames.
        world: This process among the workers.
    """
    subject_N, *arrays = joined((np.array(frames.subjects), score_NA, frames.y_NA, frames.valid_NA), world)
    return Judgement(subject_N, tuple(arrays), metrics_of)


def metrics_of(score_NA: np.ndarray, y_NA: np.ndarray, valid_NA: np.ndarray) -> dict[str, Any]:
    """Return metrics and the thresholds with the highest F1; arguments and thresholds are of validation frames.

    `val_units` is how many action units the averages hold: those that validation frames have both with and without.
    """
    limits = thresholds(y_NA, valid_NA, score_NA)
    rows = judged(per_au(y_NA, valid_NA, score_NA, limits))
    means = {"val_f1": average(rows, "f1"), "val_auc": average(rows, "auc")}
    return {**means, "val_units": len(rows), "thresholds": limits.tolist()}
