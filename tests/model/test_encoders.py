"""Encoders with weights: torchvision's, from a file or out of its own cache, give torchvision's features."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torchvision import models

from au_dist.config.running import Optim
from au_dist.config.sections import Model
from au_dist.core.errors import CheckpointError, RecipeError
from au_dist.model.encoder import STAGES, recompute, stages
from au_dist.model.encoders import make_encoder
from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import rate_shares


@pytest.fixture(scope="module", params=["resnet18", "swin_t", "convnext_tiny"])
def network(request):
    """A torchvision network with running statistics that are not the initial ones."""
    torch.manual_seed(0)
    found = getattr(models, request.param)()
    found.train()
    found(torch.randn(4, 3, 64, 64))
    return request.param, found.eval()


def features(name, network, x_BCHW):
    """What the network has before its classifier, from torchvision's own forward pass."""
    kept = {}
    pool = network.avgpool
    handle = pool.register_forward_hook(lambda module, inputs, _: kept.update(x=inputs[0]))
    with torch.no_grad():
        network(x_BCHW)
    handle.remove()
    found = kept["x"].flatten(2).transpose(1, 2)
    if name.startswith("convnext"):  # whose classifier normalises first
        norm = network.classifier[0]
        found = torch.nn.functional.layer_norm(found, found.shape[2:], norm.weight, norm.bias, norm.eps)
    return found


def config(name, weights):
    return Model(encoder=name, weights=str(weights), norm="frozen" if name.startswith("resnet") else "group")


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1000, 5])
def test_a_file_with_torchvisions_names(network, tmp_path, classes):
    name, there = network
    state = dict(there.state_dict())
    for key in [key for key in state if key.startswith(("fc.", "head.", "classifier.2."))]:
        state[key] = state[key][:classes].clone()
    save_file(state, tmp_path / "w.safetensors")
    encoder = make_encoder(config(name, tmp_path / "w.safetensors"))
    x_BCHW = torch.randn(2, 3, 64, 64)
    for mode in (True, False):
        encoder.train(mode)
        with torch.no_grad():
            torch.testing.assert_close(encoder(x_BCHW), features(name, there, x_BCHW), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "resnet18", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_fewer_stages_come_from_the_weights_of_all_and_from_their_own(name, tmp_path):
    torch.manual_seed(0)
    whole = make_encoder(Model(encoder=name)).eval()
    save_file(whole.state_dict(), tmp_path / "all.safetensors")
    fewer = make_encoder(Model(encoder=name, weights=str(tmp_path / "all.safetensors"), stages=3)).eval()
    save_file(fewer.state_dict(), tmp_path / "own.safetensors")
    again = make_encoder(Model(encoder=name, weights=str(tmp_path / "own.safetensors"), stages=3)).eval()
    x_BCHW = expected_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for part in whole.parts()[:3]:
            expected_BCHW = part(expected_BCHW)
        for encoder in (fewer, again):
            torch.testing.assert_close(encoder(x_BCHW), expected_BCHW.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5)
            assert encoder.channels == expected_BCHW.shape[1]
    with pytest.raises(CheckpointError, match="do not fit"):
        make_encoder(Model(encoder=name, weights=str(tmp_path / "own.safetensors"), stages=4))
    for whole_only in ("swin_t", "vit_b_16"):
        with pytest.raises(ValidationError, match="belong to its last stage"):
            Model(encoder=whole_only, stages=4)


def small_vit(image_size=224):
    """torchvision's vision transformer, of another depth and width than those that have a name."""
    return models.VisionTransformer(
        image_size=image_size, patch_size=16, num_layers=5, num_heads=2, hidden_dim=32, mlp_dim=48
    )


@torch.no_grad()
def test_a_vision_transformer_has_torchvisions_tokens_at_its_size_and_tokens_at_others(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "vit_b_16", small_vit)
    torch.manual_seed(0)
    there = small_vit().eval()
    there.encoder.pos_embedding.normal_(0, 0.5)
    save_file(there.state_dict(), tmp_path / "w.safetensors")
    encoder = make_encoder(config("vit_b_16", tmp_path / "w.safetensors")).eval()
    kept = {}
    there.encoder.register_forward_hook(lambda module, inputs, output: kept.update(x=output))
    x_BCHW = torch.randn(1, 3, 224, 224)
    there(x_BCHW)
    torch.testing.assert_close(encoder(x_BCHW), kept["x"][:, 1:], rtol=1e-4, atol=1e-5)
    assert set(stages(encoder).values()) == set(range(STAGES))
    assert len(stages(encoder)) == len(list(encoder.parameters()))

    small = torch.randn(2, 3, 64, 64)
    assert encoder(small).shape == (2, 16, 32)
    torch.testing.assert_close(encoder(small)[:1], encoder(small[:1]), rtol=1e-4, atol=1e-4)
    # At its own size, places that were learnt on another grid keep their order.
    state = there.state_dict()
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    grid = (rows + 10 * columns).flatten()[None, :, None].expand(1, 16, 32)
    save_file({**state, "encoder.pos_embedding": torch.cat([grid[:, :1], grid], 1)}, tmp_path / "small.safetensors")
    other = make_encoder(config("vit_b_16", tmp_path / "small.safetensors"))
    place = other.rows[0].position[0, 1:, 0].unflatten(0, (14, 14))
    assert (place.diff(dim=0) >= -1e-4).all()
    assert (place.diff(dim=1) >= -1e-4).all()
    assert place.diff(dim=1).mean() > 5 * place.diff(dim=0).mean()
    with pytest.raises(RecipeError, match="a multiple of 16"):
        encoder(torch.randn(1, 3, 60, 60))


@pytest.mark.parametrize("name", ["lite0", "mini_xception"])
def test_frames_of_a_batch_do_not_see_each_other_and_every_parameter_has_a_stage(name):
    for norm, weights in (("frozen", "package"), ("group", None)):
        encoder = make_encoder(Model(encoder=name, norm=norm, weights=weights)).train()
        x_BCHW = torch.randn(3, 3, 64, 64)
        torch.testing.assert_close(encoder(x_BCHW)[:1], encoder(x_BCHW[:1]), rtol=1e-4, atol=1e-4)
        assert set(stages(encoder).values()) == set(range(STAGES))
        assert len(stages(encoder)) == len(list(encoder.parameters()))


def test_weights_that_were_asked_for_come_from_torchvision(tmp_path, monkeypatch):
    """Its cache stands for its site: the same code finds the file there."""
    torch.manual_seed(0)
    there = models.resnet18().eval()
    weights = models.get_model_weights("resnet18").DEFAULT
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    torch.save(there.state_dict(), cache / Path(weights.url).name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    encoder = make_encoder(config("resnet18", "torchvision")).eval()
    x_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x_BCHW), features("resnet18", there, x_BCHW), rtol=1e-4, atol=1e-5)


def test_a_site_that_does_not_answer_is_said(tmp_path, monkeypatch):
    weights = models.get_model_weights("resnet18")
    nowhere = weights.DEFAULT.url.replace("https://download.pytorch.org", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(type(weights.DEFAULT), "url", nowhere)
    with pytest.raises(CheckpointError, match=r"cannot be fetched from torchvision.*model.weights"):
        make_encoder(config("resnet18", "torchvision"))


def test_frozen_statistics_stay(tmp_path):
    save_file(models.resnet18().state_dict(), tmp_path / "w.safetensors")
    encoder = make_encoder(config("resnet18", tmp_path / "w.safetensors")).train()
    before = {name: tensor.clone() for name, tensor in encoder.named_buffers()}
    encoder(torch.randn(4, 3, 64, 64)).sum().backward()
    assert before
    for name, tensor in encoder.named_buffers():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_our_own_names_and_what_does_not_fit(tmp_path):
    encoder = make_encoder(Model())
    save_file(encoder.state_dict(), tmp_path / "own.safetensors")
    again = make_encoder(Model(weights=str(tmp_path / "own.safetensors")))
    torch.testing.assert_close(again.stem[0].weight, encoder.stem[0].weight)
    with pytest.raises(CheckpointError, match="do not fit the encoder `resnet18`"):
        make_encoder(config("resnet18", tmp_path / "own.safetensors"))
    with pytest.raises(CheckpointError, match="not there"):
        make_encoder(config("tiny", tmp_path / "none.safetensors"))
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        make_encoder(config("tiny", tmp_path / "text.safetensors"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"weights": "torchvision"}, "no weights for the encoder `tiny`"),
        ({"encoder": "resnet18", "weights": "torchvision"}, "set model.norm to frozen"),
        ({"encoder": "resnet18", "norm": "frozen"}, "give model.weights or init"),
    ],
)
def test_weights_and_normalisation_must_fit(model, message):
    with pytest.raises(ValidationError, match=message):
        Recipe(name="a", shards="s", runs="r", method="aunce", model=model)


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "resnet18",
        pytest.param("swin_t", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
    ],
)
def test_what_is_computed_again_has_the_same_gradient(name):
    """To the bit, stochastic depth included, and with less kept."""
    torch.manual_seed(0)
    has = name in ("swin_t", "convnext_tiny")
    encoder = make_encoder(Model(encoder=name, drop_path=0.3 if has else 0)).train()
    x_BCHW = torch.randn(2, 3, 64, 64)
    found, kept = [], []
    for whether in (False, True):
        recompute(encoder, whether)
        encoder.zero_grad()
        sizes = []
        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: (sizes.append(x.numel()), x)[1], lambda x: x
        ):
            loss = encoder(x_BCHW).square().mean()
        loss.backward()
        found.append([parameter.grad.clone() for parameter in encoder.parameters()])
        kept.append(sum(sizes))
    for again, first in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert kept[1] < kept[0] / 3


def test_what_was_evaluated_is_not_computed_again():
    """A set that is skipped goes forward in evaluation, backward in training: stochastic depth would differ."""
    encoder = make_encoder(Model(encoder="swin_t", drop_path=0.5))
    recompute(encoder, True)
    loss = encoder.eval()(torch.randn(2, 3, 64, 64)).square().mean()
    encoder.train()
    (0.0 * loss).backward()
    assert all(not parameter.grad.any() for parameter in encoder.parameters())


@pytest.mark.parametrize("name", ["tiny", "resnet18", "swin_t", "convnext_tiny"])
def test_every_parameter_of_an_encoder_has_a_stage(name):
    encoder = make_encoder(Model(encoder=name))
    found = stages(torch.nn.ModuleDict({"encoder": encoder, "head": torch.nn.Linear(3, 3)}))
    assert set(found) == {f"encoder.{parameter}" for parameter, _ in encoder.named_parameters()}
    assert sorted(set(found.values())) == list(range(STAGES))
    assert list(found.values()) == sorted(found.values())


def test_earlier_stages_learn_more_slowly():
    shares = rate_shares({"a": 0, "b": 3, "c": 4}, Optim(encoder=0.5, layer_decay=0.1))
    assert shares == {"a": pytest.approx(0.5e-4), "b": pytest.approx(0.05), "c": 0.5}
