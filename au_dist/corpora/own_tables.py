"""A person's own table, read: its rows, what its columns are, and the files that its rows name."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.columns import Columns, understand
from au_dist.corpora.files_below import FilesBelow
from au_dist.corpora.own_codes import Codes, read_codes, spans_of
from au_dist.corpora.rows import NOTHING, Rows
from au_dist.corpora.table_files import read_table
from au_dist.corpora.timed import Span
from au_dist.corpora.tree import Entry

#: Share of the rows whose file may be absent.
MOST_ABSENT = 0.5


@dataclass(frozen=True, eq=False)
class OwnTable:
    """A table, read.

    Attributes:
        entry: The file.
        below: Its rows below the header.
        columns: What the columns are.
        codes: The codes of the rows; None where rows are intervals.
        spans: Row → its intervals.
        files: Row → the file that it names; a row whose file is absent is not there.
        notes: What a person should know.
    """

    entry: Entry
    below: Rows
    columns: Columns
    codes: Codes | None
    spans: dict[int, list[Span]]
    files: dict[int, Entry]
    notes: tuple[str, ...]

    @cached_property
    def all_spans(self) -> list[Span]:
        """The intervals of all rows."""
        return [span for spans in self.spans.values() for span in spans]

    @property
    def coded(self) -> bool:
        """Whether any cell holds a code, or any row is an interval."""
        return bool(self.spans) or (self.codes is not None and bool(np.isfinite(self.codes.code_RK).any()))

    def cell(self, row: int, role: str) -> str:
        """Return the cell of a row in the column that has a role; empty where it says nothing or there is none."""
        cell = self.below.cells[row][self.columns.roles[role]] if role in self.columns.roles else ""
        return "" if cell.lower() in NOTHING else cell

    def place(self, row: int) -> str:
        """Return where a row is, for a person."""
        return f"{self.below.where}, line {self.below.lines[row]}"


def read_own(entry: Entry, files: FilesBelow, occurs_from: float | None) -> OwnTable:
    """Read a table and find the files that it names.

    Args:
        entry: The table.
        files: The files that there are.
        occurs_from: Code from which an action unit occurs; None where codes are 0 and 1.

    Raises:
        IngestError: The table cannot be understood, or most of its files are not there.
    """
    rows, notes = read_table(entry)
    columns, below = understand(rows), rows.below()
    if not below.cells:
        raise IngestError(
            "The table has no rows",
            where=rows.where,
            expected="a row for each labelled frame, picture or interval, below the header",
            found="a header alone",
        )
    codes: Codes | None = None
    spans: dict[int, list[Span]] = {}
    if columns.intervals:
        spans, other = spans_of(below, columns)
        told = first_few(f"{code} ({times})" for code, times in other.most_common())
        if not spans:
            raise IngestError(
                "No interval is of an action unit",
                where=rows.where,
                expected="codes such as AU12, 12, 1+2 or 12C, or a column an action unit",
                found=told,
            )
        if other:
            notes += (f"{entry.name}: {other.total()} codes say nothing of an action unit and were left out: {told}.",)
    else:
        codes = read_codes(below, columns, occurs_from)
        if not np.isfinite(codes.code_RK).any():
            notes += (f"{entry.name}: no cell of the action units holds a code.",)
    role = next((role for role in ("path", "video") if role in columns.roles), None)
    named = {
        row: below.cells[row][columns.roles[role]] if role else PurePosixPath(entry.name).stem
        for row in range(len(below.cells))
    }
    found = {
        name: files.named(name, f"{below.where}, line {below.lines[row]}")
        for name, row in {name: row for row, name in reversed(named.items())}.items()
    }
    absent = Counter(name or "(empty)" for name in named.values() if found[name] is None)
    if absent.total() > MOST_ABSENT * len(named):
        raise IngestError(
            "Most files that the table names are not there",
            where=files.root,
            expected=f"the files of {entry.name}" + (f", column {columns.name(role)}" if role else ""),
            found=f"{absent.total()} of {len(named)} rows without a file, such as {first_few(absent)}",
            fix="Say where they are with --root; the table may name them by any end of their path below it.",
        )
    if absent:
        told = first_few(absent)
        notes += (f"{entry.name}: {absent.total()} rows name files that are not there and were left out: {told}.",)
    there = {row: file for row, name in named.items() if (file := found[name])}
    return OwnTable(entry, below, columns, codes, spans, there, notes)
