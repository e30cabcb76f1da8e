"""Low-rank adaptation of an encoder: its weights stay, and a product of two small matrices is learnt beside each.

After LoRA (Hu et al., ICLR 2022), with the scale 1. By torch's own parametrisations, so that layers whose weights other
code reaches for (the attention of Swin and ViT) are adapted too.
"""

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from au_dist.core.errors import RecipeError
from au_dist.model.encoder import Encoder

#: Kinds of layers → the weight of theirs that is a matrix.
MATRICES = ((nn.Linear, "weight"), (nn.MultiheadAttention, "in_proj_weight"))


class LowRank(nn.Module):
    """Adds a matrix of low rank, which is zero at first.

    Args:
        weight_OI: What it is added to.
        rank: Its rank.
    """

    def __init__(self, weight_OI: torch.Tensor, rank: int) -> None:
        super().__init__()
        out, inputs = weight_OI.shape
        self.down_RI = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)
        self.up_OR = nn.Parameter(torch.zeros(out, rank))

    def forward(self, weight_OI: torch.Tensor) -> torch.Tensor:
        """Return the adapted weight."""
        return weight_OI + self.up_OR @ self.down_RI


def adapt(encoder: Encoder, rank: int) -> None:
    """Freeze an encoder, and let a matrix of low rank be learnt beside each of its linear layers.

    Args:
        encoder: The encoder; changed in place.
        rank: Rank of what is learnt.

    Raises:
        RecipeError: It has no linear layers.
    """
    encoder.requires_grad_(False)
    found = [
        (module, name)
        for module in encoder.modules()
        for kind, name in MATRICES
        if isinstance(module, kind) and getattr(module, name) is not None
    ]
    if not found:
        raise RecipeError(
            "This encoder has no linear layers to adapt",
            where="model.lora",
            expected="a transformer (Swin, ViT, many of timm's) or a ConvNeXt",
            fix="Set model.lora to 0; optim.encoder and optim.layer_decay slow an encoder down.",
        )
    for module, name in found:
        register_parametrization(module, name, LowRank(getattr(module, name), rank))
