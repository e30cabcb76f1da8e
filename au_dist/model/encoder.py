"""What all image encoders are: pixels to a grid of tokens, in a row of stages."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

#: Every encoder is a row of so many stages, the first one next to the pixels.
STAGES = 5


class Encoder(nn.Module):
    """A row of stages.

    Attributes:
        channels: Length C of a token.
        recompute: Whether only what enters a stage is kept for the backward pass (activation checkpointing).
    """

    channels: int
    recompute = False

    def parts(self) -> list[nn.Module]:
        """Return the stages."""
        raise NotImplementedError

    def stage_of(self) -> Iterator[tuple[nn.Parameter, int]]:
        """Yield each parameter and its stage."""
        for stage, part in enumerate(self.parts()):
            for parameter in part.parameters():
                yield parameter, stage

    def keep(self, stages: int) -> None:
        """Throw away all stages but the first ones."""
        raise NotImplementedError

    def through(self, x: torch.Tensor, parts: Sequence[nn.Module] | None = None) -> torch.Tensor:
        """Return what the last stage makes of what enters the first; of the stages given, if any are."""
        # What is evaluated is kept: by the time of its backward pass, layers may be in training mode again.
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for part in self.parts() if parts is None else parts:
            x = checkpoint(part, x, use_reentrant=False) if recompute else part(x)
        return x

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last stage gives as tokens [B, S, C]."""
        return x.flatten(2).transpose(1, 2)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return tokens [B, S, C]."""
        return self.tokens(self.through(x_BCHW))

    def pooled(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return what a classifier of whole pictures reads: the mean over tokens [B, C]."""
        mean_BC: torch.Tensor = self(x_BCHW).mean(1)
        return mean_BC


def cut(rows: Sequence[nn.Module], ends: Sequence[int]) -> list[nn.Module]:
    """Return modules in a row as stages, which end before the positions given."""
    return [nn.Sequential(*rows[begin:end]) for begin, end in pairwise((0, *ends))]


class Rows(Encoder):
    """A row of modules, cut into stages.

    Args:
        rows: The modules.
        ends: Where the stages end.
    """

    def __init__(self, rows: list[nn.Module], ends: tuple[int, ...]) -> None:
        super().__init__()
        self.rows, self._ends = nn.ModuleList(rows), ends

    def parts(self) -> list[nn.Module]:
        """Return the stages."""
        return cut([*self.rows], self._ends)

    def keep(self, stages: int) -> None:
        """Throw away all stages but the first ones."""
        self._ends = self._ends[:stages]
        self.rows = self.rows[: self._ends[-1]]

    def pooled(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the mean over tokens [B, C]; where tokens are normalised at the end, the mean is instead of them."""
        last = self.rows[-1]
        if not isinstance(last, nn.LayerNorm):
            return super().pooled(x_BCHW)
        ends = (*self._ends[:-1], self._ends[-1] - 1)
        token_BSC = self.tokens(self.through(x_BCHW, cut([*self.rows], ends)))
        return F.layer_norm(token_BSC.mean(1), last.normalized_shape, last.weight, last.bias, last.eps)


def stages(module: nn.Module) -> dict[str, int]:
    """Return the parameters of the encoders in a module → their stage, 0 to `STAGES` - 1."""
    stage_of = {
        id(parameter): stage
        for encoder in module.modules()
        if isinstance(encoder, Encoder)
        for parameter, stage in encoder.stage_of()
    }
    return {name: stage_of[id(p)] for name, p in module.named_parameters() if id(p) in stage_of}


def recompute(module: nn.Module, whether: bool) -> None:
    """Say whether the encoders in a module compute a stage again in the backward pass."""
    for encoder in module.modules():
        if isinstance(encoder, Encoder):
            encoder.recompute = whether
