"""Predictive coding against the official numbers, and its invariances."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from au_dist.model import tiles_plain
from au_dist.model.predictive import ConvGRU, cells, foresee, make_predictor, prediction_terms, prediction_terms_within

REFERENCE = Path(__file__).parents[1] / "reference" / "dpc_official.npz"
GATES = {"update_gate": "update", "reset_gate": "reset", "out_gate": "out"}


def loss_of(found_BPCHW, target_BPCHW, **options):
    query, key = cells(found_BPCHW), cells(target_BPCHW)
    return prediction_terms(query, key, torch.arange(len(query)), **options).mean()


def dense_loss(found_BPCHW, target_BPCHW, temperature=1.0):
    query, key = cells(found_BPCHW), cells(target_BPCHW)
    return F.cross_entropy(query @ key.T / temperature, torch.arange(len(query)))


def test_it_equals_the_official_code():
    data = {name: torch.from_numpy(value) for name, value in np.load(REFERENCE).items()}
    features, steps = data["features_BNCHW"].requires_grad_(), int(data["pred_steps"])
    channels = features.shape[2]
    model = nn.ModuleDict({"memory": ConvGRU(channels), "predictor": make_predictor(channels)})
    names = {
        f"gru/{theirs}.{part}": f"memory.{mine}.{part}" for theirs, mine in GATES.items() for part in ("weight", "bias")
    }
    names |= {
        f"predictor/{layer}.{part}": f"predictor.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")
    }
    model.load_state_dict({mine: data[theirs] for theirs, mine in names.items()})
    found = foresee(model["memory"], model["predictor"], features[:, :-steps], steps)
    torch.testing.assert_close(found, data["pred_BPCHW"], rtol=1e-5, atol=1e-6)
    loss = loss_of(found, features[:, -steps:])
    loss.backward()
    assert loss.item() == pytest.approx(float(data["loss"]), rel=1e-6)
    pairs = [(features.grad, data["grad_features"])]
    pairs += [
        (model.get_parameter(names[f"gru/{theirs}.{part}"]).grad, data[f"gru_grad/{theirs}.{part}"])
        for theirs in GATES
        for part in ("weight", "bias")
    ]
    for mine, official in pairs:
        assert (mine - official).norm() <= 1e-5 * official.norm()


def test_chance_is_the_logarithm_of_the_number_of_cells():
    zero = torch.zeros(4, 3, 8, 4, 4)
    assert loss_of(zero, zero).item() == pytest.approx(math.log(4 * 3 * 16))


@pytest.mark.parametrize("temperature", [1.0, 0.07])
def test_tiles_equal_the_dense_form(monkeypatch, temperature):
    monkeypatch.setattr(tiles_plain, "TILE_ROWS", 7)
    monkeypatch.setattr(tiles_plain, "TILE_COLUMNS", 11)
    generator = torch.Generator().manual_seed(0)
    gradients = []
    for form in (lambda a, b: loss_of(a, b, temperature=temperature), lambda a, b: dense_loss(a, b, temperature)):
        generator.manual_seed(0)
        found, target = (torch.randn(2, 2, 5, 3, 3, dtype=torch.float64, generator=generator) for _ in range(2))
        found.requires_grad_(), target.requires_grad_()
        loss = form(found, target)
        loss.backward()
        gradients.append((loss.detach(), found.grad, target.grad))
    for mine, dense in zip(*gradients, strict=True):
        assert (mine - dense).norm() <= 1e-10 * dense.norm()


def test_length_does_not_matter_when_normalised():
    found, target = torch.randn(2, 2, 5, 3, 3), torch.randn(2, 2, 5, 3, 3)
    plain = loss_of(found, target, temperature=0.1, normalise=True)
    torch.testing.assert_close(loss_of(3 * found, 0.5 * target, temperature=0.1, normalise=True), plain)


def test_a_prediction_does_not_see_the_blocks_it_predicts():
    memory, predictor = ConvGRU(6), make_predictor(6)

    def model(seen, steps):
        return foresee(memory, predictor, seen, steps)

    features = torch.randn(1, 5, 6, 2, 2)
    changed = torch.cat([features[:, :3], torch.randn(1, 2, 6, 2, 2)], 1)
    torch.testing.assert_close(model(features[:, :3], 2), model(changed[:, :3], 2), rtol=0, atol=0)
    longer, shorter = model(features[:, :3], 3), model(features[:, :3], 1)
    torch.testing.assert_close(longer[:, :1], shorter)


def test_cells_do_not_mix():
    memory = ConvGRU(4).eval()
    x = torch.randn(1, 4, 2, 2)
    other = x.clone()
    other[..., 1, 1] += 1
    same = (memory(x) == memory(other)).all(1)[0]
    assert same.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("normalise", [False, True])
def test_within_clips_is_the_loss_of_each_clip_by_itself(normalise):
    query, key = torch.randn(2, 3, 10, 4, dtype=torch.float64)
    found = prediction_terms_within(query, key, temperature=0.3, normalise=normalise)
    for clip in range(3):
        alone = prediction_terms(query[clip], key[clip], torch.arange(10), temperature=0.3, normalise=normalise)
        torch.testing.assert_close(found[clip], alone)
