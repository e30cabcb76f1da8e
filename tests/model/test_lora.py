"""Low-rank adaptation: nothing changes at first, and then only what is learnt beside the weights."""

import pytest
import torch
from pydantic import ValidationError
from test_encoders import small_vit
from torchvision import models

from au_dist.config.sections import Model
from au_dist.core.errors import RecipeError
from au_dist.model.encoder import STAGES, stages
from au_dist.model.encoders import make_encoder
from au_dist.model.lora import MATRICES
from au_dist.recipes.recipe import Recipe

NAMES = [
    pytest.param("swin_t", marks=pytest.mark.slow),
    "vit_b_16",
    pytest.param("convnext_tiny", marks=pytest.mark.slow),
    "timm/vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_matrices_beside_the_weights_learn(name, monkeypatch):
    monkeypatch.setattr(models, "vit_b_16", small_vit)
    torch.manual_seed(0)
    plain = make_encoder(Model(encoder=name)).eval()
    matrices = sum(isinstance(module, kind) for module in plain.modules() for kind, _ in MATRICES)
    torch.manual_seed(0)
    adapted = make_encoder(Model(encoder=name, lora=4)).eval()
    x_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(adapted(x_BCHW), plain(x_BCHW), rtol=0, atol=0)

    learnt = {key: one for key, one in adapted.named_parameters() if one.requires_grad}
    assert len(learnt) == 2 * matrices
    assert {key.rpartition(".")[2] for key in learnt} == {"down_RI", "up_OR"}
    assert max(min(one.shape) for one in learnt.values()) == 4
    assert {key for key in stages(adapted)} == {key for key, _ in adapted.named_parameters()}
    assert set(stages(adapted).values()) == set(range(STAGES))

    before = {key: one.clone() for key, one in adapted.named_parameters()}
    adam = torch.optim.AdamW(learnt.values(), lr=0.01)
    for _ in range(2):
        adam.zero_grad()
        adapted(x_BCHW).square().mean().backward()
        assert all(one.grad is not None for one in learnt.values())
        adam.step()
    changed = {key for key, one in adapted.named_parameters() if not torch.equal(one, before[key])}
    assert {key for key in learnt if key.endswith("up_OR")} <= changed <= learnt.keys()
    # What a layer uses is its own weight and the product.
    layer = next(module for module in adapted.modules() if hasattr(module, "parametrizations"))
    (name,) = layer.parametrizations
    beside = layer.parametrizations[name]
    right = beside.original + beside[0].up_OR @ beside[0].down_RI
    torch.testing.assert_close(getattr(layer, name), right)
    assert not torch.equal(right, beside.original)


@pytest.mark.parametrize("name", ["tiny", "lite0", "resnet18"])
def test_an_encoder_of_convolutions_has_nothing_to_adapt(name):
    with pytest.raises(RecipeError, match="no linear layers to adapt"):
        make_encoder(Model(encoder=name, lora=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "give model.weights or init"),
        ({"init": {"run": "a"}, "engine": {"zero": 3}}, "use engine.zero: 2 or less"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    raw = {"name": "a", "shards": "s", "runs": "r", "task": "detection", "model": {"encoder": "swin_t", "lora": 2}}
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({**raw, **change})
