"""Check a set of shards: every hash, row, frame and count, its subjects, and its labels beside the published ones."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from au_dist.checks.frame_check import FrameCheck
from au_dist.checks.label_check import LabelCheck
from au_dist.core.errors import StorageError
from au_dist.core.schema import au_names
from au_dist.data.jpeg import pixels
from au_dist.shards.format import SCHEMA, Manifest, Shard, decode_row, read_manifest
from au_dist.storage.store import Store

#: Faults of one kind that are spelled out; the rest is counted.
MOST_SHOWN = 5


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        manifest: The manifest.
        faults: What is wrong, a sentence each; empty when nothing is.
        warnings: What is strange, a sentence each.
        unlisted: Files below ``shards/`` that the manifest does not list.
    """

    manifest: Manifest
    faults: list[str]
    warnings: list[str]
    unlisted: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return what was found as JSON has it."""
        manifest = self.manifest
        rates = {
            name: {"labelled": labelled, "positive": positive, "rate": rate if labelled else None}
            for name, (labelled, positive, rate) in zip(au_names(manifest.aus), manifest.rates(), strict=True)
        }
        return {
            "clips": manifest.clips,
            "clip_frames": manifest.clip_frames,
            "frames": manifest.frames,
            "subjects": len(manifest.subjects),
            "crop": manifest.crop,
            "crop_hash": manifest.crop_hash,
            "manifest": manifest.sha256,
            "rates": rates,
            "faults": self.faults,
            "warnings": self.warnings,
            "unlisted": self.unlisted,
        }


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
    faults = _partition_faults(manifest)
    seen = _Seen(LabelCheck(manifest.aus))
    for shard in manifest.shards:
        faults += _shard_faults(store, manifest, shard, seen)
        show(shard)
    if not faults:
        faults += _count_faults(manifest, seen.counts)
    faults += seen.frames.faults()
    warnings = [*seen.frames.warnings(), *seen.labels.warnings(manifest.source)]
    listed = {shard.path for shard in manifest.shards}
    unlisted = [path for path in store.list("shards", recursive=True) if path not in listed and not path.endswith("/")]
    return Diagnosis(manifest, faults, warnings, unlisted)


@dataclass
class _Seen:
    """What was seen in the shards so far."""

    labels: LabelCheck
    frames: FrameCheck = field(default_factory=FrameCheck)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)


def _partition_faults(manifest: Manifest) -> list[str]:
    """Name subjects that are in two parts of the corpus's own partition."""
    parts = manifest.source.get("partitions", {})
    return [
        f"{', '.join(sorted(both)[:MOST_SHOWN])} {'is' if len(both) == 1 else 'are'} in the parts {one} and {other} of "
        "the published partition."
        for one, other in itertools.combinations(sorted(parts), 2)
        if (both := set(parts[one]) & set(parts[other]))
    ]


def _shard_faults(store: Store, manifest: Manifest, shard: Shard, seen: _Seen) -> list[str]:
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
    faults = [
        fault
        for index, group in enumerate(shard.row_groups)
        # Not in Arrow's threads: see `shards.read_row_group`.
        for fault in _group_faults(
            file.read_row_group(index, use_threads=False), manifest, group.subject, group.clips, seen
        )
    ]
    more = [f"{shard.path}: {len(faults) - MOST_SHOWN} more faults."] if len(faults) > MOST_SHOWN else []
    return [f"{shard.path}: {fault}" for fault in faults[:MOST_SHOWN]] + more


def _group_faults(table: pa.Table, manifest: Manifest, subject: str, clips: int, seen: _Seen) -> Iterator[str]:
    if table.num_rows != clips:
        yield f"a row group has {table.num_rows} clips, the manifest says {clips}."
    aus, size = len(manifest.aus), manifest.crop_recipe.size
    for row in table.to_pylist():
        name = row["clip_id"]
        if name in seen.ids:
            yield f"clip {name} is there twice."
        seen.ids.add(name)
        if row["subject"] != subject:
            yield f"clip {name} is of {row['subject']}, its row group of {subject}."
        if row["crop"] != manifest.crop_hash:
            yield f"clip {name} was cropped by recipe {row['crop']}, the set by {manifest.crop_hash}."
        clip = decode_row(row, aus)
        malformed = clip.faults(aus)
        yield from (f"clip {name}: {fault}." for fault in malformed)
        for index, jpeg in enumerate(clip.jpeg_T):
            if isinstance(fault := pixels(jpeg, size), str):
                yield f"clip {name} frame {index} does not decode: {fault}."
        tally = np.stack([clip.valid_TA.sum(0), clip.y_TA.sum(0)]) if aus else np.zeros((2, 0), int)
        seen.counts[row["subject"]] = seen.counts.get(row["subject"], np.zeros((2, aus), int)) + tally
        if not malformed:
            seen.labels.add(clip)
            seen.frames.add(clip)


def _count_faults(manifest: Manifest, counts: dict[str, np.ndarray]) -> Iterator[str]:
    if set(counts) != set(manifest.subjects):
        yield f"the rows have {len(counts)} subjects, the manifest {len(manifest.subjects)}."
    for subject, tally in counts.items():
        said = manifest.subjects.get(subject)
        if said and [list(said.labelled), list(said.positive)] != tally.tolist():
            yield f"the label counts of {subject} are not the manifest's."
