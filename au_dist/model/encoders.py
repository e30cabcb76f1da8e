"""Image encoders: pixels to a grid of tokens. Normalisation never mixes samples, so N workers equal one."""

from pathlib import Path

import torch
from torch import nn

from au_dist.errors import CheckpointError


class Tiny(nn.Module):
    """A small residual network for CPUs: stride 8, 96 channels, group normalisation."""

    channels = 96

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 5, 2, 2, bias=False), nn.GroupNorm(4, 24), nn.ReLU())
        self.stages = nn.Sequential(_down(24, 48), _Residual(48), _down(48, 96), _Residual(96))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        return self.stages(self.stem(x_BCHW.contiguous(memory_format=torch.channels_last))).flatten(2).transpose(1, 2)


def _down(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.GroupNorm(8, after), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return torch.relu(x_BCHW + self.body(x_BCHW))


class _Torchvision(nn.Module):
    """A torchvision network without its classifier."""

    def __init__(self, name: str) -> None:
        super().__init__()
        from torchvision import models

        if name.startswith("resnet"):
            # Group normalisation: batch statistics would differ between worker counts.
            body = getattr(models, name)(norm_layer=lambda channels: nn.GroupNorm(32, channels))
            self.channels = body.fc.in_features
            self.body = nn.Sequential(*list(body.children())[:-2])
        else:
            body = getattr(models, name)()
            self.channels = body.head.in_features
            self.body = nn.Sequential(body.features, body.norm, body.permute)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        return self.body(x_BCHW).flatten(2).transpose(1, 2)


def make_encoder(name: str, weights: str | None = None) -> nn.Module:
    """Return an encoder with an attribute ``channels``.

    Args:
        name: ``tiny`` or a torchvision network.
        weights: Local safetensors file with the encoder's own parameter names; random initialisation when None.

    Raises:
        CheckpointError: The file is absent or does not fit the encoder.
    """
    encoder = Tiny() if name == "tiny" else _Torchvision(name)
    if weights is not None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not Path(weights).is_file():
            raise CheckpointError("The encoder's weights are not there", where=weights)
        try:
            encoder.load_state_dict(load_file(weights))
        except (SafetensorError, RuntimeError) as error:
            found = str(error).splitlines()[-1].strip()[:200]
            raise CheckpointError(f"The weights do not fit the encoder `{name}`", where=weights, found=found) from error
    return encoder
