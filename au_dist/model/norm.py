"""Batch normalisation that is the same on one and on several workers.

Statistics are sums over all samples of a contrast set, wherever they are computed; how to add up over workers, with
gradient, is handed in. `torch.nn.SyncBatchNorm` does the same but not on CPUs.
"""

from collections.abc import Callable

import torch
from torch import nn

MOMENTUM = 0.1
EPSILON = 1e-5


def alone(x: torch.Tensor) -> torch.Tensor:
    """Add up over one worker."""
    return x


class SharedBatchNorm(nn.Module):
    """Normalises the last dimension over all others; running statistics when not training.

    Args:
        channels: Length of the last dimension.

    Attributes:
        all_reduce_sum: Sums a tensor over all workers, with gradient.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.all_reduce_sum: Callable[[torch.Tensor], torch.Tensor] = alone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x normalised, of the same shape."""
        mean, variance = self._statistics(x.float()) if self.training else (self.mean, self.variance)
        scale = (variance + EPSILON).rsqrt() * self.weight
        return (x.float() - mean) * scale + self.bias

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = x.reshape(-1, x.shape[-1])
        count = rows.new_full((1,), float(len(rows)))
        sums = self.all_reduce_sum(torch.cat([rows.sum(0), rows.square().sum(0), count]))
        first, second = sums[:-1].chunk(2)
        mean = first / sums[-1]
        variance = (second / sums[-1] - mean.square()).clamp(min=0)
        with torch.no_grad():
            # A set without a finite value is skipped (train/loop.py) and must leave nothing behind.
            finite = torch.isfinite(sums).all()
            self.mean.lerp_(torch.where(finite, mean, self.mean), MOMENTUM)
            self.variance.lerp_(torch.where(finite, variance, self.variance), MOMENTUM)
        return mean, variance


def share(module: nn.Module, all_reduce_sum: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Let all normalisations of a module add up over workers."""
    for part in module.modules():
        if isinstance(part, SharedBatchNorm):
            part.all_reduce_sum = all_reduce_sum
