"""What a run tolerates is counted over places in contrast sets."""

import pytest
import torch

from au_dist.core.errors import TrainError
from au_dist.data.batches import ClipBatch
from au_dist.dist.world import World
from au_dist.train.error_budget import WINDOW, ErrorBudget

ALONE = World(0, 1, torch.device("cpu"))


def batch(*faults):
    nothing = torch.zeros(0)
    return ClipBatch(("a frame b/1", "c/1"), (0, 0), nothing, nothing, nothing, nothing, faults)


def test_a_clip_counts_each_time_it_is_drawn_and_once_for_all_its_frames():
    tolerance = ErrorBudget(skip=0.05, unreadable=0.01, contrast=2)
    damaged = batch("a frame b/1 frame 0: no JPEG", "a frame b/1 frame 3: no JPEG")
    for _ in range(2):
        assert tolerance.note(damaged, False, True, ALONE) == ((), damaged.faults)
        tolerance.check(1, 0.1)
    tolerance.note(damaged, False, True, ALONE)
    with pytest.raises(TrainError, match=r"3 of 200, e.g. a frame b/1 frame 3: no JPEG"):
        tolerance.check(2, 0.1)


def test_what_was_long_ago_is_forgotten():
    tolerance = ErrorBudget(skip=0.05, unreadable=0.0, contrast=2)
    tolerance.note(batch("c/1 frame 0: no JPEG"), True, True, ALONE)
    for _ in range(WINDOW):
        tolerance.note(batch(), False, False, ALONE)
    tolerance.check(3, 0.1)
