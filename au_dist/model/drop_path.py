"""Stochastic depth that is the same on one and on several workers, and after a resumption.

Which samples go round a layer is drawn from torch's own generator, which training seeds for each contrast set; what is
drawn for the rows of this worker is handed in (`draw_alike`).
"""

from collections.abc import Callable

import torch
from torch import nn


class DropPath(nn.Module):
    """Leaves out the input of a sum for some samples while training, and scales it up for the others.

    Args:
        chance: How often a sample is left out, from 0 to less than 1 (Huang et al., Deep Networks with Stochastic
            Depth, ECCV 2016).

    Attributes:
        uniform: Maps a number of samples to numbers from 0 to 1, one a sample.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance
        self.uniform: Callable[[int], torch.Tensor] = torch.rand

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, its first dimension samples; those that are left out are 0."""
        if not self.training or not self.chance:
            return x
        kept_B = (self.uniform(len(x)) >= self.chance).to(x.device, x.dtype) / (1 - self.chance)
        return x * kept_B.view(-1, *(1,) * (x.dim() - 1))

    def extra_repr(self) -> str:
        """Return the chance, for a printed network."""
        return f"{self.chance:g}"


def rising(chance: float, blocks: int) -> list[DropPath]:
    """Return one a block: from 0 next to the pixels linearly to `chance`."""
    return [DropPath(chance * block / max(1, blocks - 1)) for block in range(blocks)]


def draw_alike(module: nn.Module, uniform: Callable[[int], torch.Tensor]) -> None:
    """Let all layers of a module that leave out samples draw these by a function, as `DropPath.uniform`."""
    for part in module.modules():
        if isinstance(part, DropPath):
            part.uniform = uniform
