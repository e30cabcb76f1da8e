"""Where training clips come from: what is read of the shards, in the planned order, and how; Ray has no part in it."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from au_dist.data.jpeg import pixels
from au_dist.data.order import Block, Order, RowGroupSlice
from au_dist.data.rows import COLUMNS, Reading, take_clips
from au_dist.shards.format import Manifest, read_row_group
from au_dist.storage.store import Store

#: Row groups that one reading task asks for at once.
READERS = 8

#: Contrast sets whose clips are read for themselves at the start: the first one waits for little then.
HEAD_SETS = 2

#: Clips whose pixels a reading task holds at once.
DECODED_CLIPS = 8


@dataclass(frozen=True)
class Source:
    """Where training data comes from and in which order.

    Attributes:
        store: The set of shards.
        manifest: Its manifest.
        order: The order of the run.
        reading: What is taken of each clip.
        decode: Frames are decoded by the reading tasks.
        take: Clips that each contrast set takes of every lane.
        sets: Contrast sets in the whole run.
        cpus: CPU share for the reading of one worker.
        node_labels: Labels of the nodes that read.
        prefetch: Blocks to read ahead.
        memory: Share of the cluster's object store that the reading of all workers may fill.
    """

    store: Store
    manifest: Manifest
    order: Order
    reading: Reading
    decode: bool
    take: int
    sets: int
    cpus: float
    node_labels: Mapping[str, str]
    prefetch: int
    memory: float


@functools.cache
def _readers() -> ThreadPoolExecutor:
    """Threads that wait for storage; the row groups of a block come together, not one after the other."""
    return ThreadPoolExecutor(READERS, "read")


def read_block(source: Source, block: Block, start: int, stop: int) -> pa.Table:
    """Return clips of a block in their shuffled order.

    Args:
        source: Where they are.
        block: Which they are.
        start: Position in the lane of the first that is wanted, in the block.
        stop: Position after the last.

    Returns:
        The columns of `au_dist.data.rows.take_clips` and ``lane`` and ``position``.
    """

    def read(row_slice: RowGroupSlice) -> pa.Table:
        shard = source.manifest.shards[row_slice.group.shard]
        return read_row_group(source.store, shard, row_slice.group.group, COLUMNS)

    # Threads only wait: what is done to a table holds the interpreter's lock.
    slices = source.order.slices(block)
    tables = zip(_readers().map(read, slices), slices, strict=True)
    whole = pa.concat_tables(
        take_clips(table, row_slice.rows(), row_slice.repeats(), block.epoch, source.reading)
        for table, row_slice in tables
    )
    wanted = source.order.permutation(block)[start - block.position : stop - block.position]
    table = whole.take(pa.array(wanted)).combine_chunks()
    return table.append_column("lane", pa.array([block.lane] * table.num_rows, pa.int32())).append_column(
        "position", pa.array(range(start, start + table.num_rows), pa.int64())
    )


def read_parts(source: Source, block: Block, start: int, stop: int) -> Iterator[pa.Table]:
    """Yield clips of a block as they travel; pixels a few clips at a time. Arguments as for `read_block`."""
    table = read_block(source, block, start, stop)
    if not source.decode:
        yield table
        return
    for first in range(0, table.num_rows, DECODED_CLIPS):
        yield _decoded(table.slice(first, DECODED_CLIPS), source.manifest.crop_recipe.size)


def _decoded(table: pa.Table, size: int) -> pa.Table:
    """Put pixels in the place of JPEGs, but of those that do not decode."""

    def raw(jpeg: bytes) -> bytes:
        frame = pixels(jpeg, size)
        return jpeg if isinstance(frame, str) else frame.tobytes()

    frames = [[raw(jpeg) for jpeg in clip] for clip in table["frame"].to_pylist()]
    return table.set_column(table.column_names.index("frame"), "frame", pa.array(frames, pa.list_(pa.binary())))


def plan_reads(source: Source, lanes: Sequence[int], position: int) -> np.ndarray:
    """Return what is read of some lanes from a contrast set on, in the order of need, int64 [N, 7].

    Each row is a block and the first and last position in its lane. A run has millions of blocks where a set has
    millions of clips, so what is kept of one is a few numbers.
    """
    start, stop = position * source.take, source.sets * source.take

    def reads() -> Iterator[tuple[int, ...]]:
        for block in source.order.stream(lanes, start, stop):
            begin, end = max(start, block.position), block.position + block.clips
            head = min(end, begin + HEAD_SETS * source.take) if block.position <= start else begin
            yield from ((*block, *part) for part in ((begin, head), (head, end)) if part[0] < part[1])

    plan = np.fromiter(reads(), np.dtype((np.int64, len(Block._fields) + 2)))
    return plan[np.lexsort((plan[:, 0], plan[:, -2]))]
