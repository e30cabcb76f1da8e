"""AUNCE with a memory of past contrast sets."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from au_dist.dist.world import World
from au_dist.methods.aunce import Aunce
from au_dist.methods.learners.aunce import AunceLoss
from au_dist.model.losses import Candidates, aunce_mean, aunce_terms

IMAGES, AUS, WIDTH = 6, 3, 8
ALONE = World(0, 1, torch.device("cpu"))


def a_set(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings of two views, labels, and what is known of these."""
    generator = torch.Generator().manual_seed(seed)
    z_MAD = F.normalize(torch.randn(2 * IMAGES, AUS, WIDTH, generator=generator), dim=-1)
    y_BA, known_BA = torch.rand(2, IMAGES, AUS, generator=generator)
    return z_MAD, (y_BA < 0.5).float(), known_BA < 0.8


def loss_of(memory: int) -> AunceLoss:
    config = Aunce(memory=memory, positive_weights=(0, 1, 0, 0))
    return AunceLoss(config, torch.ones(AUS), 0, 1, ALONE, (IMAGES, WIDTH))


def expected(now: int, past: list[int]) -> torch.Tensor:
    """The loss of a set among the candidates of others, from its definition's own terms."""
    sets = [a_set(seed) for seed in (now, *past)]
    z_NAD = torch.cat([z_MAD for z_MAD, _, _ in sets])
    y_NA = torch.cat([y_BA.repeat(2, 1) for _, y_BA, _ in sets])
    valid_NA = torch.cat([valid_BA.repeat(2, 1) for _, _, valid_BA in sets])
    own = slice(0, 2 * IMAGES)
    index_M = torch.arange(2 * IMAGES)
    loss_MA, counts_MA = aunce_terms(
        Candidates(z_NAD[own], y_NA[own], valid_NA[own]),
        Candidates(z_NAD, y_NA, valid_NA),
        index_M,
        index_M.roll(IMAGES),
        torch.ones(AUS, dtype=torch.int64),
        torch.ones(AUS),
        temperature=0.5,
        beta=(0.8, 1.2),
        mode="corrected",
    )
    return aunce_mean(loss_MA.sum(0), counts_MA.sum(0), 2 * IMAGES, "corrected")


def test_the_last_sets_are_candidates_and_the_eldest_goes() -> None:
    loss = loss_of(2)
    for number, past in enumerate(([], [0], [1, 0], [2, 1], [3, 2])):
        torch.testing.assert_close(loss(*a_set(number), number), expected(number, past), msg=f"set {number}")


def test_past_embeddings_have_no_gradient_and_are_not_those_that_move() -> None:
    loss = loss_of(1)
    before, *labels = a_set(0)
    before.requires_grad_()
    first = loss(before, *labels, 0)
    now, *others = a_set(1)
    now.requires_grad_()
    loss(now, *others, 1).backward()
    assert before.grad is None
    assert now.grad is not None
    assert now.grad.abs().max() > 0
    first.backward()  # what the second set has put in its place was not written over
    assert before.grad is not None
    assert torch.isfinite(before.grad).all()


def test_a_run_that_is_taken_up_compares_with_what_it_would_have_compared_with() -> None:
    whole, part, later = loss_of(2), loss_of(2), loss_of(2)
    found = [whole(*a_set(number), number) for number in range(5)]
    for number in range(3):
        part(*a_set(number), number)
    later.load_state_dict(part.state_dict())
    assert [later(*a_set(number), number) for number in (3, 4)] == found[3:]


def test_a_set_that_is_no_number_is_not_met_again() -> None:
    loss = loss_of(2)
    broken, *labels = a_set(0)
    broken[3, 1, 2] = torch.nan
    loss(broken, *labels, 0)
    assert torch.isfinite(loss(*a_set(1), 1))
    assert torch.isfinite(loss.past_z_KMAD).all()
    assert not loss.past_valid_KMA[0, 3, 1]
    assert loss.past_valid_KMA[0].sum() == 2 * labels[1].sum() - int(labels[1][3, 1])


def test_what_is_not_trained_on_is_not_remembered() -> None:
    loss = loss_of(2)
    loss.eval()
    loss(*a_set(0), 0)
    loss.train()
    torch.testing.assert_close(loss(*a_set(1), 1), expected(1, []))


def test_without_a_memory_nothing_is_stored() -> None:
    assert not loss_of(0).state_dict()
    assert len(loss_of(1).state_dict()) == 3


def test_the_released_form_has_none() -> None:
    with pytest.raises(ValidationError, match="released has no memory"):
        Aunce(mode="released", memory=1)
