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

from au_dist.config.sections import Labels, Views
from au_dist.core.errors import ShardError, TrainError
from au_dist.data.batches import BackgroundPrefetcher, interleave_lanes, make_batch
from au_dist.data.decode import already, in_threads, on_gpu
from au_dist.data.draws import COLOURS, choose_frames, choose_run, draw_views, no_view
from au_dist.data.jpeg import GREY, decode, pixels
from au_dist.data.labels import known
from au_dist.data.order import Block, Order, lanes_of
from au_dist.data.rows import COLUMNS, Reading, take_clips
from au_dist.data.source import Source, plan_reads, read_block, read_parts
from au_dist.data.splits import training_groups
from au_dist.data.views import apply_views
from au_dist.shards.format import read_manifest, read_row_group

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

READING = Reading(
    seed=1,
    columns=[0, 5],
    num_columns=12,
    frames=2,
    run=False,
    intensities=False,
    labels=Labels(),
    views=2,
    draws=Views(),
)


def source_of(shards, lanes=4, decode=False):
    manifest = read_manifest(shards)
    order = Order(training_groups(manifest, tuple(manifest.subjects)), 3, lanes, 2)
    return Source(
        shards, manifest, order, READING, decode, take=1, sets=20, cpus=0.5, node_labels={}, prefetch=2, memory=0.3
    )


def sets_of(source, rank, world, start, count):
    """Read contrast sets as a rank does, without Ray."""
    lanes = lanes_of(rank, world, source.order.lanes)
    reads = plan_reads(source, lanes, start).tolist()
    tables = (read_block(source, Block(*read[:-2]), *read[-2:]) for read in reads)
    dealt = interleave_lanes(tables, lanes, start, source.take)
    return [next(dealt)["clip_id"].to_pylist() for _ in range(count)]


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
        next(interleave_lanes(iter([table]), (0,), 4, 2))
    with pytest.raises(TrainError, match=r"lanes \(1,\).*Found lane 0"):
        next(interleave_lanes(iter([table]), (1,), 4, 2))


def test_tables_may_hold_several_lanes_and_parts_of_sets():
    lane, position = [0, 0, 2, 2, 2, 0], [3, 4, 3, 4, 5, 5]
    table = pa.table({"lane": lane, "position": position})
    want = [(0, 3), (0, 4), (2, 3), (2, 4)]
    for tables in ([table], [table.slice(k, 1) for k in range(6)]):
        (dealt,) = interleave_lanes(iter(tables), (0, 2), 3, 2)
        assert list(zip(*dealt.to_pydict().values(), strict=True)) == want


def test_views_belong_to_their_address():
    clips = [("2", "clip"), ("2", "clop"), ("3", "clip"), ("2/1", "clip")]
    draw_CVFP = draw_views(Views(), 1, clips, 2, 1)
    assert len(np.unique(draw_CVFP.reshape(8, -1), axis=0)) == 8
    assert (draw_CVFP != draw_views(Views(), 2, clips, 2, 1)).any()
    # Whoever else is drawn for at the same time, and however many views there are.
    np.testing.assert_array_equal(draw_CVFP[1:2, :1], draw_views(Views(), 1, clips[1:2], 1, 1))


def test_draws_are_within_the_recipe():
    views = Views(jitter=0.5)
    dy, dx, flip, *factors, hue, grey, sigma = draw_views(views, 0, [("0", str(k)) for k in range(4000)], 1, 1)[
        :, 0, 0
    ].T
    for share in (dy, dx):
        assert 0 <= share.min() < 0.01 < 0.99 < share.max() <= 1
    for factor in factors:
        assert abs(factor.min() - 1 + views.colour) < 0.01 > abs(factor.max() - 1 - views.colour)
        assert abs((factor == 1).mean() - 0.5) < 0.04
    assert abs(np.abs(hue).max() - views.hue) < 0.01
    assert 0 <= sigma.min() < 0.02 < views.blur - 0.02 < sigma.max() <= views.blur
    assert abs(flip.mean() - views.flip) < 0.04 > abs(grey.mean() - views.grey)


def test_frames_come_from_different_spans():
    epochs = [(str(epoch), "clip") for epoch in range(50)]
    first, second = choose_frames(0, epochs, np.ones((50, 8), bool), 2).T
    assert set(first) == {0, 1, 2, 3}
    assert set(second) == {4, 5, 6, 7}
    np.testing.assert_array_equal(choose_frames(0, epochs[:1], np.ones((1, 3), bool), 9), [[0, 1, 2]])


def test_frames_are_taken_of_those_that_are_offered():
    among_CT = np.zeros((4, 8), bool)
    among_CT[1, [2, 5]] = among_CT[2, [1, 3, 4, 6]] = among_CT[3, 7] = True
    chosen = choose_frames(0, [("0", str(k)) for k in range(4)], among_CT, 3)
    assert (np.diff(chosen[[0, 2]]) > 0).all()
    assert set(chosen[2]) <= {1, 3, 4, 6}
    assert chosen[1].tolist() == [2, 5, 2]
    assert chosen[3].tolist() == [7, 7, 7]


def test_the_plain_view_is_the_centre():
    frame = torch.randint(0, 256, (2, 3, 10, 10), dtype=torch.uint8)
    plain = apply_views(frame, torch.from_numpy(no_view()).expand(2, -1), 6)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    want = (frame[:, :, 2:8, 2:8] / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(plain, want, atol=1e-5, rtol=1e-5)


def test_a_view_does_not_depend_on_its_neighbours():
    frame = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    draws = torch.from_numpy(draw_views(Views(), 0, [("0", str(i)) for i in range(4)], 1, 1)[:, 0, 0])
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


def group_of(shards):
    """Return the rows of a row group, as read."""
    return read_row_group(shards, read_manifest(shards).shards[0], 0, COLUMNS)


def taken(table, rows, copies=None, epoch=2, **changes):
    """Return what an epoch takes of some rows of a row group."""
    reading = replace(READING, **changes)
    return take_clips(table, np.array(rows), np.array(copies or [0] * len(rows)), epoch, reading).to_pylist()


def made(rows, aus, decode):
    return make_batch(pa.Table.from_pylist(rows), aus, decode)


def batch_of(rows, aus=2, size=32):
    with ThreadPoolExecutor(2) as pool:
        return made(rows, aus, in_threads(pool, 2, size))


def test_a_run_follows_itself_and_holds_a_needed_frame():
    needed_T = np.isin(np.arange(12), [3, 7])
    runs = choose_run(0, [(str(epoch), "clip") for epoch in range(100)], np.tile(needed_T, (100, 1)), 5)
    assert (np.diff(runs) == 1).all()
    assert needed_T[runs].any(1).all()
    assert set(runs[:, 0]) == set(range(8))
    assert {3, 7} <= set(runs[needed_T[runs].sum(1) == 1].ravel())
    anywhere = choose_run(0, [(str(epoch), "clip") for epoch in range(100)], np.zeros((100, 12), bool), 5)
    assert set(anywhere[:, 0]) == set(range(8))
    assert choose_run(0, [("0", "clip")], needed_T[None, :5], 5).tolist() == [[0, 1, 2, 3, 4]]


def test_frames_share_their_view_but_for_their_colours():
    clip = [("2", "clip")]
    shared, own = (draw_views(Views(each_frame=each), 1, clip, 1, 4)[0, 0] for each in (False, True))
    assert (shared == shared[0]).all()
    others = [column for column in range(own.shape[1]) if column not in COLOURS]
    np.testing.assert_array_equal(own[:, others], shared[:, others])
    assert len(np.unique(own[:, COLOURS[0]])) > 1


def test_a_clip_that_is_drawn_again_looks_different(shards):
    once, again = taken(group_of(shards), [0, 0], [0, 1])
    assert once["draw"] != again["draw"]


def test_intensities_come_in_runs(shards):
    table = group_of(shards)
    batch = batch_of(taken(table, [0, 1], columns=[5], frames=4, run=True, intensities=True, views=1), aus=1)
    want = np.array(table["intensity"][1].as_py()).reshape(4, 12)[:, 5]
    np.testing.assert_array_equal(batch.y_BA[4:8, 0], want)
    assert batch.valid_BA.all()


def test_with_few_labels_the_labelled_frames_are_taken(shards):
    labels, some, clips = Labels(share=0.2, seed=1), 0, 0
    for table in (read_row_group(shards, shard, 0, COLUMNS) for shard in read_manifest(shards).shards):
        for row, clip in enumerate(table.to_pylist()):
            clips += 1
            if known(clip, [0], 12, labels)[1].any():
                some += 1
                plain, run = (
                    taken(table, [row], columns=[0], labels=labels, **more)
                    for more in ({}, {"run": True, "intensities": True})
                )
                assert batch_of(plain, 1).valid_BA.all()
                assert batch_of(run, 1).valid_BA.any()
    assert 0 < some < clips


def test_batches_hold_what_their_rows_hold(shards):
    table = group_of(shards)
    rows = table.to_pylist()
    batch = batch_of(taken(table, [2, 1]))
    assert batch.frame_BCHW.shape == (4, 3, 32, 32)
    assert batch.draw_VBP.shape == (2, 4, 9)
    for at, row in ((0, 2), (1, 1)):
        clip = [("2", rows[row]["clip_id"])]
        (frames,) = choose_frames(1, clip, np.ones((1, 4), bool), 2)
        labels = np.array(rows[row]["label"]).reshape(4, 12)
        for k, frame in enumerate(frames):
            want = decode(rows[row]["jpeg"][frame], "")
            np.testing.assert_array_equal(batch.frame_BCHW[2 * at + k].permute(1, 2, 0), want)
            np.testing.assert_array_equal(batch.y_BA[2 * at + k], labels[frame, [0, 5]])
        np.testing.assert_array_equal(batch.draw_VBP[:, 2 * at : 2 * at + 2], draw_views(Views(), 1, clip, 2, 2)[0])


def test_without_label_columns_the_mask_says_what_decodes(shards):
    batch = batch_of(taken(group_of(shards), [0, 1], columns=[]), aus=0)
    assert batch.y_BA.shape == (4, 0)
    assert batch.valid_BA.tolist() == [[True]] * 4


def test_only_what_is_taken_travels(shards):
    source = source_of(shards)
    block = next(source.order.stream((0,), 0, 9))
    table = read_block(source, block, 0, block.clips)
    sizes = [len(jpeg) for row in table["frame"].to_pylist() for jpeg in row]
    assert len(sizes) == 2 * table.num_rows
    assert table.nbytes < sum(sizes) + 1000 * table.num_rows


def test_frames_decoded_by_reading_tasks_are_the_same(shards):
    block = next(source_of(shards).order.stream((0,), 0, 9))
    here, there = (
        pa.concat_tables(read_parts(source_of(shards, decode=where), block, 0, block.clips)).to_pylist()
        for where in (False, True)
    )
    assert {len(frame) for row in there for frame in row["frame"]} == {3 * 32 * 32}
    one, other = batch_of(here), made(there, 2, already(32))
    assert torch.equal(one.frame_BCHW, other.frame_BCHW)
    assert torch.equal(one.draw_VBP, other.draw_VBP)


@pytest.mark.parametrize("place", ["worker", "tasks"])
def test_a_clip_that_does_not_decode_is_grey_unknown_and_named(shards, place):
    rows = taken(group_of(shards), [0, 1, 2])
    whole = batch_of(rows)
    for broken in (b"nothing", b"", rows[1]["frame"][1][:200]):
        rows[1]["frame"][1] = broken
        with ThreadPoolExecutor(1) as pool:
            batch = made(rows, 2, in_threads(pool, 1, 32) if place == "worker" else already(32))
        assert (batch.frame_BCHW[2:4] == GREY).all()
        assert not batch.valid_BA[2:4].any()
        others = [0, 1, 4, 5]
        for name in ("frame_BCHW", "valid_BA", "y_BA"):
            assert torch.equal(getattr(batch, name)[others], getattr(whole, name)[others])
        (fault,) = batch.faults
        assert fault.startswith(f"{rows[1]['clip_id']} frame {rows[1]['index'][1]}: ")
    assert batch_of(rows, size=16).faults[0].endswith("32 x 32 pixels, not 16 x 16")


def test_a_frame_that_does_not_decode_is_named():
    with pytest.raises(ShardError, match="clip 7"):
        decode(b"nothing", "clip 7")
    assert isinstance(pixels(b"nothing", 8), str)


def test_errors_of_the_thread_are_raised_here():
    def items():
        yield 1
        raise ShardError("broken")

    stream = BackgroundPrefetcher(items(), 2)
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

    stream = BackgroundPrefetcher(items(), 2)
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

    stream = BackgroundPrefetcher(items(), 1)
    next(stream)
    stream.close()
    assert stopped.wait(10)


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_GPU])])
def test_frames_that_torchvision_decodes_are_nearly_the_same(shards, kind):
    rows, device = taken(group_of(shards), [0, 1, 2]), torch.device(kind)
    here, there = batch_of(rows), made(rows, 2, on_gpu(device, 32)).to(device)
    assert there.frame_BCHW.device.type == kind
    apart = (here.frame_BCHW.float() - there.frame_BCHW.cpu().float()).abs()
    assert apart.mean() < 2
    for damaged in (b"nothing", b""):
        rows[1]["frame"][0] = damaged
        broken = made(rows, 2, on_gpu(device, 32)).to(device)
        assert (broken.frame_BCHW[2:4] == GREY).all()
        assert len(broken.faults) == 1
    assert len(made(rows, 2, on_gpu(device, 16)).faults) == 6
