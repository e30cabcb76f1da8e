"""The label files of the field, text in, a table out. Unknown codes become a mask.

Every reader is told where the text is from, so that an error names file and line.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from au_dist.core.errors import IngestError

#: Occurrence or intensity that is not known.
UNKNOWN = -1

#: Codes for "not known" in occurrence files.
MISSING = frozenset((9, -1, 999))


@dataclass(frozen=True)
class LabelTable:
    """What is known of the frames of one sequence.

    Attributes:
        number_L: Frame numbers as the corpus counts them, int64, strictly increasing.
        occurrence: Action unit → int8 [L] in {0, 1, UNKNOWN}.
        intensity: Action unit → int8 [L], 0 to 5 or UNKNOWN.
    """

    number_L: np.ndarray
    occurrence: Mapping[int, np.ndarray] = field(default_factory=dict)
    intensity: Mapping[int, np.ndarray] = field(default_factory=dict)

    def columns(self, aus: Iterable[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return occurrence, its validity and the intensity of some action units.

        Args:
            aus: The action units, A of them; one that is not coded is unknown everywhere.

        Returns:
            y_LA (int8; 0 where unknown), valid_LA (bool), intensity_LA (float32; NaN where unknown).
        """
        nothing = np.full(len(self.number_L), UNKNOWN, np.int8)
        y_LA, level_LA = (
            np.stack([of.get(au, nothing) for au in aus], axis=1).astype(np.int8)
            for of in (self.occurrence, self.intensity)
        )
        valid_LA = y_LA != UNKNOWN
        return np.where(valid_LA, y_LA, 0), valid_LA, np.where(level_LA == UNKNOWN, np.nan, level_LA).astype(np.float32)


def occurrence_from(intensity: Mapping[int, np.ndarray], threshold: int) -> dict[int, np.ndarray]:
    """Return occurrence as intensity of at least a threshold."""
    return {
        au: np.where(level_L == UNKNOWN, UNKNOWN, level_L >= threshold).astype(np.int8)
        for au, level_L in intensity.items()
    }


def read_coded(text: str, where: str) -> LabelTable:
    """Read the occurrence CSV of BP4D and BP4D+: a frame number, then a code an action unit.

    The header names the action units (``AU1``, ``1`` …). A header of 0 to 99 is the positional form: column k is action
    unit k, column 99 an occlusion flag. Codes other than 0 and 1 that are known as "missing" are masked; where the flag
    of the positional form is 1, the whole row is.

    Raises:
        IngestError: There is no header, or a cell is no number.
    """
    rows = _cells(text, where)
    header = next(rows, None)
    columns = _coded_columns(header[1] if header else [], where)
    numbers, codes = _table(rows, where, [0, *columns])
    known = dict(zip(columns.values(), codes.T, strict=True))
    flag_L = known.pop(99, None)
    if flag_L is not None and header is not None and len(header[1]) == 100:
        known = {au: np.where(flag_L == 1, UNKNOWN, column).astype(np.int8) for au, column in known.items()}
    return LabelTable(numbers, known)


def _coded_columns(header: list[str], where: str) -> dict[int, int]:
    """Return column → action unit."""
    if header[1:] == [str(k) for k in range(1, len(header))] and len(header) > 50:
        return {k: k for k in range(1, len(header))}
    columns = {}
    for k, cell in enumerate(header[1:], 1):
        if match := re.fullmatch(r"(?:AU)?\s*0*([1-9]\d?)(?:_?[cr])?", cell, re.IGNORECASE):
            columns[k] = int(match[1])
    if not columns or len(set(columns.values())) < len(columns):
        raise IngestError(
            "The header of the label file names no action units",
            where=f"{where}, line 1",
            expected="a frame column, then AU1, AU2 … or 1, 2 … (or the numbers 0 to 99)",
            found=", ".join(header[:6]) or "an empty file",
        )
    return columns


def read_pairs(text: str, where: str, au: int) -> LabelTable:
    """Read an intensity file without header: frame number and intensity, parted by comma, semicolon or blank.

    Raises:
        IngestError: A line is not two numbers.
    """
    return _intensities(_cells(text, where), where, au)


def read_named_pictures(text: str, where: str, au: int) -> LabelTable:
    """Read a label file of DISFA+: two lines of header beginning with #, then the name of a picture and an intensity.

    Raises:
        IngestError: A line is something else.
    """

    def rows() -> Iterator[tuple[int, list[str]]]:
        for line, cells in _cells(text, where):
            if not cells[0].startswith("#"):
                yield line, [cells[0].rpartition(".")[0] or cells[0], *cells[1:]]

    return _intensities(rows(), where, au)


def _intensities(rows: Iterable[tuple[int, list[str]]], where: str, au: int) -> LabelTable:
    """Return rows of frame number and intensity as a table; what is not 0 to 5 is unknown."""
    numbers, codes = _table(rows, where, [0, 1])
    level_L = codes[:, 0]
    return LabelTable(numbers, {}, {au: np.where((level_L >= 0) & (level_L <= 5), level_L, UNKNOWN).astype(np.int8)})


def read_ordered(text: str, where: str) -> LabelTable:
    """Read a label file of Aff-Wild2: a header of action units, then a row a frame, from frame 1.

    A row with -1 anywhere says nothing about its frame.

    Raises:
        IngestError: The header or a cell is something else.
    """
    rows = _cells(text, where)
    first, header = next(rows, (1, []))
    columns = _coded_columns(["frame", *header], where)
    numbers, codes = _table(((line, [str(line - first), *cells]) for line, cells in rows), where, [0, *columns])
    codes = np.where((codes == UNKNOWN).any(1, keepdims=True), UNKNOWN, codes)
    return LabelTable(numbers, dict(zip(columns.values(), codes.T, strict=True)))


def _cells(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that is not empty."""
    for line, row in enumerate(csv.reader(text.splitlines()), 1):
        cells = [cell.strip() for cell in (row if len(row) > 1 else re.split(r"[;\s]+", row[0].strip()) if row else [])]
        if any(cells):
            yield line, cells


def _table(rows: Iterable[tuple[int, list[str]]], where: str, wanted: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first wanted column as frame numbers, int64 [L], and the others as codes, int8 [L, columns].

    Codes that stand for "missing" become UNKNOWN; frames are put in order.
    """
    numbers: list[int] = []
    codes: list[list[int]] = []
    for line, cells in rows:
        try:
            number, *values = (int(float(cells[k])) for k in wanted)
        except (ValueError, IndexError, OverflowError) as error:
            raise IngestError(
                "A line of the label file is not what it should be",
                where=f"{where}, line {line}",
                expected=f"at least {max(wanted) + 1} numbers",
                found=", ".join(cells[:6]),
            ) from error
        numbers.append(number)
        codes.append([UNKNOWN if value in MISSING else value for value in values])
    if not numbers:
        raise IngestError("The label file has no rows", where=where)
    try:
        number_L, code_LK = np.array(numbers, np.int64), np.array(codes, np.int64).reshape(len(numbers), -1)
    except OverflowError as error:
        raise IngestError("A number of the label file is out of range", where=where, found=error) from error
    order = np.argsort(number_L, kind="stable")
    number_L, code_LK = number_L[order], code_LK[order]
    twice = np.flatnonzero(np.diff(number_L) == 0)
    if len(twice):
        raise IngestError("A frame is labelled twice", where=where, found=f"frame {number_L[twice[0]]}")
    if code_LK.max(initial=0) > 100 or code_LK.min(initial=0) < UNKNOWN:
        raise IngestError("A label is out of range", where=where, found=f"{code_LK.min()} to {code_LK.max()}")
    return number_L, code_LK.astype(np.int8)


def joined(tables: Iterable[LabelTable], where: str, tolerance: int | None = None) -> LabelTable:
    """Put the tables of one sequence side by side; a frame that one of them lacks is unknown there.

    Args:
        tables: The tables.
        where: The sequence, for a person.
        tolerance: By how many frames their lengths may differ; None for any.

    Raises:
        IngestError: There are none, or they are too different.
    """
    tables = list(tables)
    if not tables:
        raise IngestError("A sequence has no label file", where=where)
    number_L = np.unique(np.concatenate([table.number_L for table in tables]))
    shortest = min(tables, key=lambda table: len(table.number_L))
    if tolerance is not None and len(number_L) - len(shortest.number_L) > tolerance:
        names = ", ".join(f"AU{au:02d}" for au in (*shortest.occurrence, *shortest.intensity))
        raise IngestError(
            "The label files of a recording are of different lengths",
            where=where,
            expected=f"{len(number_L)} frames, or up to {tolerance} fewer",
            found=f"{len(shortest.number_L)} for {names}",
        )

    def spread(table: LabelTable, column: np.ndarray) -> np.ndarray:
        wide = np.full(len(number_L), UNKNOWN, np.int8)
        wide[np.searchsorted(number_L, table.number_L)] = column
        return wide

    return LabelTable(
        number_L,
        {au: spread(table, column) for table in tables for au, column in table.occurrence.items()},
        {au: spread(table, column) for table in tables for au, column in table.intensity.items()},
    )


def occurrence_checked(table: LabelTable, where: str) -> LabelTable:
    """Return a table whose occurrence codes are all 0, 1 or unknown.

    Raises:
        IngestError: One is something else, as when intensities are read as occurrence.
    """
    for au, column in table.occurrence.items():
        strange = sorted(set(np.unique(column).tolist()) - {0, 1, UNKNOWN})
        if strange:
            raise IngestError(
                "An occurrence code is none",
                where=f"{where}, AU{au:02d}",
                expected="0, 1, or 9 or -1 for unknown",
                found=strange,
                fix="Check that this is the occurrence file and not one of intensities.",
            )
    return table
