"""EfficientNet-Lite0: the numbers of the package that its weights come from, and what else an encoder must be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from au_dist.config.sections import Model
from au_dist.core.colours import MEAN_C, STD_C
from au_dist.core.errors import CheckpointError
from au_dist.model import lite0
from au_dist.model.encoder import stages
from au_dist.model.encoders import make_encoder
from au_dist.model.network import AUNetwork

REFERENCE = Path(__file__).parents[1] / "reference" / "lite0_package.npz"

PRETRAINED = Model(encoder="lite0", weights="package", norm="frozen")


@pytest.fixture(scope="module")
def encoder():
    return make_encoder(PRETRAINED).eval()


def seen(colour_BCHW):
    """Colours as that package has them, as views have them here."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN_C, STD_C))
    return (colour_BCHW * lite0.SPAN + lite0.MIDDLE - mean) / std


def test_features_are_those_of_the_package(encoder):
    expected_BCHW = torch.from_numpy(np.load(REFERENCE)["features_BCHW"])
    place = np.arange(2 * 3 * 64 * 64, dtype=np.float64)
    x_BCHW = torch.from_numpy(np.sin(place * place * 1e-3 + place * 0.37).astype(np.float32).reshape(2, 3, 64, 64))
    with torch.no_grad():
        token_BSC = encoder(seen(x_BCHW))
    torch.testing.assert_close(token_BSC, expected_BCHW.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "cells"), [(56, 4), (64, 4), (112, 16), (70, 9)])
def test_the_grid_is_a_32nd_of_the_side(encoder, size, cells):
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, size, size)).shape == (1, cells, 320)


@pytest.mark.parametrize(("used", "cells", "channels"), [(4, 16, 112), (2, 256, 24), (1, 1024, 16)])
def test_fewer_stages_are_the_first_of_all(encoder, used, cells, channels):
    x_BCHW = expected_BCHW = torch.randn(2, 3, 64, 64)
    fewer = make_encoder(PRETRAINED.model_copy(update={"stages": used})).eval()
    with torch.no_grad():
        for part in encoder.parts()[:used]:
            expected_BCHW = part(expected_BCHW)
        token_BSC = fewer(seen(x_BCHW))
    torch.testing.assert_close(token_BSC, expected_BCHW.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)
    assert token_BSC.shape == (2, cells, channels)
    assert fewer.channels == channels
    assert set(stages(fewer).values()) == set(range(used))


def test_statistics_stay_and_gradients_reach_the_first_layer():
    network = AUNetwork(PRETRAINED, 3, 64).train()
    before = {name: tensor.clone() for name, tensor in network.encoder.named_buffers()}
    network(torch.randn(4, 3, 64, 64)).square().sum().backward()
    assert len(before) > 100
    for name, tensor in network.encoder.named_buffers():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert network.encoder.rows[0][0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder": "lite0", "weights": "package"}, "need their statistics: set model.norm to frozen"),
        ({"encoder": "lite0", "weights": "torchvision", "norm": "frozen"}, "no weights for the encoder `lite0`"),
        ({"encoder": "resnet18", "weights": "package", "norm": "frozen"}, "no package has weights"),
    ],
)
def test_weights_that_there_are_not(model, message):
    with pytest.raises(ValidationError, match=message):
        Model(**model)


def test_other_weights_and_an_absent_package_are_said(monkeypatch):
    with pytest.raises(CheckpointError, match="no weights of EfficientNet-Lite0"):
        lite0.renamed({"_blocks.16._bn1.weight": torch.zeros(1)})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"not installed(?s:.)*au-dist\[lite0\]"):
        lite0.packaged()
