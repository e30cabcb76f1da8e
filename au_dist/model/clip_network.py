"""The network that reads clips: encoder, a small map of each frame, and a memory over time at each cell.

After Sanchez et al. (ACCV 2020), whose parent is dense predictive coding: what predicts the next blocks of unlabelled
clips later carries the regressor. Sizes are ours; the paper's are not public.
"""

import torch
import torch.nn.functional as F
from torch import nn

from au_dist.config.sections import Model
from au_dist.model.encoders import make_encoder
from au_dist.model.network import LinearHeads
from au_dist.model.norm import SharedBatchNorm
from au_dist.model.predictive import ConvGRU, remember


class ClipNetwork(nn.Module):
    """Pixels of frames to maps, and maps in a row to what is remembered of them.

    Args:
        config: The model section of the recipe.
        size: Side of the input in pixels.
    """

    def __init__(self, config: Model, size: int) -> None:
        super().__init__()
        self.width = config.embed_dim
        self.encoder = make_encoder(config)
        with torch.no_grad():
            self.side = round(self.encoder(torch.zeros(1, 3, size, size)).shape[1] ** 0.5)
        self.grid = min(self.side, config.grid or self.side)
        # No bias before the normalisation: its gradient is nothing but rounding, which AdamW would make steps of.
        self.squeeze = nn.Linear(self.encoder.channels, config.embed_dim, bias=False)
        self.norm = SharedBatchNorm(config.embed_dim)
        self.memory = ConvGRU(config.embed_dim)

    def maps(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the map of each frame before the rectifier, [B, width, grid, grid]."""
        token_BSC = self.squeeze(self.encoder(x_BCHW))
        map_BCHW = token_BSC.transpose(1, 2).unflatten(2, (self.side, self.side))
        map_BCHW = F.adaptive_avg_pool2d(map_BCHW, self.grid)
        return self.norm(map_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def forward(self, x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
        """Return what is remembered after each frame of each clip, [clips, frames, width, grid, grid].

        Args:
            x_BCHW: Frames, those of a clip together and in order.
            frames: Frames of a clip.
        """
        return remember(self.memory, self.maps(x_BCHW).unflatten(0, (-1, frames)))


class IntensityHeads(nn.Module):
    """What is remembered of a frame to the intensities of its action units, on the scale of the labels, 0 to 5.

    Branches as in `AUNetwork`: each action unit sees the whole map, normalised over the contrast set, because what
    faces share is much larger than what they do (docs/decisions/0004-what-small-networks-need.md). One linear layer
    from the map to all intensities learns next to nothing (docs/decisions/0006-predictive-coding.md).

    Args:
        config: The model section of the recipe.
        grid: Cells along each side of the map.
        num_aus: Number of action units, A.
    """

    def __init__(self, config: Model, grid: int, num_aus: int) -> None:
        super().__init__()
        self.num_aus, self.width = num_aus, config.embed_dim
        features = config.bottleneck_channels * grid**2 if config.bottleneck_channels else config.embed_dim
        self.squeeze = (
            nn.Conv2d(config.embed_dim, config.bottleneck_channels, 1, bias=False)
            if config.bottleneck_channels
            else None
        )
        self.branches = nn.Linear(features, num_aus * config.embed_dim, bias=False)
        self.norm = SharedBatchNorm(num_aus * config.embed_dim)
        self.out = LinearHeads(num_aus, config.embed_dim)

    def forward(self, state_BCHW: torch.Tensor) -> torch.Tensor:
        """Return intensities [B, A]."""
        seen_BF = state_BCHW.mean((2, 3)) if self.squeeze is None else self.squeeze(state_BCHW).flatten(1)
        z_BAD = F.relu(self.norm(self.branches(seen_BF))).unflatten(1, (self.num_aus, self.width))
        return self.out(F.normalize(z_BAD, dim=-1))
