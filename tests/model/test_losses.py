"""AUNCE against the official numbers, against NT-Xent, and its invariances."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from au_dist.model.losses import LOWEST, aunce_loss, detection_terms, draw_kinds

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "aunce_official.npz"
CASES = ["all_max", "all_mean", "all_self", "mixed", "mixed_signed", "tau_0.07", "single_label_aus", "class_weights"]


def unit(*shape, seed=0):
    z = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(z, dim=-1)


def some_labels(n=12, a=3, seed=1):
    return (torch.rand(n, a, generator=torch.Generator().manual_seed(seed)) < 0.4).long()


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference numbers are not beside this checkout")
@pytest.mark.parametrize("case", CASES)
def test_released_mode_equals_the_official_code(case):
    data = np.load(REFERENCE)
    get = lambda key: torch.from_numpy(data[f"{case}/{key}"])  # noqa: E731
    z1, z2 = get("z1_NAD").requires_grad_(), get("z2_NAD").requires_grad_()
    weight = get("weight_A") if f"{case}/weight_A" in data else None
    temperature = float(data[f"{case}/tau"])
    kinds = get("kind_A").long()
    loss = aunce_loss(z1, z2, get("y_NA"), temperature=temperature, kinds_A=kinds, weight_A=weight)
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"{case}/loss"]), rel=1e-6)
    for mine, official in ((z1.grad, get("grad_z1_NAD")), (z2.grad, get("grad_z2_NAD"))):
        assert (mine - official).norm() <= 1e-5 * official.norm().clamp(min=1e-12)


def test_two_images_with_the_other_view_are_nt_xent():
    z1, z2 = unit(2, 1, 8, seed=2), unit(2, 1, 8, seed=3)
    loss = aunce_loss(z1, z2, torch.tensor([[0], [1]]), beta=(1, 1), kinds_A=torch.tensor([2]), mode="corrected")
    z = torch.cat([z1, z2])[:, 0]
    logits = (z @ z.T / 0.5).masked_fill(torch.eye(4, dtype=torch.bool), float("-inf"))
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([2, 3, 0, 1])))


@pytest.mark.parametrize("kind", range(4))
def test_unknown_labels_do_not_change_the_corrected_loss(kind):
    z1, z2, y = unit(12, 3, 8, seed=4), unit(12, 3, 8, seed=5), some_labels()
    kinds = torch.full((3,), kind)
    plain = aunce_loss(z1, z2, y, kinds_A=kinds, mode="corrected")
    valid = torch.cat([torch.ones(12, 3), torch.zeros(5, 3)]).bool()
    more = [torch.cat([z, unit(5, 3, 8, seed=6)]) for z in (z1, z2)]
    masked = aunce_loss(*more, torch.cat([y, some_labels(5)]), kinds_A=kinds, mode="corrected", valid_NA=valid)
    torch.testing.assert_close(masked, plain)


def test_an_action_unit_without_signal_is_left_out_of_the_corrected_mean():
    z1, z2, y = unit(12, 3, 8, seed=4), unit(12, 3, 8, seed=5), some_labels()
    kinds = torch.ones(3, dtype=torch.long)
    two = aunce_loss(z1[:, :2], z2[:, :2], y[:, :2], kinds_A=kinds[:2], mode="corrected")
    y[:, 2] = 0
    z1.requires_grad_()
    three = aunce_loss(z1, z2, y, kinds_A=kinds, mode="corrected")
    three.backward()
    torch.testing.assert_close(three, two)
    assert z1.grad[:, 2].abs().max() == 0
    assert torch.isfinite(z1.grad).all()


def test_the_minority_decides_the_exponent():
    z1, z2, y = unit(12, 2, 8, seed=4), unit(12, 2, 8, seed=5), some_labels(12, 2)
    kinds = torch.ones(2, dtype=torch.long)
    ones = aunce_loss(z1, z2, y, kinds_A=kinds, mode="corrected", minority_A=torch.tensor([1, 1]))
    swapped = aunce_loss(z1, z2, 1 - y, kinds_A=kinds, mode="corrected", minority_A=torch.tensor([0, 0]))
    torch.testing.assert_close(ones, swapped)
    other = aunce_loss(z1, z2, y, kinds_A=kinds, mode="corrected", minority_A=torch.tensor([0, 1]))
    assert abs(other - ones) > 1e-4


def test_the_lowest_positive_is_harder_than_the_mean():
    z1, z2, y = unit(12, 2, 8, seed=4), unit(12, 2, 8, seed=5), some_labels(12, 2)
    losses = [aunce_loss(z1, z2, y, kinds_A=torch.full((2,), kind), mode="corrected") for kind in (0, 1, LOWEST)]
    assert losses[0] < losses[1] < losses[2]


def test_small_temperatures_stay_finite():
    z1, z2 = unit(12, 3, 8).requires_grad_(), unit(12, 3, 8, seed=9)
    loss = aunce_loss(z1.float(), z2.float(), some_labels(), temperature=1e-3, mode="corrected")
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()


def test_odds_are_kept():
    kinds = draw_kinds((0.2, 0.5, 0.2, 0.1), 20000, torch.Generator().manual_seed(0))
    shares = torch.bincount(kinds, minlength=4) / 20000
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.5, 0.2, 0.1]), atol=0.02, rtol=0)


def test_detection_counts_known_labels_only():
    logit = torch.zeros(4, 2)
    valid = torch.tensor([[1, 0], [1, 1], [0, 0], [1, 0]]).bool()
    total, count = detection_terms(logit, torch.ones(4, 2), valid)
    assert count == 4
    assert total.item() == pytest.approx(4 * np.log(2))
