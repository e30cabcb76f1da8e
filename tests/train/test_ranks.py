"""Two processes find what one finds, and decide together; the quick part of what test_tasks and test_loop check."""

import itertools
from typing import Any

import pytest
import torch
from rank_jobs import KINDS, contrast, everything, exact
from spawn import spawn

from au_dist.core.seeds import torch_seed
from au_dist.dist.world import World
from au_dist.train.plan import learning_rate

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return spawn(2, everything)


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_have_the_loss_and_the_gradient_of_one(ranks, kind):
    alone = contrast(ALONE, kind)
    assert all(gradient.abs().max() > 1e-4 for gradient in alone["gradients"])
    for rank in ranks:
        # The loss itself is in float32.
        torch.testing.assert_close(rank["contrast"][kind], alone, rtol=1e-5, atol=1e-7)


def test_what_is_gathered_or_added_up_has_the_gradient_of_every_rank(ranks):
    alone = exact(ALONE)
    for rank in ranks:
        torch.testing.assert_close(rank["exact"], alone, rtol=1e-12, atol=1e-12)
        assert rank["objects"] == [0, 1]


def test_a_run_validates_on_time_and_at_its_end(ranks):
    for rank in ranks:
        run = rank["whole"]
        assert [row["step"] for row in run["rows"] if "val_auc" in row] == run["saved"] == [3, 6, 7]
        assert run["reported"] == [3, 6, 7]
        assert [row["step"] for row in run["rows"] if "lr" in row] == list(range(1, 8))
        rates = [learning_rate(step, 1.0, 2, 7) for step in range(7) for _ in range(2)]
        assert [rate for rate, _ in run["learnt"]] == pytest.approx(rates)
        # Contrast sets are numbered through the run; their loss is their number here.
        assert [loss for _, loss in run["learnt"]] == list(range(14))
        assert [row["loss"] for row in run["rows"] if "lr" in row] == [2 * step + 0.5 for step in range(7)]


def test_what_layers_draw_belongs_to_the_contrast_set(ranks):
    """On every rank, whatever was learnt before: so that a resumed run draws what one that never stopped does."""
    expected = {}
    for number in range(14):
        torch.manual_seed(torch_seed(4, "layers", number))
        expected[number] = float(torch.rand(()))
    for rank, run in itertools.product(ranks, ("whole", "broken")):
        assert rank[run]["drawn"] == expected
    assert len({*expected.values()}) == 14


def test_all_ranks_stop_after_the_step_in_which_one_of_them_was_asked_to(ranks):
    """Rank 1 is asked in the last contrast set of step 4; rank 0 never is."""
    for rank in ranks:
        run = rank["asked"]
        assert [row["step"] for row in run["rows"] if "lr" in row] == [1, 2, 3, 4]
        assert run["saved"] == [3, 4]
        assert run["reported"] == [3]  # what was not validated is no news


def test_all_ranks_stop_at_once_and_store_nothing(ranks):
    for rank in ranks:
        run = rank["dropped"]
        assert [row["step"] for row in run["rows"] if "lr" in row] == [1, 2, 3, 4]
        assert run["saved"] == run["reported"] == [3]


def test_all_ranks_skip_what_has_no_loss_on_one_of_them(ranks):
    for rank in ranks:
        run = rank["broken"]
        assert [loss for _, loss in run["learnt"]][:7] == [0, 1, 0, 3, 0, 0, 6]
        # A step of which nothing is left has no learning rate; one of which a part is left has its own.
        assert [rate > 0 for rate, _ in run["learnt"]][:7] == [True, True, True, True, True, False, True]
        skipped = {row["step"]: row["skipped_clips"] for row in run["rows"] if "skipped_clips" in row}
        assert skipped == {2: ["clip-2-0", "clip-2-1"], 3: [f"clip-{n}-{k}" for n in (4, 5) for k in (0, 1)]}
        assert [row.get("loss") for row in run["rows"] if "lr" in row][:3] == [0.5, 3.0, None]
