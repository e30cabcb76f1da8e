"""Check a set of shards: every hash, every row, every frame's header, every count."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from au_dist.errors import StorageError
from au_dist.shards import SCHEMA, Manifest, Shard, decode_row, read_manifest
from au_dist.storage import Store

#: Faults of one kind that are spelled out; the rest is counted.
MOST_SHOWN = 5


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        manifest: The manifest.
        faults: What is wrong, a sentence each; empty when nothing is.
        unlisted: Files below ``shards/`` that the manifest does not list.
    """

    manifest: Manifest
    faults: list[str]
    unlisted: list[str]


def examine(store: Store, show: Callable[[Shard], None] = lambda shard: None) -> Diagnosis:
    """Read a whole set and compare it with its manifest.

    Args:
        store: The set.
        show: Called after each shard.

    Raises:
        ShardError: There is no readable manifest.
        StorageError: The store fails.
    """
    manifest = read_manifest(store.check())
    faults: list[str] = []
    counts: dict[str, np.ndarray] = {}
    ids: set[str] = set()
    for shard in manifest.shards:
        faults += _shard_faults(store, manifest, shard, counts, ids)
        show(shard)
    if not faults:
        faults += _count_faults(manifest, counts)
    listed = {shard.path for shard in manifest.shards}
    unlisted = [path for path in store.list("shards", recursive=True) if path not in listed and not path.endswith("/")]
    return Diagnosis(manifest, faults, unlisted)


def _shard_faults(
    store: Store, manifest: Manifest, shard: Shard, counts: dict[str, np.ndarray], ids: set[str]
) -> list[str]:
    try:
        data = store.read(shard.path)
    except StorageError as error:
        return [str(error)]
    if len(data) != shard.bytes:
        return [f"{shard.path} is truncated or was replaced: expected {shard.bytes} bytes, found {len(data)}."]
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        return [f"{shard.path} was changed: its sha256 is not the manifest's."]
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowException as error:
        return [f"{shard.path} is not readable Parquet: {error}."]
    if not file.schema_arrow.equals(SCHEMA):
        return [f"{shard.path} has other columns than version {manifest.schema_version} of the format."]
    found = [
        fault
        for index, group in enumerate(shard.row_groups)
        # Not in Arrow's threads: see `shards.read_row_group`.
        for fault in _group_faults(
            file.read_row_group(index, use_threads=False), manifest, group.subject, group.clips, counts, ids
        )
    ]
    more = [f"{shard.path}: {len(found) - MOST_SHOWN} more faults."] if len(found) > MOST_SHOWN else []
    return [f"{shard.path}: {fault}" for fault in found[:MOST_SHOWN]] + more


def _group_faults(
    table: pa.Table, manifest: Manifest, subject: str, clips: int, counts: dict[str, np.ndarray], ids: set[str]
) -> Iterator[str]:
    if table.num_rows != clips:
        yield f"a row group has {table.num_rows} clips, the manifest says {clips}."
    aus, size = len(manifest.aus), manifest.crop_recipe.size
    for row in table.to_pylist():
        name = row["clip_id"]
        if name in ids:
            yield f"clip {name} is there twice."
        ids.add(name)
        if row["subject"] != subject:
            yield f"clip {name} is of {row['subject']}, its row group of {subject}."
        if row["crop"] != manifest.crop_hash:
            yield f"clip {name} was cropped by recipe {row['crop']}, the set by {manifest.crop_hash}."
        clip = decode_row(row, aus)
        yield from (f"clip {name}: {fault}." for fault in clip.faults(aus))
        for index, jpeg in enumerate(clip.jpeg_T):
            try:
                height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
            except ValueError:
                yield f"clip {name} frame {index} is not a JPEG."
                continue
            if (height, width) != (size, size):
                yield f"clip {name} frame {index} is {width}x{height}, not {size}x{size}."
        tally = np.stack([clip.valid_TA.sum(0), clip.y_TA.sum(0)]) if aus else np.zeros((2, 0), int)
        counts[row["subject"]] = counts.get(row["subject"], np.zeros((2, aus), int)) + tally


def _count_faults(manifest: Manifest, counts: dict[str, np.ndarray]) -> Iterator[str]:
    if set(counts) != set(manifest.subjects):
        yield f"the rows have {len(counts)} subjects, the manifest {len(manifest.subjects)}."
    for subject, tally in counts.items():
        said = manifest.subjects.get(subject)
        if said and [list(said.labelled), list(said.positive)] != tally.tolist():
            yield f"the label counts of {subject} are not the manifest's."
