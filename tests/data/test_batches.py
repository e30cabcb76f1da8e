"""Lanes are put together as planned; frames and views belong to their address."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from queue import Queue
from threading import Event

import numpy as np
import pyarrow as pa
import pytest
import torch

from au_dist.config import Labels, Views
from au_dist.data.batches import Ahead, Reading, deal, decode, make_batch
from au_dist.data.labels import known
from au_dist.data.order import Order, lanes_of
from au_dist.data.pipeline import Source, read_block, training_groups
from au_dist.data.views import COLOURS, apply_views, choose_frames, choose_run, draw_view, draw_views, no_view
from au_dist.errors import ShardError, TrainError
from au_dist.shards import read_manifest


def source_of(shards, lanes=4):
    manifest = read_manifest(shards)
    groups = training_groups(manifest, tuple(manifest.subjects))
    return Source(shards, manifest, Order(groups, 3, lanes, 2), take=1, sets=20, cpus=0.5, prefetch=2)


def sets_of(source, rank, world, start, count):
    """Read contrast sets as a rank does, without Ray."""
    lanes = lanes_of(rank, world, source.order.lanes)
    stop = source.sets * source.take
    tables = (read_block(source, block, start) for block in source.order.stream(lanes, start, stop))
    dealt = deal(tables, lanes, start, source.take)
    return [[row["clip_id"] for row in next(dealt)] for _ in range(count)]


def test_every_world_size_sees_the_same_sets(shards):
    source = source_of(shards)
    alone = [sorted(ids) for ids in sets_of(source, 0, 1, 0, 20)]
    for world in (2, 4):
        parts = [sets_of(source, rank, world, 0, 20) for rank in range(world)]
        assert [sorted(chain.from_iterable(ids)) for ids in zip(*parts, strict=True)] == alone


@pytest.mark.parametrize("start", [1, 7, 8, 13])
def test_resuming_gives_exactly_what_is_left(shards, start):
    source = source_of(shards)
    assert sets_of(source, 1, 2, start, 20 - start) == sets_of(source, 1, 2, 0, 20)[start:]


def test_an_epoch_sees_each_clip_once(shards):
    source = source_of(shards)
    seen = list(chain.from_iterable(sets_of(source, 0, 1, 0, source.order.clips // 4)))
    assert len(set(seen)) == len(seen) == source.manifest.clips


def test_a_gap_in_a_lane_stops_the_run():
    table = pa.table({"lane": [0, 0], "position": [4, 6]})
    with pytest.raises(TrainError, match=r"lane 0.*Expected position 5"):
        next(deal(iter([table]), (0,), 4, 2))


def test_views_belong_to_their_address():
    one = draw_view(Views(), 1, 2, "clip", 0)
    np.testing.assert_array_equal(one, draw_view(Views(), 1, 2, "clip", 0))
    for other in (
        draw_view(Views(), 2, 1, "clip", 0),
        draw_view(Views(), 1, 2, "clip", 1),
        draw_view(Views(), 1, 2, "clop", 0),
    ):
        assert (one != other).any()


def test_frames_come_from_different_spans():
    for epoch in range(50):
        first, second = choose_frames(0, epoch, "clip", 8, 2)
        assert first < 4 <= second
    np.testing.assert_array_equal(choose_frames(0, 0, "clip", 3, 9), [0, 1, 2])


def test_the_plain_view_is_the_centre():
    frame = torch.randint(0, 256, (2, 3, 10, 10), dtype=torch.uint8)
    plain = apply_views(frame, torch.from_numpy(no_view()).expand(2, -1), 6)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    want = (frame[:, :, 2:8, 2:8] / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(plain, want, atol=1e-5, rtol=1e-5)


def test_a_view_does_not_depend_on_its_neighbours():
    frame = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    draws = torch.from_numpy(np.stack([draw_view(Views(), 0, 0, str(i), 0) for i in range(4)]))
    together = apply_views(frame, draws, 8)
    for index in range(4):
        alone = apply_views(frame[index : index + 1], draws[index : index + 1], 8)
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=1e-5)


def test_a_flip_mirrors():
    frame = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    flipped = no_view()
    flipped[2] = 1
    plain, mirror = (apply_views(frame, torch.from_numpy(d)[None], 8) for d in (no_view(), flipped))
    torch.testing.assert_close(mirror, plain.flip(3))


def rows_of(shards, count=3):
    source = source_of(shards)
    block = next(source.order.stream((0,), 0, 9))
    return read_block(source, block, 0).to_pylist()[:count]


def batch_of(rows, columns, **changes):
    reading = Reading(
        seed=1, columns=columns, aus=12, frames=2, run=False, intensities=False, labels=Labels(), views=2, draws=Views()
    )
    with ThreadPoolExecutor(2) as pool:
        return make_batch(rows, replace(reading, **changes), pool)


def test_a_run_follows_itself_and_holds_a_needed_frame():
    starts = set()
    for epoch in range(60):
        run = choose_run(0, epoch, "clip", 12, 5, np.array([3, 7]))
        assert np.diff(run).tolist() == [1] * 4
        assert {3, 7} & set(run.tolist())
        starts.add(int(run[0]))
    assert starts == set(range(8))
    assert choose_run(0, 0, "clip", 5, 5, np.array([2])).tolist() == [0, 1, 2, 3, 4]


def test_frames_share_their_view_but_for_their_colours():
    shared = draw_views(Views(), 1, 2, "clip", 0, 4)
    assert (shared == draw_view(Views(), 1, 2, "clip", 0)).all()
    own = draw_views(Views(each_frame=True), 1, 2, "clip", 0, 4)
    others = [column for column in range(own.shape[1]) if column not in COLOURS]
    np.testing.assert_array_equal(own[:, others], shared[:, others])
    assert len(np.unique(own[:, COLOURS[0]])) > 1


def test_a_clip_that_is_drawn_again_looks_different(shards):
    row = rows_of(shards, 1)[0]
    once, again = (batch_of([{**row, "copy": copy}], [0]) for copy in (0, 1))
    assert not torch.equal(once.draw_VBP, again.draw_VBP)
    assert row["copy"] == 0


def test_intensities_come_in_runs(shards):
    rows = rows_of(shards)
    batch = batch_of(rows, [5], frames=4, run=True, intensities=True, views=1)
    np.testing.assert_array_equal(batch.y_BA[4:8, 0], np.array(rows[1]["intensity"]).reshape(4, 12)[:, 5])
    assert batch.valid_BA.all()


def test_with_few_labels_the_labelled_frames_are_taken(shards):
    rows, labels = rows_of(shards, 40), Labels(share=0.2, seed=1)
    some = [row for row in rows if known(row, [0], 12, labels)[1].any()]
    assert 0 < len(some) < len(rows)
    for row in some:
        assert batch_of([row], [0], labels=labels).valid_BA.all()
        assert batch_of([row], [0], labels=labels, run=True, intensities=True).valid_BA.any()


def test_batches_hold_what_their_rows_hold(shards):
    rows, columns = rows_of(shards), [0, 5]
    batch = batch_of(rows, columns)
    assert batch.frame_BCHW.shape == (6, 3, 32, 32)
    assert batch.draw_VBP.shape[:2] == (2, 6)
    frame = choose_frames(1, rows[1]["epoch"], rows[1]["clip_id"], 4, 2)[1]
    np.testing.assert_array_equal(batch.frame_BCHW[3].permute(1, 2, 0), decode(rows[1]["jpeg"][frame], ""))
    np.testing.assert_array_equal(batch.y_BA[3], np.array(rows[1]["label"]).reshape(4, 12)[frame, columns])


def test_a_frame_that_does_not_decode_is_named():
    with pytest.raises(ShardError, match="clip 7"):
        decode(b"nothing", "clip 7")


def test_errors_of_the_thread_are_raised_here():
    def items():
        yield 1
        raise ShardError("broken")

    stream = Ahead(items(), 2)
    assert next(stream) == 1
    for _ in range(2):
        with pytest.raises(ShardError, match="broken"):
            next(stream)


def test_batches_are_made_before_the_first_is_asked_for_and_end():
    made = Queue()

    def items():
        for item in range(5):
            made.put(item)
            yield item

    stream = Ahead(items(), 2)
    assert [made.get(timeout=10) for _ in range(3)] == [0, 1, 2]
    assert list(stream) == [0, 1, 2, 3, 4]
    assert list(stream) == []


def test_closing_ends_the_thread():
    stopped = Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            stopped.set()

    stream = Ahead(items(), 1)
    next(stream)
    stream.close()
    assert stopped.wait(10)
