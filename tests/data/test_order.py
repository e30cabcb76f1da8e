"""The order is a permutation, does not depend on the worker count, and is reached without replay."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from au_dist.core.errors import RecipeError
from au_dist.data.order import Order, RowGroupRef, lanes_of

orders = st.builds(
    lambda sizes, seed, lanes, mix: Order(
        tuple(RowGroupRef(i % 3, i // 3, size) for i, size in enumerate(sizes)), seed, lanes, mix
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=20).filter(lambda sizes: sum(sizes) >= 8),
    st.integers(0, 5),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 5),
)


#: The same with weights, some of them 0.
weighted = st.builds(
    lambda order, seed: replace(order, weights=weights_of(order.clips, seed)), orders, st.integers(0, 99)
)


def weights_of(clips, seed):
    random = np.random.default_rng(seed)
    weights = random.gamma(0.5, 1.0, clips) * (random.random(clips) < 0.7)
    weights[0] += 1e-3
    return weights * ((weights > 0).sum() / weights.sum())


def clips_of(order, block, start=0, stop=10**9):
    rows = [(p.group.shard, p.group.group, int(row)) for p in order.slices(block) for row in p.rows()]
    assert len(rows) == block.clips
    line = [rows[k] for k in order.permutation(block)]
    return [(block.position + k, clip) for k, clip in enumerate(line) if start <= block.position + k < stop]


def stream_of(order, lane, start, stop):
    return [pair for block in order.stream((lane,), start, stop) for pair in clips_of(order, block, start, stop)]


def test_an_epoch_has_an_order_that_the_one_before_it_had_not():
    order = Order(tuple(RowGroupRef(0, i, 4) for i in range(16)), 0, 1, 1)
    blocks = [order.blocks(0, epoch) for epoch in (1, 2)]
    # Neither the row groups nor, within them, the clips.
    first, second = (
        [row_slice.group.group for block in epoch for row_slice in order.slices(block)] for epoch in blocks
    )
    assert sorted(first) == sorted(second)
    assert first != second
    within = [[order.permutation(block).tolist() for block in epoch] for epoch in blocks]
    assert within[0] != within[1]


@settings(max_examples=60)
@given(orders, st.integers(0, 3))
def test_an_epoch_is_a_permutation(order, epoch):
    seen = [clip for lane in range(order.lanes) for b in order.blocks(lane, epoch) for _, clip in clips_of(order, b)]
    want = [(g.shard, g.group, row) for g in order.groups for row in range(g.clips)]
    assert sorted(seen) == sorted(want)


@settings(max_examples=60)
@given(weighted, st.integers(0, 3))
def test_a_weighted_epoch_draws_each_clip_as_often_as_its_weight(order, epoch):
    seen = Counter(
        clip for lane in range(order.lanes) for b in order.blocks(lane, epoch) for _, clip in clips_of(order, b)
    )
    assert sum(seen.values()) == order.clips == (order.weights > 0).sum()
    line = [(g.shard, g.group, row) for g in order.groups for row in range(g.clips)]
    assert [seen[clip] for clip in line] == order.copies(epoch).tolist()
    assert (np.abs(order.copies(epoch) - order.weights) < 1 + 1e-9).all()


def test_over_epochs_each_clip_is_drawn_as_often_as_its_weight():
    order = Order((RowGroupRef(0, 0, 40),), 0, 1, 1, weights_of(40, 5))
    drawn = np.mean([order.copies(epoch) for epoch in range(4000)], axis=0)
    np.testing.assert_allclose(drawn, order.weights, atol=0.03)


def test_draws_of_one_clip_are_told_apart():
    order = Order((RowGroupRef(0, 0, 3), RowGroupRef(0, 1, 2)), 0, 1, 2, np.array([0.0, 3.0, 0.0, 2.0, 0.0]))
    (block,) = order.blocks(0, 0)
    found = {p.group.group: (p.rows().tolist(), p.repeats().tolist()) for p in order.slices(block)}
    assert found == {0: ([1, 1, 1], [0, 1, 2]), 1: ([0, 0], [0, 1])}


@settings(max_examples=60)
@given(st.one_of(orders, weighted))
def test_lanes_never_differ_by_more_than_a_clip(order):
    for epoch in range(6):
        ends = [order.before(lane, epoch) for lane in range(order.lanes)]
        assert max(ends) - min(ends) <= 1
        assert sum(ends) == epoch * order.clips


@settings(max_examples=60)
@given(st.one_of(orders, weighted), st.integers(0, 40), st.integers(1, 40))
def test_seeking_equals_reading_on(order, start, length):
    for lane in range(order.lanes):
        whole = stream_of(order, lane, 0, start + length)
        assert [position for position, _ in whole] == list(range(start + length))
        assert stream_of(order, lane, start, start + length) == whole[start:]


def test_blocks_of_several_lanes_come_as_they_are_needed():
    order = Order(tuple(RowGroupRef(0, i, 5) for i in range(24)), 0, 8, 2)
    positions = [block.position for block in order.stream((0, 2, 4, 6), 7, 60)]
    assert positions == sorted(positions)


def test_the_order_is_pinned():
    """Ten clips that must never change between versions: a resumed run depends on them."""
    order = Order(tuple(RowGroupRef(i % 2, i // 2, 7) for i in range(9)), 3, 4, 2)
    assert [clip for _, clip in stream_of(order, 1, 0, 10)] == PINNED


PINNED = [(0, 2, 3), (0, 4, 4), (0, 4, 1), (0, 2, 4), (0, 4, 3), (0, 4, 6), (0, 2, 6), (0, 2, 2), (0, 4, 2), (0, 2, 5)]


def test_seed_and_epoch_are_not_interchangeable():
    groups = tuple(RowGroupRef(0, i, 4) for i in range(16))
    one, two = Order(groups, 0, 1, 4), Order(groups, 1, 1, 4)
    assert [clips_of(one, b) for b in one.blocks(0, 1)] != [clips_of(two, b) for b in two.blocks(0, 0)]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_ranks_share_all_lanes(world):
    dealt = [lane for rank in range(world) for lane in lanes_of(rank, world, 8)]
    assert sorted(dealt) == list(range(8))


def test_a_worker_count_that_does_not_fit_is_refused_with_those_that_do():
    with pytest.raises(RecipeError, match=r"one of 1, 2, 4, 8 workers"):
        lanes_of(0, 3, 8)


def test_mixing_spreads_neighbours():
    """With a mix of several row groups, neighbours in the stream seldom come from one row group."""
    order = Order(tuple(RowGroupRef(0, i, 16) for i in range(64)), 0, 1, 8)
    line = [clip[1] for _, clip in stream_of(order, 0, 0, 1024)]
    assert np.mean(np.diff(line) == 0) < 0.2
