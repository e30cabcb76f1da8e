"""Shards through Ray Data: into training workers in the planned order, and through a scorer once, completely.

Datasets of Ray Data are made here and nowhere else. What an epoch takes of each clip travels, not the clip
(`au_dist.data.rows`).
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataContext, DataIterator, Dataset, ExecutionOptions, ExecutionResources

from au_dist.compat.ray_data import SchedulerThrottle
from au_dist.config.sections import READING_TASKS
from au_dist.data.order import Block
from au_dist.data.source import plan_reads, read_parts
from au_dist.data.splits import training_groups
from au_dist.shards.format import Manifest, read_row_group
from au_dist.storage.store import Store

#: More Ray Data tasks than this cost more to plan than they gain.
MAX_TASKS = 4096

#: Larger tables travel in parts of this size.
BLOCK_BYTES = 2 << 20


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
    options = ExecutionOptions(preserve_order=True, label_selector=dict(source.node_labels) or None)
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
