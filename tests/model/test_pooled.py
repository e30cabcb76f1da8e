"""A network without branches: each action unit is a linear layer on the mean over tokens."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torchvision import models

from au_dist.config.sections import Model
from au_dist.model.encoders import make_encoder
from au_dist.model.network import LinearHeads, PooledNetwork, make_network
from au_dist.recipes.recipe import Recipe

PLAIN = {"embed_dim": 0, "bottleneck_channels": 0, "num_neighbors": 0}


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny", "swin_t", "timm/vit_tiny_patch16_224"])
def test_heads_read_the_mean_over_tokens(name):
    torch.manual_seed(0)
    network, heads = make_network(Model(encoder=name, **PLAIN), 3, 64).eval(), None
    assert isinstance(network, PooledNetwork)
    heads = LinearHeads(3, network.width)
    x_BCHW = torch.randn(2, 3, 64, 64)
    mean_BC = network.encoder(x_BCHW).mean(1)
    torch.testing.assert_close(heads(network(x_BCHW)), mean_BC @ heads.weight_AD.T + heads.bias_A)


@pytest.mark.slow
@torch.no_grad()
def test_convnext_is_read_as_its_own_classifier_reads_it():
    torch.manual_seed(0)
    there = models.convnext_tiny().eval()
    encoder = make_encoder(Model(encoder="convnext_tiny")).eval()
    encoder.rows.load_state_dict(
        {
            **{f"{at}.{k}": v for at, part in enumerate(there.features) for k, v in part.state_dict().items()},
            **{f"{len(there.features)}.{k}": v for k, v in there.classifier[0].state_dict().items()},
        }
    )
    torch.nn.init.normal_(there.classifier[0].weight)
    encoder.rows[-1].weight.copy_(there.classifier[0].weight)
    x_BCHW = torch.randn(2, 3, 64, 64)
    right_BC = there.classifier[0](there.avgpool(there.features(x_BCHW)))[:, :, 0, 0]
    torch.testing.assert_close(encoder.pooled(x_BCHW), right_BC)


@pytest.mark.slow
@torch.no_grad()
def test_a_vision_transformer_is_normalised_after_the_mean():
    torch.manual_seed(0)
    encoder = make_encoder(Model(encoder="vit_b_16")).eval()
    last = encoder.rows[-1]
    torch.nn.init.normal_(last.weight)
    x_BCHW = torch.randn(1, 3, 32, 32)
    before_BSC = torch.nn.Sequential(*encoder.rows[:-1])(x_BCHW)[:, 1:]
    right_BC = F.layer_norm(before_BSC.mean(1), last.normalized_shape, last.weight, last.bias, last.eps)
    torch.testing.assert_close(encoder.pooled(x_BCHW), right_BC)
    assert (encoder(x_BCHW).mean(1) - right_BC).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("model", "what", "message"),
    [
        ({"embed_dim": 0}, {"task": "detection"}, "set bottleneck_channels, num_neighbors and shared_dim to 0"),
        ({"embed_dim": 2}, {"task": "detection"}, "must be 0, or 4 or more"),
        (PLAIN, {"method": "aunce"}, "leaves out the embeddings"),
        (PLAIN, {"method": "predictive"}, "leaves out the embeddings"),
        (PLAIN, {"task": "detection", "detection": {"train": "all", "aunce": {}}}, "leaves out the embeddings"),
    ],
    ids=["branches", "short", "aunce", "predictive", "joint"],
)
def test_what_needs_embeddings_is_refused_without_them(model, what, message):
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({"name": "a", "shards": "s", "runs": "r", "model": model, **what})
