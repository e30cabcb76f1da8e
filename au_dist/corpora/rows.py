"""Delimited text as rows, read strictly: what does not fit is an error that names file, line and column."""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few

#: What parts the cells of a row. A file has one of them: the first that its first row has, otherwise blanks.
DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas"}

#: Cells that say nothing, in any case, and cells that are numbers though they look otherwise.
NOTHING = ("", "nan", "na", "n/a", "null", "none")
LOGICAL = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class Rows:
    """The rows of a text.

    Attributes:
        where: Where the text is from.
        lines: The line of each row, from 1.
        cells: The cells of each row, equally many in each, without the blanks around them.
    """

    where: str
    lines: tuple[int, ...]
    cells: tuple[tuple[str, ...], ...]

    @property
    def first(self) -> tuple[str, ...]:
        """The cells of the first row; none in an empty text."""
        return self.cells[0] if self.cells else ()

    def below(self) -> "Rows":
        """Return the rows below the first, which is a header."""
        return Rows(self.where, self.lines[1:], self.cells[1:])

    def order(self, header: int) -> np.ndarray:
        """Return the place of each row, int64 from 0, where rows follow each other below the line of a header.

        A line that is empty, or has delimiters alone, is a place too.
        """
        return np.array(self.lines, np.int64) - header - 1

    def numbers(
        self,
        columns: Sequence[int],
        names: Sequence[str],
        whole: Collection[int] = (),
        fix: str | None = None,
        expected: str = "a number",
    ) -> np.ndarray:
        """Return some columns as numbers, float64 [rows, columns]; NaN where a cell says nothing.

        Args:
            columns: Their places.
            names: What they are called, for a person.
            whole: Those of them whose numbers must be whole.
            fix: What to do about one that is not.
            expected: What a cell should hold.

        Raises:
            IngestError: A cell is no number, an infinite one, or not a whole one where it must be.
        """
        cells = [[_plain(row[k]) for k in columns] for row in self.cells]
        try:
            found = np.array(cells, np.float64).reshape(len(cells), len(columns))
        except ValueError:
            found = None
        if found is None or np.isinf(found).any():
            row, k = next((r, k) for r, row in enumerate(cells) for k, cell in enumerate(row) if not _is_number(cell))
            raise self.error("A cell is no number", row, names[k], expected, cells[row][k], comma(cells[row][k]))
        parts = ~np.isnan(found) & (found != np.round(found)) & np.isin(columns, list(whole))
        if parts.any():
            row, k = np.argwhere(parts)[0]
            raise self.error("A number is not whole", row, names[k], "a whole number", self.cells[row][columns[k]], fix)
        return found

    def error(
        self, what: str, row: int, name: str, expected: str, found: object, fix: str | None = None
    ) -> IngestError:
        """Return the error for a cell of a row."""
        where = f"{self.where}, line {self.lines[row]}, column {name}"
        return IngestError(what, where=where, expected=expected, found=found, fix=fix)


def read_rows(text: str, where: str) -> Rows:
    """Part a text into rows; empty lines, and lines of delimiters alone, are none.

    Args:
        text: The text.
        where: Where it is from, for a person.

    Raises:
        IngestError: A row has another number of cells than the first.
    """
    texts = text.splitlines()
    start = next((line for line in texts if line.strip()), "")
    mark = next((mark for mark in DELIMITERS if mark in start), None)
    delimiter = DELIMITERS.get(mark or "", "blanks")
    parted = _parted(texts, mark, where) if mark else enumerate(map(str.split, texts), 1)
    lines: list[int] = []
    cells: list[tuple[str, ...]] = []
    for line, row in parted:
        stripped = tuple(cell.strip() for cell in row)
        if not any(stripped):
            continue
        if cells and len(stripped) != len(cells[0]):
            raise IngestError(
                "A row has another number of cells than the first",
                where=f"{where}, line {line}",
                expected=f"{len(cells[0])} cells, as in line {lines[0]}, parted by {delimiter}",
                found=f"{len(stripped)}: {preview(stripped)}",
                fix="Write it again with one delimiter and a cell for every column, empty where nothing is known.",
            )
        lines.append(line)
        cells.append(stripped)
    return Rows(where, tuple(lines), tuple(cells))


def _parted(texts: Sequence[str], mark: str, where: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(texts, delimiter=mark, strict=True)
    before = 0
    try:
        for row in reader:
            if reader.line_num > before + 1:
                raise csv.Error("a cell that goes on in the next line")
            before = reader.line_num
            yield before, row
    except csv.Error as error:
        raise IngestError(
            "A quotation mark is not closed in its line",
            where=f"{where}, line {before + 1}",
            found=error,
            fix="Close it, or take the quotation marks and line breaks out of the cells.",
        ) from error


def comma(cell: str) -> str | None:
    """Return what to do about a number with a decimal comma; None where a cell is none."""
    return "Write decimals with a point." if re.fullmatch(r"-?\d+,\d+", cell) else None


def preview(cells: Iterable[str]) -> str:
    """Return the first cells of a row, for a person."""
    return first_few((cell or "(empty)" for cell in cells), 6)


def is_unnamed(cell: str) -> bool:
    """Return whether a header has no name for a column, as for the row numbers that pandas saves first."""
    return re.fullmatch(r"(Unnamed:?.*)?", cell, re.IGNORECASE) is not None


def is_numeric(cells: Iterable[str]) -> bool:
    """Return whether all cells are numbers: a row of numbers is no header."""
    return all(cell and _is_number(_plain(cell)) for cell in cells)


def _plain(cell: str) -> str:
    low = cell.lower()
    return "nan" if low in NOTHING else LOGICAL.get(low, cell)


def _is_number(cell: str) -> bool:
    try:
        return not np.isinf(float(cell))
    except ValueError:
        return False
