"""Encoders of timm give timm's tokens, whatever the family."""

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from au_dist.config.sections import Model
from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError, RecipeError
from au_dist.model.encoder import STAGES, recompute, stages
from au_dist.model.encoders import make_encoder
from au_dist.model.network import AUNetwork

#: A vision transformer with a class token, one with registers, a network of maps; tokens that belong to no place.
FAMILIES = [
    ("vit_tiny_patch16_224", 1),
    pytest.param("vit_small_patch16_dinov3", 5, marks=pytest.mark.slow),
    ("convnext_atto", 0),
]


def seen(network, colour):
    """What timm shows its network of colours from 0 to 1."""
    mean, std = (torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    return (colour - mean) / std


def centred(colour):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN_C, STD_C))
    return (colour - mean) / std


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("name", "prefix"), FAMILIES)
def test_a_file_with_timms_names_gives_timms_tokens(name, prefix, tmp_path):
    torch.manual_seed(0)
    there = timm.create_model(name, num_classes=7).eval()
    save_file({key: tensor.contiguous() for key, tensor in there.state_dict().items()}, tmp_path / "w.safetensors")
    encoder = make_encoder(Model(encoder=f"timm/{name}", weights=str(tmp_path / "w.safetensors"))).eval()
    colour = torch.rand(1, 3, 224, 224)
    right = there.forward_features(seen(there, colour))
    right = right[:, prefix:] if right.dim() == 3 else right.flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder(centred(colour)), right, rtol=1e-4, atol=1e-4)
    assert encoder.channels == right.shape[2]
    # A whole model of ours has its own names.
    save_file(
        {f"network.encoder.{k}": t.contiguous() for k, t in encoder.state_dict().items()}, tmp_path / "own.safetensors"
    )
    again = make_encoder(Model(encoder=f"timm/{name}", weights=str(tmp_path / "own.safetensors"))).eval()
    torch.testing.assert_close(again(centred(colour)), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "prefix"), FAMILIES)
def test_frames_do_not_see_each_other_and_every_parameter_has_a_stage(name, prefix):
    torch.manual_seed(0)
    encoder = make_encoder(Model(encoder=f"timm/{name}")).train()
    x_BCHW = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(encoder(x_BCHW)[:1], encoder(x_BCHW[:1]), rtol=1e-4, atol=1e-4)
    found = stages(encoder)
    assert set(found.values()) == set(range(STAGES))
    assert len(found) == len(list(encoder.parameters()))
    network = AUNetwork(Model(encoder=f"timm/{name}", embed_dim=8, bottleneck_channels=4), 3, 64)
    assert network(x_BCHW).shape == (3, 3, 8)
    assert encoder(x_BCHW).shape[1] == (4 if prefix == 0 else 16)


def test_what_is_computed_again_has_the_same_gradient():
    torch.manual_seed(0)
    encoder = make_encoder(Model(encoder="timm/vit_tiny_patch16_224")).train()
    x_BCHW, found = torch.randn(2, 3, 64, 64), []
    for whether in (False, True):
        recompute(encoder, whether)
        assert encoder.recompute == encoder.body.grad_checkpointing == whether
        encoder.zero_grad()
        encoder(x_BCHW).square().mean().backward()
        found.append([parameter.grad.clone() for parameter in encoder.parameters() if parameter.grad is not None])
    for again, first in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(again, first, rtol=0, atol=1e-6)


def test_statistics_of_a_batch_are_frozen_or_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"depend on the number of workers.*norm: frozen"):
        make_encoder(Model(encoder="timm/resnet10t"))
    there = timm.create_model("resnet10t", num_classes=3)
    there(torch.randn(4, 3, 64, 64))
    save_file(there.state_dict(), tmp_path / "w.safetensors")
    encoder = make_encoder(Model(encoder="timm/resnet10t", weights=str(tmp_path / "w.safetensors"), norm="frozen"))
    x_BCHW, there = torch.randn(2, 3, 64, 64), there.eval()
    with torch.no_grad():
        right = there.forward_features(x_BCHW).flatten(2).transpose(1, 2)
        torch.testing.assert_close(encoder.train()(x_BCHW), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ({"encoder": "timm/vit_tony_patch16"}, RecipeError, "timm has no such network"),
        ({"encoder": "timm/"}, ValidationError, "encoder"),
        ({"encoder": "vit_tiny_patch16_224"}, ValidationError, "encoder"),
        ({"encoder": "timm/convnext_atto", "weights": "torchvision"}, ValidationError, "torchvision has no weights"),
        ({"weights": "timm"}, ValidationError, "timm's weights are for its own encoders"),
        ({"encoder": "timm/convnext_atto", "stages": 3}, ValidationError, "last stage"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(model, error, message):
    with pytest.raises(error, match=message):
        make_encoder(Model(**model))


def test_a_size_that_a_network_does_not_take_is_said():
    with pytest.raises(RecipeError, match=r"does not take an input of this size.*data\.size"):
        make_encoder(Model(encoder="timm/vit_tiny_patch16_224"))(torch.zeros(1, 3, 60, 60))


def test_weights_are_fetched_only_when_asked_for(monkeypatch):
    asked = []

    def create(name, *, pretrained, **_):
        asked.append(pretrained)
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", create)
    for weights in (None, "timm"):
        with pytest.raises(CheckpointError, match="cannot be fetched"):
            make_encoder(Model(encoder="timm/convnext_atto", weights=weights))
    assert asked == [False, True]
