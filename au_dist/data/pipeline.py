"""Shards through Ray Data: into training workers in the planned order, and through a scorer once, completely.

Datasets of Ray Data are made here and nowhere else. What an epoch takes of each clip travels, not the clip
(`au_dist.data.rows`).
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataContext, DataIterator, Dataset, ExecutionOptions, ExecutionResources

from au_dist.compat.ray_data import SchedulerThrottle
from au_dist.config.sections import READING_TASKS
from au_dist.data.jpeg import pixels
from au_dist.data.order import Block, Order, RowGroupSlice
from au_dist.data.rows import COLUMNS, Reading, take_clips
from au_dist.data.splits import training_groups
from au_dist.shards.format import Manifest, read_row_group
from au_dist.storage.store import Store

#: More Ray Data tasks than this cost more to plan than they gain.
MAX_TASKS = 4096

#: Row groups that one reading task asks for at once.
READERS = 8

#: Larger tables travel in parts of this size.
BLOCK_BYTES = 2 << 20

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


def rank_dataset(kept: ray.ObjectRef, lanes: Sequence[int], world: int, position: int) -> Dataset:
    """Return the dataset of a rank: the blocks of its lanes from a contrast set to the end of the run, across epochs.

    Made in the rank's own process, which also runs it: a manager of the datasets of all ranks, as Ray Train has one,
    would be one process more to start.

    Args:
        kept: The `Source` in the object store.
        lanes: The rank's lanes.
        world: Number of ranks.
        position: The contrast set.
    """
    source = _fetched(kept)
    plan = plan_reads(source, lanes, position)
    numbers = plan.shape[1]

    def read(batch: dict[str, Any]) -> Iterator[pa.Table]:
        for some in batch["item"]:
            for *block, start, stop in np.frombuffer(some, np.int64).reshape(-1, numbers).tolist():
                yield from read_parts(_fetched(kept), Block(*block), start, stop)

    # Ray Data counts what waits in its queues; what its tasks hold and what travels is up to twice as much again.
    memory = source.memory * ray.cluster_resources()["object_store_memory"] / world / 3
    options = ExecutionOptions(preserve_order=True)
    options.resource_limits = ExecutionResources(cpu=source.cpus, object_store_memory=memory)
    items = _items([part.tobytes() for part in np.array_split(plan, max(1, min(len(plan), MAX_TASKS)))])
    cpus = source.cpus / READING_TASKS
    dataset = items.map_batches(read, batch_size=None, zero_copy_batch=True, num_cpus=cpus)
    dataset.context.execution_options = options
    dataset.context.target_max_block_size = BLOCK_BYTES
    dataset.context.custom_execution_callback_classes = [SchedulerThrottle]
    return dataset


@functools.lru_cache(maxsize=2)
def _fetched(kept: ray.ObjectRef) -> Any:
    """Return an object, fetched once a process: what a task is given with its function comes again with each task."""
    return ray.get(kept)


def _items(items: list[Any]) -> Dataset:
    """Return a dataset of some items, one or a few a task.

    Not `ray.data.range`: each of its tasks asks for a whole CPU, whatever the tasks after it ask for. Not
    `ray.data.from_arrow`: it starts a task for each table to learn its size.
    """
    return ray.data.from_items([{"item": item} for item in items], override_num_blocks=min(len(items), MAX_TASKS))


def iterate(shard: DataIterator, prefetch: int) -> Iterator[pa.Table]:
    """Yield the rows of a rank's dataset as they arrive, in order.

    They are copied: rows wait until their turn comes, and would fill the object store meanwhile.
    """
    for table in shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=prefetch):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        yield pa.ipc.open_stream(sink.getvalue()).read_all()


def score(
    store: Store,
    manifest: Manifest,
    subjects: tuple[str, ...],
    scorer: Callable[..., Any],
    arguments: dict[str, Any],
    *,
    workers: int,
    cpus: float,
    gpus: float,
) -> pa.Table:
    """Send every clip of some subjects through a scorer, each exactly once.

    Args:
        store: The set of shards.
        manifest: Its manifest.
        subjects: Whose clips.
        scorer: A class whose instances map a table of rows to a table.
        arguments: Its constructor's keyword arguments.
        workers: Number of scorers.
        cpus: CPUs of each.
        gpus: GPUs of each.

    Returns:
        The tables of the scorer, one under the other.
    """
    groups = training_groups(manifest, subjects)
    kept = ray.put((store, manifest, groups))

    def read(batch: dict[str, Any]) -> Iterator[pa.Table]:
        store, manifest, groups = _fetched(kept)
        for index in batch["item"]:
            group = groups[index]
            yield read_row_group(store, manifest.shards[group.shard], group.group)

    workers = min(workers, len(groups))
    dataset = (
        _items(list(range(len(groups))))
        .map_batches(
            read, batch_size=None, zero_copy_batch=True, num_cpus=cpus / 4, concurrency=READING_TASKS * workers
        )
        .map_batches(
            scorer,
            fn_constructor_kwargs=arguments,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=cpus,
            num_gpus=gpus,
        )
    )
    dataset.context.custom_execution_callback_classes = [SchedulerThrottle]
    return pa.concat_tables(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))


def quiet() -> None:
    """Keep Ray Data's progress bars out of the terminal; runs report their own progress."""
    # It would say at each execution that its bars are off.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
