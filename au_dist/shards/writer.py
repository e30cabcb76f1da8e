"""Writing shards: clips of one subject a row group, shards named by their content, the manifest created last."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from au_dist.core.errors import ShardError
from au_dist.core.schema import Clip, CropRecipe
from au_dist.shards.format import (
    MANIFEST,
    SCHEMA,
    SCHEMA_VERSION,
    Manifest,
    RowGroup,
    Shard,
    SubjectCounts,
    read_clips,
    read_manifest,
)
from au_dist.storage.store import Store

#: Row groups are the unit of a ranged read: large enough for one request to be worth its latency.
ROW_GROUP_BYTES = 2 << 20
ROW_GROUP_CLIPS = 32
SHARD_BYTES = 128 << 20

#: A part is held in memory until it is written, by each of the tasks that run at a time.
PART_BYTES = 32 << 20


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
        metadata = {"au_dist": json.dumps({"schema": SCHEMA_VERSION, "aus": aus, "crop": crop.known()})}
        self.buffer = io.BytesIO()
        # JPEG does not compress further; the small columns hardly matter.
        self.writer = pq.ParquetWriter(
            self.buffer,
            SCHEMA.with_metadata(metadata),
            compression="none",
            use_dictionary=["corpus", "subject", "video"],
            # A byte that changes later is noticed when it is read.
            write_page_checksum=True,
        )
        self.crop_hash = crop.hash()
        self.groups: list[RowGroup] = []

    def add(self, clips: list[Clip]) -> None:
        before = self.buffer.tell()
        self.writer.write_table(_table(clips, self.crop_hash), row_group_size=len(clips))
        frames = sum(len(clip.jpeg_T) for clip in clips)
        size = self.buffer.tell() - before
        self.groups.append(RowGroup(subject=clips[0].subject, clips=len(clips), frames=frames, bytes=size))

    def close(self, store: Store, index: int, folder: str) -> Shard:
        self.writer.close()
        data = self.buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = f"{folder}/{index:05d}-{digest[:12]}.parquet"
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


def _files(
    clips: Iterable[Clip], store: Store, folder: str, size: int, aus: tuple[int, ...], crop: CropRecipe
) -> Iterator[Shard]:
    """Write clips as files of about a size, and yield each when it is written."""
    index, file = 0, None
    for group in _row_groups(clips):
        file = file or _ShardFile(aus, crop)
        file.add(group)
        if file.buffer.tell() >= size:
            yield file.close(store, index, folder)
            index, file = index + 1, None
    if file:
        yield file.close(store, index, folder)


def write_shards(
    clips: Iterable[Clip],
    store: Store,
    *,
    aus: tuple[int, ...],
    crop: CropRecipe,
    source: dict[str, Any],
    replaces: Manifest | None = None,
    stage: Callable[[Manifest], None] = lambda manifest: None,
) -> Manifest:
    """Write clips as shards and publish their manifest last.

    Args:
        clips: Clips, those of one subject together; all with the same number of frames.
        store: Where the set goes; must not hold one already but the one that it replaces.
        aus: The action units that the label columns stand for, in order.
        crop: The recipe that the crops were made with.
        source: How the set was made (corpus, seeds, options); kept in the manifest.
        replaces: The manifest of a set that is there and that this one takes the place of. Readers see the one or the
            other; the shards of the old one stay, and are the caller's to delete.
        stage: Called with the manifest before it is published.

    Returns:
        The published manifest.

    Raises:
        ShardError: The place holds a set already, a clip is malformed, or there are no clips.
    """
    if replaces is None and store.exists(MANIFEST):
        raise ShardError("This place already holds shards", where=store.uri, fix="Choose an empty place for --out.")
    shards: list[Shard] = []
    written: list[str] = []
    counts: dict[str, SubjectCounts] = {}
    lengths: set[int] = set()

    def counted() -> Iterator[Clip]:
        for clip in _checked(clips, aus):
            lengths.add(len(clip.jpeg_T))
            counts[clip.subject] = _counted(counts.get(clip.subject), clip, len(aus))
            yield clip

    try:
        for shard in _files(counted(), store, "shards", SHARD_BYTES, aus, crop):
            shards.append(shard)  # one by one: what is written by the time of a fault is deleted
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
            crop=crop.known(),
            crop_hash=crop.hash(),
            clips=sum(shard.clips for shard in shards),
            frames=sum(count.frames for count in counts.values()),
            subjects=counts,
            shards=tuple(shards),
            source=source,
        )
        manifest = manifest.model_copy(update={"sha256": manifest.digest()})
        stage(manifest)
        if not _published(store, manifest, replaces):
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


def _published(store: Store, manifest: Manifest, replaces: Manifest | None) -> bool:
    """Publish a manifest; return False where another process published one meanwhile."""
    text = manifest.model_dump_json(indent=1).encode()
    if replaces is None:
        return store.create(MANIFEST, text)
    if read_manifest(store).sha256 != replaces.sha256:
        return False
    store.write(MANIFEST, text)
    return True


def write_part(
    clips: Iterable[Clip], store: Store, folder: str, *, aus: tuple[int, ...], crop: CropRecipe
) -> tuple[Shard, ...]:
    """Write clips of one recording as files of the shard format that no manifest lists yet.

    Memory holds one file of ``PART_BYTES``.

    Raises:
        ShardError: A clip is malformed.
    """
    return tuple(_files(_checked(clips, aus), store, folder, PART_BYTES, aus, crop))


def read_part(store: Store, shards: Iterable[Shard], num_aus: int) -> Iterator[Clip]:
    """Yield the clips of files that `write_part` wrote.

    Raises:
        ShardError: A file is missing or was changed.
    """
    for shard in shards:
        for group in range(len(shard.row_groups)):
            yield from read_clips(store, shard, group, num_aus)


def _listed(store: Store) -> list[str]:
    try:
        return [shard.path for shard in read_manifest(store).shards]
    except ShardError:
        return []


def _checked(clips: Iterable[Clip], aus: tuple[int, ...]) -> Iterator[Clip]:
    """Yield clips, or refuse one that is malformed."""
    for clip in clips:
        faults = clip.faults(len(aus))
        if faults:
            raise ShardError(
                "A clip is malformed", where=clip.clip_id if clip.jpeg_T else clip.video, found="; ".join(faults)
            )
        yield clip


def _counted(counts: SubjectCounts | None, clip: Clip, num_aus: int) -> SubjectCounts:
    before = counts or SubjectCounts(
        corpus=clip.corpus, clips=0, frames=0, labelled=(0,) * num_aus, positive=(0,) * num_aus
    )
    return SubjectCounts(
        corpus=clip.corpus,
        clips=before.clips + 1,
        frames=before.frames + len(clip.jpeg_T),
        labelled=tuple(a + int(b) for a, b in zip(before.labelled, clip.valid_TA.sum(0), strict=True)),
        positive=tuple(a + int(b) for a, b in zip(before.positive, clip.y_TA.sum(0), strict=True)),
    )
