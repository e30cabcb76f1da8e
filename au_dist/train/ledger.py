"""Which clips each contrast set of a run saw: written beside the checkpoints, by each rank for itself.

What is written belongs to a checkpoint, so that steps which a fault undid are written once, when they are done again.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from au_dist.data.batches import ClipBatch
from au_dist.storage.store import Store

FOLDER = "ledger"

SCHEMA = pa.schema(
    [
        ("set", pa.int32()),
        ("lane", pa.int32()),
        ("position", pa.int64()),
        ("epoch", pa.int32()),
        ("clip", pa.dictionary(pa.int32(), pa.string())),
    ]
)


class Ledger:
    """Notes the clips of the batches that one rank learns from.

    Args:
        run: The run's place.
        rank: This rank.
        world: Number of ranks.
        lanes: The lanes that this rank reads.
        take: Clips that a contrast set takes of each lane.
        first: The contrast set that the rank begins with.
    """

    def __init__(self, run: Store, rank: int, world: int, lanes: tuple[int, ...], take: int, first: int) -> None:
        self.run, self.who, self.lanes, self.take = run, f"{rank}of{world}", lanes, take
        self.begun = self.next = first
        self.rows: list[dict[str, Any]] = []

    def noting(self, batches: Iterator[ClipBatch]) -> Iterator[ClipBatch]:
        """Yield batches and note each when it is asked for."""
        for batch in batches:
            places = [(lane, self.next * self.take + k) for lane in self.lanes for k in range(self.take)]
            for (lane, position), epoch, clip in zip(places, batch.epochs, batch.clip_ids, strict=True):
                self.rows.append({"set": self.next, "lane": lane, "position": position, "epoch": epoch, "clip": clip})
            self.next += 1
            yield batch

    def write(self) -> None:
        """Write what was noted since the last time."""
        if not self.rows:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(self.rows, SCHEMA), sink, compression="zstd")
        name = f"{FOLDER}/{self.begun:09d}-{self.next:09d}-{self.who}.parquet"
        self.run.write(name, sink.getvalue().to_pybytes())
        self.begun, self.rows = self.next, []


def read_ledger(run: Store) -> pa.Table:
    """Return all that the ranks of a run noted, sorted by set, lane and position; what was noted twice stands once.

    Sets that were done again after a fault, on as many or on other workers, are noted again.
    """
    paths = [path for path in run.list(FOLDER, recursive=True) if path.endswith(".parquet")]
    tables = [pq.read_table(pa.BufferReader(run.read(path)), use_threads=False) for path in sorted(paths)]
    whole = pa.concat_tables([SCHEMA.empty_table(), *tables]).unify_dictionaries().combine_chunks()
    whole = whole.set_column(4, "clip", whole["clip"].cast(pa.string()))
    once = whole.group_by(whole.column_names, use_threads=False).aggregate([])
    return once.sort_by([("set", "ascending"), ("lane", "ascending"), ("position", "ascending")])
