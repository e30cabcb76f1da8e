"""Shards and their manifest: what goes in comes out, and every fault is found."""

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from au_dist.checks.doctor import examine
from au_dist.core.errors import ShardError
from au_dist.shards.format import MANIFEST, decode_row, read_manifest, read_row_group
from au_dist.shards.writer import write_shards
from au_dist.storage.ranged import RangedFile
from au_dist.storage.store import open_store
from au_dist.synthetic.clips import synth_aus, synth_clips, synth_recipe


@pytest.fixture
def copy(shards, tmp_path):
    shutil.copytree(shards.uri, tmp_path / "copy")
    return open_store(tmp_path / "copy")


def only_shard(store) -> Path:
    return Path(store.uri) / read_manifest(store).shards[0].path


def test_what_goes_in_comes_out(shards, spec):
    manifest = read_manifest(shards)
    rows = []
    for shard in manifest.shards:
        for index, group in enumerate(shard.row_groups):
            table = read_row_group(shards, shard, index)
            assert set(table["subject"].to_pylist()) == {group.subject}
            rows += table.to_pylist()
    clips = list(synth_clips(spec))
    assert len(rows) == len(clips) == manifest.clips
    for row, clip in zip(rows, clips, strict=True):
        back = decode_row(row, len(manifest.aus))
        for field in dataclasses.fields(clip):
            np.testing.assert_array_equal(getattr(back, field.name), getattr(clip, field.name))
    assert manifest.rates()[0][1] == sum(int(clip.y_TA[:, 0].sum()) for clip in clips)


def test_the_same_clips_give_the_same_bytes(shards, spec, tmp_path):
    again = open_store(tmp_path / "again")
    crop, aus = synth_recipe(spec), synth_aus(spec)
    manifest = write_shards(synth_clips(spec), again, aus=aus, crop=crop, source=read_manifest(shards).source)
    assert manifest.sha256 == read_manifest(shards).sha256


def test_a_healthy_set_has_no_fault(shards):
    found = examine(shards)
    assert found.faults == []
    assert found.unlisted == []


def test_a_place_is_used_once(shards, spec):
    with pytest.raises(ShardError, match="already holds shards"):
        write_shards(synth_clips(spec), shards, aus=(1,), crop=synth_recipe(spec), source={})


def test_a_failed_ingest_leaves_nothing(spec, tmp_path):
    def clips():
        for index, clip in enumerate(synth_clips(spec)):
            yield dataclasses.replace(clip, subject="") if index == 9 else clip

    store = open_store(tmp_path / "out")
    with pytest.raises(ShardError, match="no subject"):
        write_shards(clips(), store, aus=synth_aus(spec), crop=synth_recipe(spec), source={})
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_an_empty_place_is_said(tmp_path):
    with pytest.raises(ShardError, match=r"no shards here.*manifest.json.*Found nothing"):
        read_manifest(open_store(tmp_path))


def test_an_edited_manifest_is_refused(copy):
    file = Path(copy.uri) / MANIFEST
    raw = json.loads(file.read_text())
    raw["clips"] += 1
    file.write_text(json.dumps(raw))
    with pytest.raises(ShardError, match="hash does not match"):
        read_manifest(copy)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ('{"schema_version": 99}', "another version")])
def test_a_broken_manifest_is_refused(copy, text, message):
    (Path(copy.uri) / MANIFEST).write_text(text)
    with pytest.raises(ShardError, match=message):
        read_manifest(copy)


def test_a_truncated_shard_is_found(copy):
    file = only_shard(copy)
    file.write_bytes(file.read_bytes()[:-100])
    manifest = read_manifest(copy)
    with pytest.raises(ShardError, match="truncated"):
        read_row_group(copy, manifest.shards[0], 0)
    assert "truncated" in examine(copy).faults[0]


def test_one_changed_byte_is_found(copy):
    file = only_shard(copy)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert "sha256" in examine(copy).faults[0]
    (shard,) = read_manifest(copy).shards

    def read():
        return [read_row_group(copy, shard, group) for group in range(len(shard.row_groups))]

    with pytest.raises(ShardError, match=r"row group \d+\).*CRC checksum.*doctor"):
        read()


def test_a_shard_that_is_replaced_while_it_is_open_is_found(copy):
    file = only_shard(copy)
    (shard,) = read_manifest(copy).shards
    read_row_group(copy, shard, 0)
    with file.open("r+b") as there:
        there.truncate(200)
    with pytest.raises(ShardError, match="A row group cannot be read"):
        read_row_group(copy, shard, 1)


@pytest.mark.parametrize("columns", [None, ["clip_id", "label"], ["jpeg", "corpus"], ["subject"]])
def test_ranged_reads_give_what_parquet_holds(copy, columns):
    (shard,) = read_manifest(copy).shards
    whole = pq.ParquetFile(only_shard(copy))
    for group in range(len(shard.row_groups)):
        assert read_row_group(copy, shard, group, columns).equals(whole.read_row_group(group, columns))


def test_columns_that_are_not_asked_for_are_not_fetched(copy):
    (shard,) = read_manifest(copy).shards
    file = RangedFile(copy.open(shard.path))
    whole, labels = (
        sum(end - begin for begin, end in file._ranges(0, set(names))) for names in (file.names, ["clip_id", "label"])
    )
    # The pictures of this small set lie between them, nearer than is worth another request.
    assert whole == shard.row_groups[0].bytes
    assert labels < whole
    assert len(file._ranges(0, {"clip_id", "label"})) == 1


def test_a_missing_shard_is_found(copy):
    only_shard(copy).unlink()
    with pytest.raises(ShardError, match="missing"):
        read_row_group(copy, read_manifest(copy).shards[0], 0)
    assert "it is not there" in examine(copy).faults[0]


def test_leftovers_are_noted(copy):
    copy.write("shards/99999-old.parquet", b"x")
    found = examine(copy)
    assert found.unlisted == ["shards/99999-old.parquet"]
    assert found.faults == []


def test_threads_may_read_one_shard(shards):
    manifest = read_manifest(shards)
    (shard,) = manifest.shards
    jobs = list(range(len(shard.row_groups))) * 20

    def read(group):
        return read_row_group(shards, shard, group, ["clip_id", "label"]).column("clip_id").to_pylist()

    alone = [read(group) for group in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, jobs)) == alone
