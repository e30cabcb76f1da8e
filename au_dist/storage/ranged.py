"""Row groups of a Parquet file by ranged reads: one request for the columns that lie together, by any thread.

pyarrow's own read-ahead serves one reader at a time and keeps what it read; here a file is only opened once, and every
thread asks the store for its own row group.
"""

import functools
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from au_dist.storage.hedge import Hedge

#: Columns that are this far apart are fetched with what lies between them: that is cheaper than another request.
GAP_BYTES = 128 << 10


#: Reads of this process at once.
THREADS = 16


@functools.cache
def _hedge() -> Hedge:
    return Hedge(THREADS)


class RangedFile:
    """An open Parquet file.

    Args:
        file: Reads at any place (``pyarrow.NativeFile``).
        hedged: Reads that are late are asked for twice.
    """

    def __init__(self, file: Any, hedged: bool = False) -> None:
        self.file, self.size, self.hedged = file, file.size(), hedged
        parquet = pq.ParquetFile(file)
        self.metadata, self.names = parquet.metadata, parquet.schema_arrow.names

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """Return some columns of a row group; all when None."""
        wanted = self.names if columns is None else columns
        parts = [(begin, self._fetch(begin, end)) for begin, end in self._ranges(group, set(wanted))]
        window = _Window(parts, self.size)
        # Not in Arrow's threads: a process that ends with them at hand may abort (apache/arrow#34314, #50482).
        with pq.ParquetFile(window, metadata=self.metadata, page_checksum_verification=True) as parquet:
            return parquet.read_row_group(group, columns=wanted, use_threads=False)

    def _fetch(self, begin: int, end: int) -> bytes:
        def read() -> bytes:
            return self.file.read_at(end - begin, begin)

        return _hedge()(read) if self.hedged else read()

    def _ranges(self, group: int, names: set[str]) -> list[tuple[int, int]]:
        """Return where the bytes of some columns begin and end, those that lie together as one."""
        row_group, spans = self.metadata.row_group(group), []
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            if column.path_in_schema.split(".")[0] in names:
                begin = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
                spans.append((begin, begin + column.total_compressed_size))
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(spans):
            if merged and begin - merged[-1][1] <= GAP_BYTES:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged


class _Window(io.RawIOBase):
    """A file of which only some parts are at hand."""

    def __init__(self, parts: list[tuple[int, bytes]], size: int) -> None:
        super().__init__()
        self.parts, self.length, self.place = parts, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.length}[whence]
        return self.place

    def read(self, size: int = -1) -> bytes:
        for begin, data in self.parts:
            if begin <= self.place < begin + len(data):
                piece = data[self.place - begin :][:size] if size >= 0 else data[self.place - begin :]
                self.place += len(piece)
                return piece
        return b""
