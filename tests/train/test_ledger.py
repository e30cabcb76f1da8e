"""The ledger says where in the order each clip was, whoever read it and however often."""

import torch

from au_dist.data.batches import ClipBatch
from au_dist.data.order import lanes_of
from au_dist.storage.store import open_store
from au_dist.train.ledger import FOLDER, Ledger, read_ledger

LANES, TAKE = 4, 2


def batches(rank, world, first, count):
    """Batches of a rank whose clips are named by their place."""
    nothing = torch.zeros(0)
    for number in range(first, first + count):
        places = [(lane, number * TAKE + k) for lane in lanes_of(rank, world, LANES) for k in range(TAKE)]
        ids = tuple(f"{lane}/{position}" for lane, position in places)
        yield ClipBatch(ids, tuple(position // 5 for _, position in places), nothing, nothing, nothing, nothing)


def noted(run, world, first, *counts):
    """Note sets on each rank, and write after each count."""
    for rank in range(world):
        ledger = Ledger(run, rank, world, lanes_of(rank, world, LANES), TAKE, first)
        stream = ledger.noting(batches(rank, world, first, sum(counts)))
        for count in counts:
            for _ in range(count):
                next(stream)
            ledger.write()


def check(table, sets):
    rows = table.to_pylist()
    assert [(row["set"], row["lane"], row["position"]) for row in rows] == [
        (number, lane, number * TAKE + k) for number in range(sets) for lane in range(LANES) for k in range(TAKE)
    ]
    assert all(row["clip"] == f"{row['lane']}/{row['position']}" for row in rows)
    assert all(row["epoch"] == row["position"] // 5 for row in rows)


def test_every_clip_is_noted_at_its_place_in_the_order(tmp_path):
    run = open_store(tmp_path)
    noted(run, 2, 0, 3, 4)
    assert len(run.list(FOLDER)) == 4
    check(read_ledger(run), 7)


def test_what_is_done_again_on_other_workers_stands_once(tmp_path):
    run = open_store(tmp_path)
    noted(run, 2, 0, 3, 2)
    noted(run, 4, 3, 5)
    check(read_ledger(run), 8)


def test_nothing_is_written_without_a_set_and_nothing_is_read_without_a_ledger(tmp_path):
    run = open_store(tmp_path)
    noted(run, 1, 0, 0)
    assert run.list() == []
    assert read_ledger(run).num_rows == 0
