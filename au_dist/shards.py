"""The on-disk format: Parquet shards, one row a clip, and the manifest that is published last.

A row group holds clips of one subject only, so that a split by subject is a choice of row groups and never reads a
frame of the other side. Shards are named by their content; the manifest is created exactly once.
"""

import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from au_dist.errors import ShardError, StorageError
from au_dist.schema import Clip, CropRecipe
from au_dist.storage import Store

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

#: Row groups are the unit of a ranged read: large enough for one request to be worth its latency.
ROW_GROUP_BYTES = 2 << 20
ROW_GROUP_CLIPS = 32
SHARD_BYTES = 128 << 20

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
        """The recipe that every crop was made with."""
        return CropRecipe(**self.crop)

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


def _table(clips: list[Clip], crop_hash: str) -> pa.Table:
    return pa.table(
        {
            "clip_id": [clip.clip_id for clip in clips],
            "corpus": [clip.corpus for clip in clips],
            "subject": [clip.subject for clip in clips],
            "video": [clip.video for clip in clips],
            "number": [clip.number_T for clip in clips],
            "time": [clip.time_T for clip in clips],
            "jpeg": [list(clip.jpeg_T) for clip in clips],
            "label": [clip.y_TA.ravel() for clip in clips],
            "valid": [clip.valid_TA.ravel() for clip in clips],
            "intensity": [clip.intensity_TA.ravel() for clip in clips],
            "confidence": [clip.confidence_T for clip in clips],
            "crop": [crop_hash] * len(clips),
        },
        schema=SCHEMA,
    )


class _ShardFile:
    """One Parquet file being made in memory, and its counts."""

    def __init__(self, aus: tuple[int, ...], crop: CropRecipe) -> None:
        metadata = {"au_dist": json.dumps({"schema": SCHEMA_VERSION, "aus": aus, "crop": asdict(crop)})}
        self.buffer = io.BytesIO()
        # JPEG does not compress further; the small columns hardly matter.
        self.writer = pq.ParquetWriter(
            self.buffer,
            SCHEMA.with_metadata(metadata),
            compression="none",
            use_dictionary=["corpus", "subject", "video"],
        )
        self.crop_hash = crop.hash()
        self.groups: list[RowGroup] = []

    def add(self, clips: list[Clip]) -> None:
        before = self.buffer.tell()
        self.writer.write_table(_table(clips, self.crop_hash), row_group_size=len(clips))
        frames = sum(len(clip.jpeg_T) for clip in clips)
        size = self.buffer.tell() - before
        self.groups.append(RowGroup(subject=clips[0].subject, clips=len(clips), frames=frames, bytes=size))

    def close(self, store: Store, index: int) -> Shard:
        self.writer.close()
        data = self.buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = f"shards/{index:05d}-{digest[:12]}.parquet"
        store.write(path, data)
        return Shard(path=path, bytes=len(data), sha256=digest, row_groups=tuple(self.groups))


def _row_groups(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    """Cut clips into runs of one subject that are small enough for a row group."""
    group: list[Clip] = []
    size = 0
    for clip in clips:
        full = size >= ROW_GROUP_BYTES or len(group) >= ROW_GROUP_CLIPS
        if group and (full or clip.subject != group[0].subject):
            yield group
            group, size = [], 0
        group.append(clip)
        size += sum(map(len, clip.jpeg_T))
    if group:
        yield group


def write_shards(
    clips: Iterable[Clip], store: Store, *, aus: tuple[int, ...], crop: CropRecipe, source: dict[str, Any]
) -> Manifest:
    """Write clips as shards and publish their manifest last.

    Args:
        clips: Clips, those of one subject together; all with the same number of frames.
        store: Where the set goes; must not hold one already.
        aus: The action units that the label columns stand for, in order.
        crop: The recipe that the crops were made with.
        source: How the set was made (corpus, seeds, options); kept in the manifest.

    Returns:
        The published manifest.

    Raises:
        ShardError: The place holds a set already, a clip is malformed, or there are no clips.
    """
    if store.exists(MANIFEST):
        raise ShardError("This place already holds shards", where=store.uri, fix="Choose an empty place for --out.")
    shards: list[Shard] = []
    written: list[str] = []
    counts: dict[str, SubjectCounts] = {}
    lengths: set[int] = set()
    try:
        file: _ShardFile | None = None
        for group in _row_groups(clips):
            for clip in group:
                _check(clip, aus)
                lengths.add(len(clip.jpeg_T))
                counts[clip.subject] = _counted(counts.get(clip.subject), clip, len(aus))
            file = file or _ShardFile(aus, crop)
            file.add(group)
            if file.buffer.tell() >= SHARD_BYTES:
                shards.append(file.close(store, len(shards)))
                file = None
        if file:
            shards.append(file.close(store, len(shards)))
        if not shards:
            raise ShardError("No clips were made, so there is nothing to publish", where=store.uri)
        if len(lengths) > 1:
            raise ShardError(
                "Clips of one set must be equally long", where=store.uri, found=f"{sorted(lengths)} frames"
            )
        written = [shard.path for shard in shards]
        manifest = Manifest(
            aus=aus,
            clip_frames=lengths.pop(),
            crop=asdict(crop),
            crop_hash=crop.hash(),
            clips=sum(shard.clips for shard in shards),
            frames=sum(count.frames for count in counts.values()),
            subjects=counts,
            shards=tuple(shards),
            source=source,
        )
        manifest = manifest.model_copy(update={"sha256": manifest.digest()})
        if not store.create(MANIFEST, manifest.model_dump_json(indent=1).encode()):
            raise ShardError(
                "Another process published shards here meanwhile", where=store.uri, fix="Choose another place."
            )
        return manifest
    except BaseException:
        # A failed ingest leaves nothing that looks like data; after a lost race the winner's shards stay.
        mine = {shard.path for shard in shards} if not written else set(written)
        theirs = set(_listed(store))
        for path in mine - theirs:
            store.delete(path)
        raise


def _listed(store: Store) -> list[str]:
    try:
        return [shard.path for shard in read_manifest(store).shards]
    except ShardError:
        return []


def _check(clip: Clip, aus: tuple[int, ...]) -> None:
    faults = clip.faults(len(aus))
    if faults:
        raise ShardError(
            "A clip is malformed", where=clip.clip_id if clip.jpeg_T else clip.video, found="; ".join(faults)
        )


def _counted(counts: SubjectCounts | None, clip: Clip, aus: int) -> SubjectCounts:
    before = counts or SubjectCounts(corpus=clip.corpus, clips=0, frames=0, labelled=(0,) * aus, positive=(0,) * aus)
    return SubjectCounts(
        corpus=clip.corpus,
        clips=before.clips + 1,
        frames=before.frames + len(clip.jpeg_T),
        labelled=tuple(a + int(b) for a, b in zip(before.labelled, clip.valid_TA.sum(0), strict=True)),
        positive=tuple(a + int(b) for a, b in zip(before.positive, clip.y_TA.sum(0), strict=True)),
    )


def read_manifest(store: Store) -> Manifest:
    """Return the verified manifest of a set of shards.

    Raises:
        ShardError: There is none, it is of another version, or its hash does not match its content.
        StorageError: The store fails.
    """
    where = f"{store.uri}/{MANIFEST}"
    try:
        text = store.read(MANIFEST)
    except StorageError as error:
        if "it is not there" not in error.what:
            raise
        found = store.list()[:8]
        raise ShardError(
            "There are no shards here",
            where=store.uri,
            expected=f"a file {MANIFEST}",
            found=", ".join(found) if found else "nothing",
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


@functools.lru_cache(maxsize=64)
def _parquet(store: Store, shard: Shard) -> pq.ParquetFile:
    where = f"{store.uri}/{shard.path}"
    size = store.size(shard.path)
    if size is None:
        raise ShardError("A shard is missing", where=where, fix="Restore it or ingest again.")
    if size != shard.bytes:
        raise ShardError(
            "A shard is truncated or was replaced",
            where=where,
            expected=f"{shard.bytes} bytes",
            found=f"{size} bytes",
            fix="Restore it or ingest again; `au-dist doctor` checks the whole set.",
        )
    try:
        return pq.ParquetFile(store.open(shard.path), pre_buffer=True)
    except pa.ArrowException as error:
        raise ShardError("A shard is not readable Parquet", where=where, found=str(error)[:200]) from error


def read_row_group(store: Store, shard: Shard, group: int, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of one row group with one ranged read.

    Args:
        store: The place of the set.
        shard: A shard of its manifest.
        group: Index of the row group within the shard.
        columns: Which columns to read; all when None.

    Raises:
        ShardError: The shard is missing, truncated or not what the manifest says.
    """
    try:
        table = _parquet(store, shard).read_row_group(group, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(
            "A row group cannot be read", where=f"{store.uri}/{shard.path} row group {group}", found=str(error)[:200]
        ) from error
    if table.num_rows != shard.row_groups[group].clips:
        raise ShardError(
            "A row group is not what the manifest says",
            where=f"{store.uri}/{shard.path} row group {group}",
            expected=f"{shard.row_groups[group].clips} clips",
            found=f"{table.num_rows}",
        )
    return table


def decode_row(row: dict[str, Any], aus: int) -> Clip:
    """Return the clip of one row (a dict as `pyarrow.Table.to_pylist` gives it).

    Args:
        row: The row.
        aus: Number of action units, A.
    """
    frames = len(row["jpeg"])
    return Clip(
        corpus=row["corpus"],
        subject=row["subject"],
        video=row["video"],
        number_T=np.asarray(row["number"], np.int64),
        time_T=np.asarray(row["time"], np.float64),
        jpeg_T=tuple(row["jpeg"]),
        y_TA=np.asarray(row["label"], np.int8).reshape(frames, aus),
        valid_TA=np.asarray(row["valid"], bool).reshape(frames, aus),
        intensity_TA=np.asarray(row["intensity"], np.float32).reshape(frames, aus),
        confidence_T=np.asarray(row["confidence"], np.float32),
    )
