"""Encoders of released checkpoints by the names of encoders here; docs/published_weights.md."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError
from au_dist.runs.published_names import Colour, Names, Tensors

#: Depths of a Swin's stages and channels of its first → its name.
SWINS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 6, 2), 96): "swin_t",
    ((2, 2, 18, 2), 96): "swin_s",
    ((2, 2, 18, 2), 128): "swin_b",
}

#: Blocks of a ResNet's stages, and whether they have three convolutions → its name.
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
}

#: Where torchvision's ResNet keeps what these names begin with.
RESNET_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder's name in recipes, and its weights by the names here."""

    name: Any
    weights: Tensors


def encoder_of(names: Names, colours: tuple[Colour, Colour]) -> FoundEncoder:
    """Return the encoder in a checkpoint.

    Args:
        names: The weights; those of the encoder begin with ``backbone.``.
        colours: Mean and deviation that its inputs were centred by.

    Raises:
        CheckpointError: It is none that is known here.
    """
    if "backbone.patch_embed.proj.weight" in names.given:
        return _swin(names, colours)
    if "backbone.layer1.0.conv1.weight" in names.given and colours == (MEAN_C, STD_C):
        return _resnet(names)
    raise CheckpointError(
        "The encoder in this checkpoint is not known", expected="a Swin or a ResNet below `backbone.`", found=names.some
    )


def _swin(names: Names, colours: tuple[Colour, Colour]) -> FoundEncoder:
    depths = tuple(_count(names, rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    channels = len(names.given["backbone.patch_embed.proj.weight"])
    name = SWINS.get((depths, channels))
    if name is None:
        raise CheckpointError(
            "This Swin is of no known size",
            expected="a tiny, small or base one",
            found=f"{depths}, {channels} channels",
        )
    names.drop(r"attn_mask$")
    found = {}
    for there in [key for key in names.given if key.startswith("backbone.") and not key.endswith("attn_mask")]:
        if (here := _swin_place(there.removeprefix("backbone."))) is not None:
            tensor = names.take(there)
            found[here] = tensor.flatten() if there.endswith("relative_position_index") else tensor
    # Colours may have been centred otherwise: the first layer, which has no border, does it.
    mean_C, std_C, theirs_C, span_C = (torch.tensor(c, dtype=torch.float64) for c in (MEAN_C, STD_C, *colours))
    weight = found["body.0.0.0.weight"].double()
    shift = torch.einsum("ocij,c->o", weight, (mean_C - theirs_C) / span_C)
    found["body.0.0.0.bias"] = found["body.0.0.0.bias"] + shift
    found["body.0.0.0.weight"] = weight * (std_C / span_C)[:, None, None]
    return FoundEncoder(name, found)


#: Names of the published Swin → names below torchvision's `features`; 2i + 1 is stage i, 2i + 2 the merging after it.
_SWIN_PLACES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"patch_embed\.proj\.(\w+)", lambda m: f"0.0.{m[1]}"),
    (r"patch_embed\.norm\.(\w+)", lambda m: f"0.2.{m[1]}"),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", lambda m: f"{2 * int(m[1]) + 1}.{m[2]}.mlp.0.{m[3]}"),
    (r"layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)", lambda m: f"{2 * int(m[1]) + 1}.{m[2]}.mlp.3.{m[3]}"),
    (r"layers\.(\d)\.blocks\.(\d+)\.(attn\..+|norm[12]\.\w+)", lambda m: f"{2 * int(m[1]) + 1}.{m[2]}.{m[3]}"),
    (r"layers\.(\d)\.downsample\.(.+)", lambda m: f"{2 * int(m[1]) + 2}.{m[2]}"),
)


def _swin_place(name: str) -> str | None:
    """Return where a weight of the published Swin belongs in an encoder here; None where it has no place."""
    if last := re.fullmatch(r"norm\.(\w+)", name):
        return f"body.1.{last[1]}"
    for pattern, place in _SWIN_PLACES:
        if match := re.fullmatch(pattern, name):
            return f"body.0.{place(match)}"
    return None


def _resnet(names: Names) -> FoundEncoder:
    blocks = tuple(_count(names, rf"backbone\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
    name = RESNETS.get((blocks, "backbone.layer1.0.conv3.weight" in names.given))
    if name is None:
        raise CheckpointError(
            "This ResNet is of no known size", expected="18, 50 or 101 layers", found=f"blocks {blocks}"
        )
    names.drop(r"num_batches_tracked$")
    found = {}
    for there in names.given:
        first, _, rest = there.removeprefix("backbone.").partition(".")
        if there.startswith("backbone.") and first in RESNET_PLACES and not there.endswith("num_batches_tracked"):
            found[f"body.{RESNET_PLACES[first]}.{rest}"] = names.take(there)
    return FoundEncoder(name, found)


def _count(names: Names, pattern: str) -> int:
    return len({match[1] for name in names.given if (match := re.match(pattern, name))})
