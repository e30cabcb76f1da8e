"""FMAE's vision transformers (Ning et al., 2024), by the names of its public code and of masked autoencoders (MAE)."""

import re

from au_dist.config.sections import Model
from au_dist.core.errors import CheckpointError
from au_dist.runs.published_names import Names, Published, Tensors, plain

#: Channels and blocks → the encoder's name.
VITS = {(768, 12): "vit_b_16", (1024, 24): "vit_l_16"}

#: What stands beside the encoder: of a pretraining its decoder, of identity-adversarial training its other classifier.
BESIDE = r"^(decoder_.*|mask_token|ID_head2?\..*)$"

#: Names within a block there → those here.
_BLOCK = {
    "norm1": "ln_1.{}",
    "attn.qkv": "self_attention.in_proj_{}",
    "attn.proj": "self_attention.out_proj.{}",
    "norm2": "ln_2.{}",
    "mlp.fc1": "mlp.0.{}",
    "mlp.fc2": "mlp.3.{}",
}


def fmae(names: Names) -> Published:
    """Return a network of FMAE's: a linear layer an action unit on the mean over tokens; of a pretraining its encoder.

    Args:
        names: The weights by their released names.

    Raises:
        CheckpointError: Names or shapes are not those of such a network.
    """
    if "patch_embed.proj.weight" not in names.given:
        raise CheckpointError(
            "This is no network of fmae", expected="weights named patch_embed.proj.*, blocks.*", found=names.some
        )
    channels, _, side, _ = names.given["patch_embed.proj.weight"].shape
    depth = len({match[1] for name in names.given if (match := re.match(r"blocks\.(\d+)\.", name))})
    encoder = VITS.get((channels, depth)) if side == 16 else None
    if encoder is None:
        raise CheckpointError(
            "This vision transformer is of no size that is known here",
            expected="a base or large one with patches of 16 pixels",
            found=f"{depth} blocks of {channels} channels, patches of {side} pixels",
        )
    calls = "head.weight" in names.given
    rows = _rows(names, depth, "fc_norm" if calls else "norm")
    model = Model(encoder=encoder, embed_dim=0, bottleneck_channels=0, num_neighbors=0)
    notes = []
    if any(name.startswith("ID_head") for name in names.given):
        notes.append("Its classifier of identities is left out.")
    names.drop(BESIDE)
    if not calls:
        notes.append("It is a pretraining: an encoder without a classifier. Train a detector from it (model.weights).")
        return Published(model, 224, 0, (), plain(rows), False, names.left, tuple(notes), whole=False)
    head_AD, bias_A = names.take("head.weight"), names.take("head.bias")
    weights = {
        **{f"network.encoder.{name}": tensor for name, tensor in rows.items()},
        "heads.weight_AD": head_AD,
        "heads.bias_A": bias_A,
    }
    # Its fold 1 tests part 1.
    return Published(model, 224, len(bias_A), (), plain(weights), True, names.left, tuple(notes), numbering="part")


def _rows(names: Names, depth: int, norm: str) -> Tensors:
    """Return the encoder's weights by the names of one here; the last normalisation is called differently there."""
    parts = ("weight", "bias")
    found = {
        "rows.0.class_token": names.take("cls_token"),
        "rows.0.position": names.take("pos_embed"),
        **{f"rows.0.projection.{part}": names.take(f"patch_embed.proj.{part}") for part in parts},
        **{f"rows.{depth + 1}.{part}": names.take(f"{norm}.{part}") for part in parts},
    }
    for block in range(depth):
        for there, here in _BLOCK.items():
            for part in parts:
                found[f"rows.{block + 1}.{here.format(part)}"] = names.take(f"blocks.{block}.{there}.{part}")
    return found
