"""The label files of the field, text in, a table out. Unknown codes become a mask.

Every reader is told where the text is from, so that an error names file and line.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.rows import Rows, is_numeric, is_unnamed, preview, read_rows

#: Occurrence that is not known.
UNKNOWN = -1

#: Codes for "not known" in label files.
MISSING = (9, -1, 999)

#: A column of an action unit: its number, and ``c`` for occurrence or ``r`` for intensity, as OpenFace names them.
AU_COLUMN = r"(?:AU)?[\s_]*0*([1-9]\d?)(?:_?([cr]))?"

#: A column of frame numbers.
FRAME_COLUMN = r"(frames?|images?|img|pictures?)[\s_#.-]*(number|num|nr|no|id|index)?"

#: Columns that are not read and named in a note; more are counted.
MOST_NAMED = 12

#: What to do about a code between two.
NOT_WHOLE = "Round it, or take the file in as a table with a threshold of your own (a layout, docs/corpora.md)."


@dataclass(frozen=True)
class LabelTable:
    """What is known of the frames of one sequence.

    Attributes:
        number_L: Frame numbers as the corpus counts them, int64, strictly increasing.
        occurrence: Action unit → int8 [L] in {0, 1, UNKNOWN}.
        intensity: Action unit → float32 [L], 0 to 5; NaN where unknown.
        unread: What else the files hold, which was not understood or not taken as known, a phrase each.
    """

    number_L: np.ndarray
    occurrence: Mapping[int, np.ndarray] = field(default_factory=dict)
    intensity: Mapping[int, np.ndarray] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return hexadecimal digits that identify the content."""
        digest = hashlib.sha256(self.number_L.tobytes())
        for kind, known in (("c", self.occurrence), ("r", self.intensity)):
            for au, column_L in sorted(known.items()):
                digest.update(f"{kind}{au}".encode())
                digest.update(column_L.tobytes())
        return digest.hexdigest()

    def known(self, aus: Iterable[int]) -> np.ndarray:
        """Return of which frames something is known of some action units, bool [L]."""
        known_L = np.zeros(len(self.number_L), bool)
        for au in aus:
            if au in self.occurrence:
                known_L |= self.occurrence[au] != UNKNOWN
            if au in self.intensity:
                known_L |= ~np.isnan(self.intensity[au])
        return known_L

    def columns(self, aus: Iterable[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return occurrence, its validity and the intensity of some action units.

        Args:
            aus: The action units, A of them; one that is not coded is unknown everywhere.

        Returns:
            y_LA (int8; 0 where unknown), valid_LA (bool), intensity_LA (float32; NaN where unknown).
        """
        aus, count = tuple(aus), len(self.number_L)
        y_LA, intensity_LA = (
            np.stack([of.get(au, np.full(count, unknown, kind)) for au in aus], axis=1).astype(kind)
            for of, unknown, kind in ((self.occurrence, UNKNOWN, np.int8), (self.intensity, np.nan, np.float32))
        )
        valid_LA = y_LA != UNKNOWN
        return np.where(valid_LA, y_LA, 0), valid_LA, intensity_LA


def occurrence_from(intensity: Mapping[int, np.ndarray], threshold: float) -> dict[int, np.ndarray]:
    """Return occurrence as intensity of at least a threshold."""
    return {
        au: np.where(np.isnan(level_L), UNKNOWN, level_L >= threshold).astype(np.int8)
        for au, level_L in intensity.items()
    }


def read_coded(text: str, where: str) -> LabelTable:
    """Read the occurrence CSV of BP4D and BP4D+: a frame number, then a code an action unit.

    The header names the action units (``AU1``, ``1``, ``AU01_c`` …); ``AU01_r`` is an intensity. A header of 0 to 99 is
    the positional form: column k is action unit k, column 99 an occlusion flag. Codes other than 0 and 1 that are known
    as "missing" are masked, and empty cells; where the flag of the positional form is 1, the whole row is.

    Raises:
        IngestError: The header does not tell the columns, a row has another number of cells, or a cell is no whole
            number.
    """
    rows = read_rows(text, where)
    if positional := rows.first[1:] == tuple(map(str, range(1, len(rows.first)))) and len(rows.first) > 50:
        frame, columns = 0, {(au, "c"): au for au in range(1, len(rows.first))}
    else:
        frame, columns = coded_columns(rows)
    below, places = rows.below(), list(columns.values())
    code_LK = _codes(below, places, [rows.first[k] for k in places])
    number_L, code_LK = in_order(below, frame, rows.first[frame] or "1", code_LK)
    known = dict(zip(columns, code_LK.T, strict=True))
    unread = unread_columns(rows.first, [frame, *places])
    flag_L = known.pop((99, "c"), None)
    if positional and flag_L is not None and len(rows.first) == 100:
        known = {key: np.where(flag_L == 1, np.nan, code_L) for key, code_L in known.items()}
        hidden = int((flag_L == 1).sum())
        unread += (f"{hidden} rows are flagged as occluded: their labels are unknown",) if hidden else ()
    levels = {au: code_L for (au, kind), code_L in known.items() if kind == "r"}
    return LabelTable(
        number_L,
        {au: as_occurrence(code_L) for (au, kind), code_L in known.items() if kind == "c"},
        {au: as_intensity(code_L) for au, code_L in levels.items()},
        unread + beyond_scale(levels),
    )


def coded_columns(rows: Rows) -> tuple[int, dict[tuple[int, str], int]]:
    """Return the column of frame numbers and those of action units: (action unit, ``c`` or ``r``) → column.

    The column of frames is known by its name; where none has one, it is the first column that has any name. Row numbers
    that pandas saved before it have none.

    Raises:
        IngestError: The header is a row of numbers, names no action units or one of them twice, or does not tell the
            column of frames.
    """
    header = rows.first
    named = [k for k, cell in enumerate(header) if re.fullmatch(FRAME_COLUMN, cell, re.IGNORECASE)]
    first = next((k for k, cell in enumerate(header) if not is_unnamed(cell)), None)
    frames = named or [k for k in (first,) if k in (0, 1) and not re.fullmatch(AU_COLUMN, header[k], re.IGNORECASE)]
    columns = {} if is_numeric(header) else au_columns(header, rows.where, frames)
    if not columns or len(frames) != 1:
        raise IngestError(
            "The header of the label file does not name a column of frames and action units",
            where=f"{rows.where}, line {rows.lines[0] if rows.lines else 1}",
            expected="Frame, then AU1, AU2 … or 1, 2 … (or the numbers 0 to 99)",
            found=preview(header) or "an empty file",
            fix="Put the header back, or name the columns.",
        )
    return frames[0], columns


def au_columns(
    header: Iterable[str], where: str, but: Iterable[int] = (), pattern: str = AU_COLUMN
) -> dict[tuple[int, str], int]:
    """Return the columns of action units in a header: (action unit, ``c`` occurrence or ``r`` intensity) → column.

    Raises:
        IngestError: Two columns are of the same action unit.
    """
    columns: dict[tuple[int, str], int] = {}
    for k, cell in enumerate(header):
        if k not in but and (match := re.fullmatch(pattern, cell, re.IGNORECASE)):
            kind = match[2] if len(match.groups()) > 1 else None
            key = int(match[1]), "r" if kind in ("r", "R") else "c"
            if key in columns:
                raise IngestError(
                    "Two columns of the label file are of the same action unit",
                    where=f"{where}, column {k + 1}",
                    found=cell,
                )
            columns[key] = k
    return columns


def read_pairs(text: str, where: str, au: int) -> LabelTable:
    """Read an intensity file without header: frame number and intensity, parted by comma, semicolon or blank.

    Raises:
        IngestError: A line is not two whole numbers.
    """
    return _intensities(read_rows(text, where), au)


def read_named_pictures(text: str, where: str, au: int) -> LabelTable:
    """Read a label file of DISFA+: lines of header beginning with #, then the name of a picture and an intensity.

    Raises:
        IngestError: A line is something else.
    """
    lines = [("" if line.lstrip().startswith("#") else line) for line in text.splitlines()]
    rows = read_rows("\n".join(lines), where)
    names = tuple((cells[0].rpartition(".")[0] or cells[0], *cells[1:]) for cells in rows.cells)
    return _intensities(Rows(where, rows.lines, names), au)


def _intensities(rows: Rows, au: int) -> LabelTable:
    """Return rows of frame number and intensity as a table; what is not 0 to 5 is unknown."""
    if rows.cells and len(rows.first) != 2:
        raise IngestError(
            "A line of the label file is not a frame number and an intensity",
            where=f"{rows.where}, line {rows.lines[0]}",
            expected="2 numbers",
            found=preview(rows.first),
        )
    number_L, code_LK = in_order(rows, 0, "frame", _codes(rows, [1], ["intensity"]))
    levels = {au: code_LK[:, 0]}
    return LabelTable(number_L, {}, {au: as_intensity(code_LK[:, 0])}, beyond_scale(levels))


def read_ordered(text: str, where: str) -> LabelTable:
    """Read a label file of Aff-Wild2: a header of action units, then a row a frame, from frame 1.

    A row with -1 anywhere says nothing about its frame.

    Raises:
        IngestError: The header or a cell is something else.
    """
    rows = read_rows(text, where)
    columns = {} if is_numeric(rows.first) else au_columns(rows.first, where)
    if not columns:
        raise IngestError(
            "The header of the label file names no action units",
            where=f"{where}, line 1",
            expected="AU1, AU2 …",
            found=preview(rows.first) or "an empty file",
        )
    below, places = rows.below(), list(columns.values())
    code_LK = _codes(below, places, [rows.first[k] for k in places])
    code_LK = np.where(np.isnan(code_LK).any(1, keepdims=True), np.nan, code_LK)
    number_L = below.order(rows.lines[0]) + 1
    known = {au: as_occurrence(code_L) for (au, _), code_L in zip(columns, code_LK.T, strict=True)}
    return LabelTable(number_L, known, unread=unread_columns(rows.first, places))


def as_occurrence(code_L: np.ndarray) -> np.ndarray:
    """Return codes, float64 with NaN where unknown, as int8."""
    return np.where(np.isnan(code_L), UNKNOWN, code_L).astype(np.int8)


def as_intensity(code_L: np.ndarray) -> np.ndarray:
    """Return codes, float64, as intensities, float32; what is not 0 to 5 is unknown."""
    return np.where((code_L >= 0) & (code_L <= 5), code_L, np.nan).astype(np.float32)


def beyond_scale(levels: Mapping[int, np.ndarray]) -> tuple[str, ...]:
    """Name the codes, float64, that are no intensities and become unknown, a phrase an action unit."""
    phrases = []
    for au, code_L in levels.items():
        strange = code_L[~np.isnan(code_L) & ((code_L < 0) | (code_L > 5))]
        if len(strange):
            codes = first_few(f"{code:g}" for code in np.unique(strange))
            phrases.append(f"{len(strange)} intensities of AU{au:02d} are not 0 to 5 and unknown ({codes})")
    return tuple(phrases)


def unread_columns(header: Sequence[str], read: Iterable[int]) -> tuple[str, ...]:
    """Name the columns of a header that are not read; row numbers, which have no name, are none."""
    known = set(read)
    names = [cell for k, cell in enumerate(header) if k not in known and not is_unnamed(cell)]
    return (f"columns that are not read: {first_few(names, MOST_NAMED)}",) if names else ()


def _codes(rows: Rows, columns: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """Return codes, float64 [L, columns], NaN for those that mean unknown."""
    if not rows.cells:
        raise IngestError("The label file has no rows", where=rows.where)
    code_LK = rows.numbers(columns, names, whole=columns, fix=NOT_WHOLE)
    code_LK = np.where(np.isin(code_LK, MISSING), np.nan, code_LK)
    if len(strange := np.argwhere((code_LK < 0) | (code_LK > 100))):
        row, k = strange[0]
        raise rows.error("A label is out of range", row, names[k], "a code of the corpus", f"{code_LK[row, k]:g}")
    return code_LK


def in_order(rows: Rows, frame: int, name: str, code_LK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a column of frame numbers, int64 [L], and the codes beside it, in the order of frames.

    Raises:
        IngestError: A frame number is not one, or is there twice.
    """
    fix = "Frames are counted: give their numbers, not times."
    number_L = rows.numbers([frame], [name], whole=[frame], fix=fix)[:, 0]
    if len(strange := np.flatnonzero(np.isnan(number_L) | (np.abs(number_L) > 2**53))):
        row = strange[0]
        raise rows.error("A frame has no number", row, name, "a whole number", rows.cells[row][frame])
    order = np.argsort(number_L, kind="stable")
    number_L, code_LK = number_L[order].astype(np.int64), code_LK[order]
    if len(twice := np.flatnonzero(np.diff(number_L) == 0)):
        one, other = (rows.lines[row] for row in order[twice[0] : twice[0] + 2])
        raise IngestError(
            "A frame is labelled twice",
            where=f"{rows.where}, lines {one} and {other}",
            expected="one row for each frame of a recording",
            found=f"frame {number_L[twice[0]]}",
            fix="Remove one of them; rows of two people in a video need a column that tells them apart.",
        )
    return number_L, code_LK


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

    def spread(table: LabelTable, column: np.ndarray, unknown: float) -> np.ndarray:
        wide = np.full(len(number_L), unknown, column.dtype)
        wide[np.searchsorted(number_L, table.number_L)] = column
        return wide

    return LabelTable(
        number_L,
        {au: spread(table, column, UNKNOWN) for table in tables for au, column in table.occurrence.items()},
        {au: spread(table, column, np.nan) for table in tables for au, column in table.intensity.items()},
        tuple(phrase for table in tables for phrase in table.unread),
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
