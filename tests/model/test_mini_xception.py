"""The small Xception: the numbers that its file's own description gives, and what else an encoder must be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from au_dist.config.sections import Model
from au_dist.core.colours import MEAN_C, STD_C
from au_dist.model.encoders import make_encoder
from au_dist.model.mini_xception import GREY_C, WEIGHTS
from au_dist.model.network import AUNetwork

REFERENCE = Path(__file__).parents[1] / "reference" / "mini_xception_package.npz"

PRETRAINED = Model(encoder="mini_xception", weights="package", norm="frozen")


def seen(grey_BCHW):
    """Views whose grey is that: all colours alike."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN_C, STD_C))
    return ((grey_BCHW + 1) / 2 - mean) / std


@pytest.mark.parametrize(("used", "name"), [(5, "features_BCHW"), (4, "middle_BCHW")])
def test_features_are_those_of_the_file(used, name):
    expected_BCHW = torch.from_numpy(np.load(REFERENCE)[name])
    place = np.arange(2 * 64 * 64, dtype=np.float64)
    grey_BCHW = torch.from_numpy(np.sin(place * place * 1e-3 + place * 0.37).astype(np.float32).reshape(2, 1, 64, 64))
    encoder = make_encoder(PRETRAINED.model_copy(update={"stages": used})).eval()
    with torch.no_grad():
        token_BSC = encoder(seen(grey_BCHW))
    torch.testing.assert_close(token_BSC, expected_BCHW.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "cells"), [(48, 9), (56, 16), (64, 16), (112, 49), (65, 16)])
def test_the_grid_is_a_16th_of_the_side(size, cells):
    with torch.no_grad():
        assert make_encoder(PRETRAINED)(torch.zeros(1, 3, size, size)).shape == (1, cells, 128)


def test_colours_weigh_as_much_as_they_are_bright():
    encoder = make_encoder(PRETRAINED).eval()
    x_BCHW = torch.rand(2, 3, 64, 64)
    grey_BCHW = (x_BCHW * torch.tensor(GREY_C)[:, None, None]).sum(1, keepdim=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN_C, STD_C))
    with torch.no_grad():
        torch.testing.assert_close(
            encoder((x_BCHW - mean) / std), encoder(seen(2 * grey_BCHW - 1)), rtol=1e-4, atol=1e-4
        )
    assert sum(GREY_C) == pytest.approx(1)


def test_gradients_reach_the_first_layer():
    network = AUNetwork(PRETRAINED, 3, 64).train()
    network(torch.randn(4, 3, 64, 64)).square().sum().backward()
    assert network.encoder.rows[0][0].weight.grad.abs().sum() > 0


def test_its_weights_need_their_statistics_and_their_licence_is_beside_them():
    with pytest.raises(ValidationError, match="need their statistics"):
        Model(encoder="mini_xception", weights="package")
    assert "MIT License" in WEIGHTS.with_suffix(".LICENSE").read_text()
