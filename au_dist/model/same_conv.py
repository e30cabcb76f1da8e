"""Layers of networks that were trained in TensorFlow: convolutions padded as there, and their normalisation."""

import torch
import torch.nn.functional as F
from torch import nn

#: Of the normalisation, as these networks were trained.
EPSILON = 1e-3


def padding(x_BCHW: torch.Tensor, kernel: int, stride: int) -> list[int]:
    """Return how many pixels are added left, right, above and below, so that each stride begins in the picture.

    A stride of 2 begins at the second pixel where the sides are even.
    """
    added = []
    for side in (x_BCHW.shape[3], x_BCHW.shape[2]):
        whole = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        added += [whole // 2, whole - whole // 2]
    return added


class SameConv(nn.Conv2d):
    """A convolution without bias whose grid is that of its input, divided by the stride."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the convolved grid."""
        left, right, above, below = padding(x_BCHW, self.kernel_size[0], self.stride[0])
        even = (above, left) if (left, above) == (right, below) else (0, 0)  # no copy is needed then
        if even == (0, 0):
            x_BCHW = F.pad(x_BCHW, (left, right, above, below))
        return F.conv2d(x_BCHW, self.weight, None, self.stride, even, self.dilation, self.groups)


def normalisation(norm: str, channels: int, groups: int) -> nn.Module:
    """Return the normalisation of a layer: ``frozen`` statistics, which come with weights, or ``group``.

    Never statistics of a rank's own batch: they would differ between worker counts.
    """
    from torchvision.ops import FrozenBatchNorm2d  # loads torch's compiler, a third of a worker's start

    return FrozenBatchNorm2d(channels, eps=EPSILON) if norm == "frozen" else nn.GroupNorm(groups, channels)
