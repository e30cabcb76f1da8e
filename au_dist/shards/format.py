"""The on-disk format: Parquet shards, one row a clip, and the manifest that is published last.

A row group holds clips of one subject only, so that a split by subject is a choice of row groups and never reads a
frame of the other side. Shards are named by their content; the manifest is created once, or replaced whole by that of a
set made anew.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from au_dist.core.errors import AbsentError, ShardError
from au_dist.core.schema import FINDING, Clip, CropRecipe, finding
from au_dist.storage.access import Access
from au_dist.storage.ranged import RangedFile
from au_dist.storage.retries import with_retry
from au_dist.storage.store import Store

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("corpus", pa.string()),
        ("subject", pa.string()),
        ("video", pa.string()),
        ("number", pa.list_(pa.int64())),
        ("time", pa.list_(pa.float64())),
        ("jpeg", pa.list_(pa.binary())),
        ("label", pa.list_(pa.int8())),
        ("valid", pa.list_(pa.bool_())),
        ("intensity", pa.list_(pa.float32())),
        ("confidence", pa.list_(pa.float32())),
        ("crop", pa.string()),
    ]
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RowGroup(_Frozen):
    """One ranged read: clips of one subject."""

    subject: str
    clips: int
    frames: int
    bytes: int


class Shard(_Frozen):
    """One Parquet file."""

    path: str
    bytes: int
    sha256: str
    row_groups: tuple[RowGroup, ...]

    @property
    def clips(self) -> int:
        """How many rows the file has."""
        return sum(group.clips for group in self.row_groups)


class SubjectCounts(_Frozen):
    """What is known of one subject: counts over its frames, one entry an action unit where lists."""

    corpus: str
    clips: int
    frames: int
    labelled: tuple[int, ...]
    positive: tuple[int, ...]


class Manifest(_Frozen):
    """The list of shards with hashes, counts and recipe; the only door to a set of shards.

    Attributes:
        sha256: Hash of the manifest's own content without this field.
    """

    schema_version: int = SCHEMA_VERSION
    aus: tuple[int, ...]
    clip_frames: int
    crop: dict[str, Any]
    crop_hash: str
    clips: int
    frames: int
    subjects: dict[str, SubjectCounts]
    shards: tuple[Shard, ...]
    source: dict[str, Any]
    sha256: str = ""

    def digest(self) -> str:
        """Return the hash that `sha256` must equal."""
        body = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    @property
    def crop_recipe(self) -> CropRecipe:
        """The recipe that every crop was made with; how faces were found, older sets say elsewhere."""
        return CropRecipe(**{**_found(self.source), **self.crop})

    def rates(self, subjects: Iterable[str] | None = None) -> list[tuple[int, int, float]]:
        """Return (labelled frames, positive frames, occurrence rate) per action unit.

        Args:
            subjects: Which subjects to count; all when None. The rate of an action unit without labels is NaN.
        """
        counts = [self.subjects[name] for name in (self.subjects if subjects is None else subjects)]
        rows = []
        for index in range(len(self.aus)):
            labelled = sum(count.labelled[index] for count in counts)
            positive = sum(count.positive[index] for count in counts)
            rows.append((labelled, positive, positive / labelled if labelled else float("nan")))
        return rows


def _found(source: dict[str, Any]) -> dict[str, Any]:
    """Return how faces were found, from how a set was made; nothing where its parts differ or do not say."""
    if source.get("kind") == "merged":
        first, *others = [_found(part) for part in source["sets"]]
        return first if all(other == first for other in others) else {}
    if not all(name in source for name in FINDING):
        return {}
    return finding(**{name: source[name] for name in FINDING})


def read_manifest(store: Store) -> Manifest:
    """Return the verified manifest of a set of shards.

    Raises:
        ShardError: There is none, it is of another version, or its hash does not match its content.
        StorageError: The store fails.
    """
    where = f"{store.uri}/{MANIFEST}"
    try:
        text = store.read(MANIFEST)
    except AbsentError as error:
        names = store.list()[:8]
        raise ShardError(
            "There are no shards here",
            where=store.uri,
            expected=f"a file {MANIFEST}",
            found=", ".join(names) if names else "nothing",
            fix="Make a set with `au-dist synth` or `au-dist ingest`, or correct the address.",
        ) from error
    try:
        raw = json.loads(text)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise ShardError("The manifest is of another version", where=where, expected=SCHEMA_VERSION, found=version)
        manifest = Manifest.model_validate(raw)
    except (ValueError, ValidationError) as error:
        raise ShardError("The manifest cannot be read", where=where, found=str(error).splitlines()[0]) from error
    if manifest.digest() != manifest.sha256:
        raise ShardError(
            "The manifest's hash does not match its content",
            where=where,
            expected=manifest.sha256[:12] or "a hash",
            found=manifest.digest()[:12],
            fix="It was edited or damaged: restore it or ingest again.",
        )
    return manifest


@functools.lru_cache(maxsize=256)
def _opened(store: Store, shard: Shard, access: Access | None) -> RangedFile:
    """Return an open shard; another one when the credentials of the last have been renewed."""
    where = f"{store.uri}/{shard.path}"
    size = store.size(shard.path)
    if size is None:
        raise ShardError(
            "A shard is missing",
            where=where,
            fix="Restore it or ingest again. Where the set was replaced meanwhile, begin anew under another name.",
        )
    if size != shard.bytes:
        raise ShardError(
            "A shard is truncated or was replaced",
            where=where,
            expected=f"{shard.bytes} bytes",
            found=f"{size} bytes",
            fix="Restore it or ingest again; `au-dist doctor` checks the whole set.",
        )
    return RangedFile(store.open(shard.path), hedged=store.is_s3)


def read_row_group(store: Store, shard: Shard, group: int, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of one row group with one ranged read; any number of threads may ask.

    Args:
        store: The place of the set.
        shard: A shard of its manifest.
        group: Index of the row group within the shard.
        columns: Which columns to read; all when None.

    Raises:
        ShardError: The shard is missing, truncated, damaged or not what the manifest says.
        StorageError: The store fails, again and again.
    """
    where = f"{store.uri}/{shard.path} row group {group}"
    try:
        table = with_retry(lambda: _opened(store, shard, store.access()).read(group, columns), "read", where)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise ShardError(
            "A row group cannot be read",
            where=where,
            found=" ".join(str(error).split())[:200],
            fix="It was damaged or replaced: restore it or ingest again; `au-dist doctor` checks the whole set.",
        ) from error
    if table.num_rows != shard.row_groups[group].clips:
        raise ShardError(
            "A row group is not what the manifest says",
            where=where,
            expected=f"{shard.row_groups[group].clips} clips",
            found=f"{table.num_rows}",
        )
    return table


def read_clips(store: Store, shard: Shard, group: int, num_aus: int) -> Iterator[Clip]:
    """Yield the clips of one row group; arguments as for `read_row_group` and `decode_row`."""
    for row in read_row_group(store, shard, group).to_pylist():
        yield decode_row(row, num_aus)


def decode_row(row: dict[str, Any], num_aus: int) -> Clip:
    """Return the clip of one row (a dict as `pyarrow.Table.to_pylist` gives it).

    Args:
        row: The row.
        num_aus: Number of action units, A.
    """
    frames = len(row["jpeg"])
    return Clip(
        corpus=row["corpus"],
        subject=row["subject"],
        video=row["video"],
        number_T=np.asarray(row["number"], np.int64),
        time_T=np.asarray(row["time"], np.float64),
        jpeg_T=tuple(row["jpeg"]),
        y_TA=np.asarray(row["label"], np.int8).reshape(frames, num_aus),
        valid_TA=np.asarray(row["valid"], bool).reshape(frames, num_aus),
        intensity_TA=np.asarray(row["intensity"], np.float32).reshape(frames, num_aus),
        confidence_T=np.asarray(row["confidence"], np.float32),
    )
