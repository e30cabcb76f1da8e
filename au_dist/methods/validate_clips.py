"""Validation of networks that read clips: intensities of labelled frames, or how well the next blocks are foreseen."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from au_dist.config.sections import Labels
from au_dist.core.metrics import average, intensity_per_au
from au_dist.data.decode import pixels, stack
from au_dist.data.labels import known
from au_dist.data.views import plain_views
from au_dist.dist.collectives import gather_objects
from au_dist.dist.world import World
from au_dist.methods.tasks import Predict, Regress
from au_dist.methods.validate import CHUNK, joined


class Clips:
    """Clips of equal length, decoded as they are asked for; of those that do not decode nothing is known.

    Args:
        rows: Clips as rows.
        columns: Label columns to use.
        aus: Label columns of the set.
        budget: The label budget.
        side: Side of the stored frames in pixels.
        frames: Frames of each clip, from its first on.

    Where label columns are used, clips without a known label are left out.
    """

    def __init__(
        self, rows: list[dict[str, Any]], columns: list[int], aus: int, budget: Labels, side: int, frames: int
    ) -> None:
        self.side, self.faults = side, dict[str, str]()
        labels = [known(row, columns, aus, budget, intensities=True) for row in rows]
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
    calls = max(gather_objects(-(-len(clips.rows) // chunk_clips(clips.frames)), world))
    inputs = clips.inputs(size, world.device)
    for _ in range(calls):
        chunk = next(inputs, None)
        empty = torch.zeros(clips.frames, 3, size, size, device=world.device)
        yield (empty, False) if chunk is None else (chunk, True)


@torch.no_grad()
def intensity_metrics(module: Regress, clips: Clips, size: int, world: World) -> dict[str, Any]:
    """Return metrics over the labelled validation frames of all ranks: means over action units.

    Args:
        module: The regressor, in evaluation mode.
        clips: This rank's validation clips.
        size: Side of the network's input in pixels.
        world: This process among the workers.
    """
    found = [np.zeros((0, clips.y_NA.shape[1]), np.float32)]
    for x_BCHW, real in inputs_of_all(clips, size, world):
        found_BA = module.intensities(x_BCHW, clips.frames).float().cpu().numpy()
        found += [found_BA] if real else []
    found_NA, y_NA, valid_NA = joined((np.concatenate(found), clips.y_NA, clips.valid_NA), world)
    rows = intensity_per_au(y_NA, valid_NA, found_NA)
    return {f"val_{name}": average(rows, name) for name in ("icc", "pcc", "mse", "mae")}


@torch.no_grad()
def prediction_metrics(module: Predict, clips_of: Clips, size: int, world: World) -> dict[str, Any]:
    """Return how well the next blocks of validation clips are foreseen.

    `val_accuracy` is the share of predicted cells whose nearest true cell among those of the same clip, in all steps
    that are predicted, is their own; `val_chance` what guessing would give.

    Args:
        module: The predictor, in evaluation mode.
        clips_of: This rank's validation clips.
        size: Side of the network's input in pixels.
        world: This process among the workers.
    """
    right, cells, chance, seen = 0.0, 0.0, 0.0, 0
    for x_BCHW, real in inputs_of_all(clips_of, size, world):
        query_QC, key_QC = module.pairs(x_BCHW)
        if not real:
            continue
        if module.config.normalise:
            query_QC, key_QC = (torch.nn.functional.normalize(x, dim=1) for x in (query_QC, key_QC))
        # Within clips: which clips go through the network together depends on the number of workers.
        clips = len(x_BCHW) // clips_of.frames
        query_BPC, key_BPC = (x.unflatten(0, (clips, -1)) for x in (query_QC, key_QC))
        found_BP = (query_BPC @ key_BPC.transpose(1, 2)).argmax(2)[clips_of.whole_M[seen : seen + clips]]
        right += float((found_BP == torch.arange(found_BP.shape[1], device=found_BP.device)).sum())
        cells += found_BP.numel()
        chance += len(found_BP)
        seen += clips
    right, cells, chance = np.sum(gather_objects((right, cells, chance), world), axis=0).tolist()
    return {"val_accuracy": right / max(1.0, cells), "val_chance": chance / max(1.0, cells)}
