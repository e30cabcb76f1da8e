"""Released weights give here what they gave where they came from."""

import argparse
import pickle

import pytest
import torch
import torch.nn.functional as F
from official import embeddings, random_vit, random_weights, vit_logits

from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError
from au_dist.dist.world import World
from au_dist.methods.detection import DETECTION
from au_dist.model.network import AUNetwork, PooledNetwork
from au_dist.recipes.recipe import Recipe
from au_dist.runs.published import as_network, read_published

#: Colours from 0 to 1; how AUNCE centred them.
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def detector(found):
    """The detector of this project with the imported weights, none missing, none too many."""
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "shards": "none",
            "runs": "none",
            "task": "detection",
            "data": {"size": found.size},
            "model": {**found.model.model_dump(), "weights": "none"},
        }
    )
    parts = recipe.parts(found.num_aus, (0.5,) * found.num_aus, World(0, 1, torch.device("cpu")), fresh=False)
    module = DETECTION.learner().module(parts).eval()
    missing, strange = module.load_state_dict(found.weights, strict=False)
    assert not strange
    assert all(name.startswith("heads.") and not found.calls for name in missing)
    return module


def centred(colour, mean, std):
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (colour - mean) / std


@pytest.fixture(scope="module")
def colour():
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(5))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("size", "num_aus", "shared"), [("swin_t", 5, 768)])
def test_a_pretraining_of_aunce_has_its_embeddings(size, num_aus, shared, colour):
    check_aunce(size, num_aus, shared, colour)


@pytest.mark.slow
@torch.no_grad()
def test_aunce_at_full_size_has_its_embeddings(colour):
    check_aunce("swin_b", 12, 1024, colour[:1])


def check_aunce(size, num_aus, shared, colour):
    weights = random_weights(size, num_aus, shared)
    right = embeddings(weights, centred(colour, *CIFAR), size)
    found = as_network("aunce", {f"module.{name}": tensor for name, tensor in weights.items()})
    assert (found.calls, found.left, found.num_aus) == (False, (), num_aus)
    mine = detector(found).network(centred(colour, MEAN_C, STD_C))
    assert right.std() > 1e-3
    torch.testing.assert_close(mine, right, rtol=0, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("layers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_classifiers_of_aunce_are_pairs_of_logits(layers, colour):
    """Of its linear evaluation one layer beside the network; of its supervised form two, in it."""
    weights, width = random_weights("swin_t", 4, 768), 768
    z = embeddings(weights, centred(colour, *CIFAR), "swin_t")
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, width)] if layers == 1 else [(8, width), (2, 8)]
    drawn = [
        [(torch.randn(*shape, generator=generator), torch.randn(shape[0], generator=generator)) for shape in shapes]
        for _ in range(4)
    ]
    place = "fc" if layers == 1 else "full_connect.fc"
    right = []
    for au, rows in enumerate(drawn):
        out = z[:, au]
        for number, (weight, bias) in enumerate(rows):
            weights |= {f"{place}.{au}.{number}.weight": weight, f"{place}.{au}.{number}.bias": bias}
            out = out @ weight.T + bias
        right.append(out.softmax(1)[:, 0])
    if layers == 1:
        weights = {name if name.startswith("fc.") else f"f.{name}": tensor for name, tensor in weights.items()}
    found = as_network("aunce", weights)
    assert found.left == ()
    mine = detector(found).probabilities(centred(colour, MEAN_C, STD_C))
    torch.testing.assert_close(mine, torch.stack(right, 1), rtol=0, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("kind", ["me-graphau", pytest.param("opengraphau", marks=pytest.mark.slow)])
def test_classes_of_me_graphau_are_called_from_a_cosine_of_one_half(kind, colour):
    linears, place = (
        ("head.class_linears", "head.sc") if kind == "me-graphau" else ("head.main_class_linears", "head.main_sc")
    )
    weights = random_weights("swin_t", 4, 384, linears)
    weights[place] = torch.randn(4, 384, generator=torch.Generator().manual_seed(2))
    if kind == "opengraphau":
        weights["head.sub_sc"] = torch.randn(14, 384)
    x = centred(colour, MEAN_C, STD_C)
    cosine = (embeddings(weights, x, "swin_t", linears) * F.normalize(weights[place].relu(), dim=1)).sum(2)
    found = as_network(kind, weights)
    assert found.left == ()
    assert ("14 classifiers" in " ".join(found.notes)) == (kind == "opengraphau")
    mine = detector(found).probabilities(x)
    torch.testing.assert_close(mine, torch.sigmoid(4 * (cosine - 0.5)), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_resnet_is_taken_with_its_statistics(colour):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    body = resnet18().eval()
    for module in body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    rest = {
        name: tensor for name, tensor in random_weights("swin_t", 3, 128).items() if not name.startswith("backbone")
    }
    rest["global_linear.fc.weight"] = torch.randn(128, 512) * 0.05
    weights = rest | {f"backbone.{name}": tensor for name, tensor in body.state_dict().items()}
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith("backbone.fc.")}
    weights["head.sc"] = torch.rand(3, 128)
    found = as_network("me-graphau", weights)
    assert (found.model.encoder, found.model.norm, found.left) == ("resnet18", "frozen", ())
    x = centred(colour, MEAN_C, STD_C)
    tokens = torch.nn.Sequential(*list(body.children())[:-2])(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(detector(found).network.encoder(x), tokens, rtol=0, atol=1e-4)


def weights_of(change):
    weights = random_weights("swin_t", 3, 384)
    weights["head.sc"] = torch.rand(3, 384)
    change(weights)
    return weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.clear() or w.update(a=torch.zeros(1)), "no network of me-graphau"),
        (lambda w: w.pop("head.gnn.U.bias"), "A weight is not in the checkpoint.*U.bias"),
        (lambda w: w.pop("head.sc"), "head.sc"),
        (lambda w: w.update({"head.edge_extractor.FAM.linear_k.weight": torch.zeros(1)}), "second stage of ME-GraphAU"),
        (lambda w: [w.pop(k) for k in list(w) if "layers.2.blocks.5" in k], "no known size"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("backbone")], "encoder in this checkpoint is not known"),
    ],
    ids=["nothing", "a bias", "classes", "edges", "a block", "encoder"],
)
def test_what_is_no_such_network_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        as_network("me-graphau", weights_of(change))


def test_what_was_released_as_something_else_is_no_network_of_another():
    """Its colours were centred otherwise: every number would be wrong."""
    with pytest.raises(CheckpointError, match=r"Expected 768 of 768 channels\. Found 384"):
        as_network("aunce", weights_of(lambda w: None))


def test_what_has_no_place_is_named():
    found = as_network("me-graphau", weights_of(lambda w: w.update({"backbone.extra.weight": torch.zeros(1)})))
    assert found.left == ("backbone.extra.weight",)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the file was run as a program",))


def test_a_file_is_never_run_as_a_program(tmp_path):
    path = tmp_path / "weights.pth"
    for whole in (
        {"state_dict": {"a": torch.ones(2)}, "epoch": 3},
        {"a": torch.ones(2)},
        {"model": {"a": torch.ones(2)}},
    ):
        torch.save(whole, path)
        assert read_published(path)["a"].tolist() == [1, 1]
    for bad in (Bomb(), {"epoch": 3}, [1, 2]):
        torch.save(bad, path)
        with pytest.raises(CheckpointError, match=r"cannot be read as tensors|no weights by name"):
            read_published(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        read_published(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_published(tmp_path / "absent.pth")


def test_the_layer_that_branches_share_is_there_when_asked_for():
    from au_dist.config.sections import Model

    plain = AUNetwork(Model(embed_dim=8), 3, 32)
    shared = AUNetwork(Model(embed_dim=8, shared_dim=10), 3, 32)
    assert not [name for name in plain.state_dict() if name.startswith("shared")]
    assert shared.squeeze.in_features == 10
    assert shared(torch.rand(4, 3, 32, 32)).shape == (4, 3, 8)


@pytest.mark.slow
@torch.no_grad()
def test_fmae_has_its_logits(colour):
    weights = random_vit(768, 12, 8)
    x = centred(colour[:1], MEAN_C, STD_C)
    found = as_network("fmae", {**weights, "ID_head.weight": torch.zeros(384, 768), "ID_head2.bias": torch.zeros(41)})
    assert (found.calls, found.left, found.num_aus, found.model.encoder) == (True, (), 8, "vit_b_16")
    assert found.numbering == "part"
    assert "identities" in " ".join(found.notes)
    right = vit_logits(weights, x, 12)
    assert right.std() > 0.1
    torch.testing.assert_close(detector(found).logits(x), right, rtol=0, atol=1e-5)


def on_meta(channels, depth, classes):
    """The names and shapes of a network that would be large."""
    small = {name: tensor.to("meta") for name, tensor in random_vit(channels, 1, classes).items()}
    block = {name.partition("blocks.0.")[2]: tensor for name, tensor in small.items() if name.startswith("blocks.0.")}
    return small | {f"blocks.{n}.{name}": tensor for n in range(1, depth) for name, tensor in block.items()}


@pytest.mark.parametrize(("channels", "depth", "encoder"), [(768, 12, "vit_b_16"), (1024, 24, "vit_l_16")])
def test_all_weights_of_fmae_have_a_place(channels, depth, encoder):
    found = as_network("fmae", on_meta(channels, depth, 12))
    assert (found.model.encoder, found.left) == (encoder, ())
    with torch.device("meta"):
        there = PooledNetwork(found.model, 12).state_dict()
    mine = {name.removeprefix("network."): tensor.shape for name, tensor in found.weights.items()}
    assert {name: tensor.shape for name, tensor in there.items()} == {k: v for k, v in mine.items() if "heads" not in k}


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({"backbone.x": torch.zeros(1)}, "no network of fmae"),
        (on_meta(384, 12, 12), "12 blocks of 384 channels"),
        ({k: v for k, v in on_meta(768, 12, 12).items() if k != "blocks.7.attn.qkv.bias"}, "blocks.7.attn.qkv.bias"),
    ],
    ids=["other", "small", "torn"],
)
def test_what_is_no_fmae_is_said(weights, match):
    with pytest.raises(CheckpointError, match=match):
        as_network("fmae", weights)


def test_arguments_beside_weights_are_no_program(tmp_path):
    torch.save({"model": {"a": torch.ones(2)}, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    assert read_published(tmp_path / "a.pth").keys() == {"a"}
