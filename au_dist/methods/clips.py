"""Clips that a network with a memory is judged by."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from au_dist.config.sections import Labels
from au_dist.data.jpeg import pixels, stack
from au_dist.data.labels import known
from au_dist.data.views import plain_views
from au_dist.dist.collectives import all_gather_objects
from au_dist.dist.world import World
from au_dist.methods.frames import CHUNK


class Clips:
    """Clips of equal length, decoded as they are asked for; of those that do not decode nothing is known.

    Args:
        rows: Clips as rows.
        columns: Label columns to use.
        num_columns: Label columns of the set.
        budget: The label budget.
        side: Side of the stored frames in pixels.
        frames: Frames of each clip, from its first on.

    Where label columns are used, clips without a known label are left out.
    """

    def __init__(
        self, rows: list[dict[str, Any]], columns: list[int], num_columns: int, budget: Labels, side: int, frames: int
    ) -> None:
        self.side, self.faults = side, dict[str, str]()
        labels = [known(row, columns, num_columns, budget, intensities=True) for row in rows]
        kept = [index for index, (_, valid) in enumerate(labels) if valid[:frames].any() or not columns]
        self.rows, self.frames = [rows[index] for index in kept], frames
        self.whole_M = np.ones(len(kept), bool)
        labels = [labels[index] for index in kept]
        self.y_NA, self.valid_NA = (
            np.array([both[part][:frames] for both in labels]).reshape(frames * len(labels), len(columns))
            for part in (0, 1)
        )

    def inputs(self, size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """Yield plain views of whole clips as network input, about `CHUNK` frames at once."""
        clips = chunk_clips(self.frames)
        for start in range(0, len(self.rows), clips):
            chunk = [(row, frame) for row in self.rows[start : start + clips] for frame in range(self.frames)]
            frame_BHWC, faults = stack((pixels(row["jpeg"][frame], self.side) for row, frame in chunk), self.side)
            for place, fault in faults.items():
                row, frame = chunk[place]
                self.faults[f"{row['clip_id']} frame {frame}"] = fault
                clip = start + place // self.frames
                self.whole_M[clip] = False
                self.valid_NA[clip * self.frames : (clip + 1) * self.frames] = False
            yield plain_views(frame_BHWC, size, device)


def chunk_clips(frames: int) -> int:
    """Return how many clips go through the network at once."""
    return max(1, CHUNK // frames)


def inputs_of_all(clips: Clips, size: int, world: World) -> Iterator[tuple[torch.Tensor, bool]]:
    """Yield inputs and whether they are real, equally often on all ranks.

    Under ZeRO-3 a forward pass is itself a collective: a rank that has no clips left yields an empty one.
    """
    calls = max(all_gather_objects(-(-len(clips.rows) // chunk_clips(clips.frames)), world))
    inputs = clips.inputs(size, world.device)
    for _ in range(calls):
        chunk = next(inputs, None)
        empty = torch.zeros(clips.frames, 3, size, size, device=world.device)
        yield (empty, False) if chunk is None else (chunk, True)
