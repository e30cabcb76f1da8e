"""The module of intensity estimation, and how it is judged."""

from typing import Any

import numpy as np
import torch
from torch import nn

from au_dist.config.sections import Model
from au_dist.core.metrics import average, intensity_per_au, judged
from au_dist.dist.collectives import all_reduce_sum
from au_dist.dist.world import World
from au_dist.methods.base import Held, Judgement, Learner, Parts, Validation
from au_dist.methods.clips import Clips, inputs_of_all
from au_dist.methods.frames import joined
from au_dist.model.clip_network import ClipNetwork, IntensityHeads
from au_dist.model.losses import intensity_terms
from au_dist.model.norm import share


class IntensityTask(nn.Module):
    """Intensity of action units: squared error at labelled frames, back through time from there.

    Args:
        network: The network that reads clips.
        config: The model section of the recipe.
        num_aus: Number of action units, A.
        frames: Frames of a clip in training.
        world: This process among the workers.
    """

    def __init__(self, network: ClipNetwork, config: Model, num_aus: int, frames: int, world: World) -> None:
        super().__init__()
        self.network, self.frames, self.world = network, frames, world
        share(network, lambda x: all_reduce_sum(x, world))
        self.heads = IntensityHeads(config, network.grid, num_aus)
        share(self.heads, lambda x: all_reduce_sum(x, world))

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one micro-batch: one view of frames in a row; `y_BA` are intensities."""
        loss, count = intensity_terms(self._estimates(views[0], self.frames).float(), y_BA, valid_BA)
        return self.world.size * loss / all_reduce_sum(count.float(), self.world).clamp(min=1)

    def intensities(self, x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
        """Return the intensities of frames, [B, A], 0 to 5.

        Args:
            x_BCHW: Frames, those of a clip together and in order.
            frames: Frames of a clip.
        """
        return self._estimates(x_BCHW, frames).clamp(0, 5)

    def _estimates(self, x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
        return self.heads(self.network(x_BCHW, frames).flatten(0, 1))


@torch.no_grad()
def judge_intensity(module: IntensityTask, clips: Clips, size: int, world: World) -> Judgement:
    """Return what a regressor makes of the labelled validation frames of all ranks.

    Args:
        module: The regressor, in evaluation mode.
        clips: This rank's validation clips.
        size: Side of the network's input in pixels.
        world: This process among the workers.
    """
    batches = [np.zeros((0, clips.y_NA.shape[1]), np.float32)]
    for x_BCHW, real in inputs_of_all(clips, size, world):
        intensity_BA = module.intensities(x_BCHW, clips.frames).float().cpu().numpy()
        batches += [intensity_BA] if real else []
    subject_N = np.repeat([row["subject"] for row in clips.rows], clips.frames)
    subject_N, *arrays = joined((subject_N, np.concatenate(batches), clips.y_NA, clips.valid_NA), world)
    return Judgement(subject_N, tuple(arrays), metrics_of)


def metrics_of(intensity_NA: np.ndarray, y_NA: np.ndarray, valid_NA: np.ndarray) -> dict[str, Any]:
    """Return means over the action units whose labels vary, and how many these are; all arguments are of frames."""
    rows = judged(intensity_per_au(y_NA, valid_NA, intensity_NA))
    means = {f"val_{name}": average(rows, name) for name in ("icc", "pcc", "mse", "mae")}
    return {**means, "val_units": len(rows)}


def _module(parts: Parts) -> nn.Module:
    return IntensityTask(ClipNetwork(parts.model, parts.size), parts.model, parts.num_aus, parts.frames, parts.world)


def _validation(module: IntensityTask, held: Held) -> Validation:
    """Intensity is judged at every labelled frame of a clip."""
    rows = held.rows("validation", None)
    clips = Clips(rows, held.columns, held.num_columns, held.labels, held.side, frames=held.clip_frames)
    return Validation((clips,), lambda: judge_intensity(module, clips, held.size, held.world))


LEARNER = Learner(_module, _validation)
