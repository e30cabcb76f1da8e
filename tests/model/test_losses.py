"""AUNCE against the official numbers, against NT-Xent, and its invariances."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dense_aunce import dense_aunce
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from au_dist.core.errors import TrainError
from au_dist.model import tiles_plain
from au_dist.model.losses import (
    LOWEST,
    Candidates,
    aunce_loss,
    aunce_terms,
    detection_terms,
    draw_kinds,
    intensity_terms,
)

REFERENCE = Path(__file__).parents[1] / "reference" / "aunce_official.npz"
CASES = ["all_max", "all_mean", "all_self", "mixed", "mixed_signed", "tau_0.07", "single_label_aus", "class_weights"]


def unit(*shape, seed=0):
    z = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(z, dim=-1)


def some_labels(n=12, a=3, seed=1):
    return (torch.rand(n, a, generator=torch.Generator().manual_seed(seed)) < 0.4).long()


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


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles that divide nothing evenly."""
    monkeypatch.setattr(tiles_plain, "TILE_ROWS", 5)
    monkeypatch.setattr(tiles_plain, "TILE_COLUMNS", 7)


def value_and_gradients(loss, z1, z2):
    z1, z2 = (z.detach().clone().requires_grad_() for z in (z1, z2))
    value = loss(z1, z2)
    value.backward()
    return value.detach(), z1.grad, z2.grad


def off(mine, reference):
    return max(((a - b).norm() / b.norm().clamp(min=1e-30)).item() for a, b in zip(mine, reference, strict=True))


@pytest.mark.usefixtures("small_tiles")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 24),
    st.integers(0, 1000),
    st.sampled_from(["released", "corrected"]),
    st.sampled_from([0.05, 0.5]),
    st.sampled_from(["au", "anchor"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_tiles_equal_the_dense_form(n, seed, mode, temperature, mixed, dtype):
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = (unit(n, 4, 6, seed=seed + view).to(dtype) for view in (1, 2))
    y = (torch.rand(n, 4, generator=generator) < torch.tensor([0.3, 0.05, 0.6, 0.5])).long()
    valid = torch.rand(n, 4, generator=generator) < 0.8
    minority = torch.tensor([1, 1, 0, 1])
    kinds = draw_kinds((1, 1, 1, 1), (2 * n, 4) if mixed == "anchor" else 4, generator)
    options = {"temperature": temperature, "mode": mode, "valid_NA": valid, "minority_A": minority}
    mine = value_and_gradients(lambda a, b: aunce_loss(a, b, y, kinds_A=kinds, **options), z1, z2)
    dense = value_and_gradients(lambda a, b: dense_aunce(a, b, y, kinds_NA=kinds, **options), z1, z2)
    assert off(mine, dense) < (1e-10 if dtype == torch.float64 else 1e-5) or max(g.abs().max() for g in mine) < 1e-12


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("mode", ["released", "corrected"])
def test_anchors_of_several_ranks_add_up_to_those_of_one(mode):
    z, y = unit(20, 3, 6), some_labels(20, 3)
    valid, kinds = torch.ones_like(y, dtype=torch.bool), torch.tensor([0, 1, 3])
    place = torch.arange(20)

    def loss(rows, anchors, candidates):
        return aunce_terms(
            Candidates(anchors[rows], y[rows], valid[rows]),
            Candidates(candidates, y, valid),
            place[rows],
            place.roll(10)[rows],
            kinds,
            torch.ones(3),
            temperature=0.3,
            beta=(0.8, 1.2),
            mode=mode,
        )[0].sum()

    def parts(a, c):
        return sum(loss(rows, a, c) for rows in (slice(0, 7), slice(7, 20)))

    together = value_and_gradients(lambda a, c: loss(slice(None), a, c), z, z)
    assert off(value_and_gradients(parts, z, z), together) < 1e-12


@pytest.mark.slow
def test_the_similarities_of_all_pairs_are_never_held(monkeypatch):
    """What a call allocates grows with N, not with its square."""
    from torch.profiler import ProfilerActivity, profile

    def most(n):
        z1, z2 = (unit(n, 2, 4, seed=view).requires_grad_() for view in (1, 2))
        y = some_labels(n, 2)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            aunce_loss(z1, z2, y, kinds_A=torch.tensor([0, 1])).backward()
        return max(event.self_cpu_memory_usage / event.count for event in seen.key_averages())

    monkeypatch.setattr(tiles_plain, "TILE_ROWS", 128)
    monkeypatch.setattr(tiles_plain, "TILE_COLUMNS", 128)
    assert most(512) < 5 * most(128)


def test_minus_one_is_unknown():
    z1, z2, y = unit(12, 3, 8, seed=4), unit(12, 3, 8, seed=5), some_labels()
    valid = some_labels(seed=7).bool()
    options = {"kinds_A": torch.ones(3, dtype=torch.long), "mode": "corrected"}
    masked = aunce_loss(z1, z2, y, valid_NA=valid, **options)
    torch.testing.assert_close(aunce_loss(z1, z2, torch.where(valid, y, -1), **options), masked)


@pytest.mark.parametrize("mode", ["released", "corrected"])
def test_without_any_known_label_the_loss_and_its_gradient_are_zero(mode):
    z1, z2 = unit(5, 3, 8).requires_grad_(), unit(5, 3, 8, seed=1)
    loss = aunce_loss(z1, z2, torch.full((5, 3), -1), mode=mode)
    loss.backward()
    assert loss == 0
    assert z1.grad.abs().max() == 0


def test_what_is_not_a_label_or_not_normalised_is_refused():
    z, y = unit(4, 3, 8), some_labels(4)
    with pytest.raises(TrainError, match=r"labels are none.*Found \[2.0\]"):
        aunce_loss(z, z, y + (y == 1))
    with pytest.raises(TrainError, match=r"not of length one.*normalize"):
        aunce_loss(z, 3 * z, y)
    with pytest.raises(TrainError, match="not of length one"):
        aunce_loss(z, z * float("nan"), y)
    with pytest.raises(TrainError, match="do not fit"):
        aunce_loss(z, z[:3], y)


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


def test_positive_frames_weigh_as_they_are_told_and_negative_ones_once():
    logit, weight = torch.zeros(2, 2), torch.tensor([3.0, 0.5])
    total, count = detection_terms(logit, torch.tensor([[1, 1], [0, 0]]), torch.ones(2, 2, dtype=torch.bool), weight)
    assert count == 4
    assert total.item() == pytest.approx((3 + 0.5 + 1 + 1) * np.log(2))


def test_an_unknown_intensity_teaches_nothing_whatever_stands_for_it():
    found = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    valid = torch.tensor([[True, False], [True, True]])
    total, count = intensity_terms(found, torch.tensor([[0.0, float("nan")], [5.0, 4.0]]), valid)
    total.backward()
    assert (total.item(), count.item()) == (1 + 4 + 0, 3)
    assert found.grad.tolist() == [[2, 0], [-4, 0]]
