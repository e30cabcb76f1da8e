"""The codes of a person's own table: occurrence, intensity, and intervals with an onset and an offset."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from au_dist.corpora.columns import LEVELS, Columns, names_a_unit, units_of
from au_dist.corpora.label_files import MISSING, as_intensity, as_occurrence, occurrence_from
from au_dist.corpora.rows import NOTHING, Rows, comma, is_numeric
from au_dist.corpora.timed import Span

#: Cells that say that an action unit occurs, and nothing of its intensity.
MARKS = ("x", "yes", "true", "present")

STATE = (
    "Say from which code an action unit occurs (of probabilities: --occurs-from 0.5); or name a column of intensities "
    "AU12_r."
)


@dataclass(frozen=True)
class Codes:
    """The codes of some rows, float64 with NaN where unknown.

    Attributes:
        columns: (action unit, ``c`` occurrence or ``r`` intensity) → place in `code_RK`.
        code_RK: The codes.
        binary: Action units whose column of occurrence holds 0 and 1 whatever is said of the others: ``AU12_c``, and
            those that have a column of intensities too.
    """

    columns: Mapping[tuple[int, str], int]
    code_RK: np.ndarray
    binary: frozenset[int]


def read_codes(below: Rows, columns: Columns, occurs_from: float | None) -> Codes:
    """Return the codes of a table.

    Args:
        below: The rows below the header.
        columns: What the columns are.
        occurs_from: Code from which an action unit occurs; None where codes are 0 and 1.

    Raises:
        IngestError: A cell is no code.
    """
    places = list(columns.aus.values())
    names = [columns.header[place] for place in places]
    levelled = {au for au, kind in columns.aus if kind == "r"}
    named = {au for (au, _), name in zip(columns.aus, names, strict=True) if re.search(r"\d_?c$", name, re.IGNORECASE)}
    binary = frozenset(named | levelled if occurs_from is not None else {au for au, _ in columns.aus})
    code_RK = below.numbers(places, names, expected="0, 1, a number, or an empty cell")
    for k, (au, kind) in enumerate(columns.aus):
        known_R = code_RK[:, k][~np.isin(code_RK[:, k], MISSING)]
        # On a scale that goes beyond that of intensities 9 is a code like others.
        missing = tuple(code for code in MISSING if code != 9 or au in binary or np.nanmax(known_R, initial=0) <= 5)
        code_R = code_RK[:, k] = np.where(np.isin(code_RK[:, k], missing), np.nan, code_RK[:, k])
        if kind == "r":
            strange_R, expected, fix = (code_R < 0) | (code_R > 5), "an intensity, 0 to 5", None
        elif au in binary:
            strange_R = ~np.isnan(code_R) & ~np.isin(code_R, (0, 1))
            expected, fix = "0, 1, or unknown: empty, 9, -1, 999", STATE if occurs_from is None else None
        else:
            strange_R, expected, fix = code_R < 0, "0 or more", None
        if strange_R.any():
            row = int(np.flatnonzero(strange_R)[0])
            raise below.error("A code is out of range", row, names[k], expected, f"{code_R[row]:g}", fix)
    return Codes({key: k for k, key in enumerate(columns.aus)}, code_RK, binary)


def known_of(
    codes: Codes, code_LK: np.ndarray, occurs_from: float | None
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return occurrence (int8) and intensity (float32) of the rows of one recording, by action unit.

    A column of intensities tells occurrence too where there is none of occurrence and `occurs_from` says how.
    """
    column = {key: code_LK[:, k] for key, k in codes.columns.items()}
    intensity = {au: as_intensity(code_L) for (au, kind), code_L in column.items() if kind == "r"}
    occurrence = {} if occurs_from is None else occurrence_from(intensity, occurs_from)
    for (au, kind), code_L in column.items():
        if kind == "c":
            asked = None if au in codes.binary else occurs_from
            occurrence |= {au: as_occurrence(code_L)} if asked is None else occurrence_from({au: code_L}, asked)
    return occurrence, intensity


def spans_of(below: Rows, columns: Columns) -> tuple[dict[int, list[Span]], Counter[str]]:
    """Return row → its intervals, and how often each code or intensity came that says nothing.

    An interval has a code, or a column an action unit, whose cell says with what intensity or that it occurs.

    Raises:
        IngestError: A time is none, an interval ends before it begins, or a code seems to name an action unit and is
            not understood: left out, it would say that the unit is absent.
    """
    spans: dict[int, list[Span]] = {}
    other: Counter[str] = Counter()
    for row, cells in enumerate(below.cells):
        if "code" in columns.roles:
            stated = _level(cells[columns.roles["level"]], other) if "level" in columns.roles else None
            code = cells[columns.roles["code"]]
            units, strange = units_of(code)
            if doubtful := [part for part in strange if names_a_unit(part)]:
                raise below.error(
                    *("A code seems to name an action unit, and is not understood", row, columns.name("code")),
                    *("codes such as 12, AU12, AU12C, 1+2", ", ".join(doubtful)),
                    "Write it so, or where it means no action unit, without the number of one.",
                )
            other.update(strange or ([] if units else [code or "(empty)"]))
        else:
            said = {au: cells[place] for (au, _), place in columns.aus.items() if _occurs(cells[place])}
            stated, units = None, [(au, _level(cell, other)) for au, cell in said.items()]
        if not units:
            continue
        onset, offset = (seconds(below, row, columns, role) for role in ("onset", "offset"))
        if offset <= onset:
            raise below.error(
                *("An interval ends before it begins", row, columns.name("offset")),
                *(f"a time after {onset:g} s", f"{offset:g} s"),
                "Give moments as a column `time`, or end them a frame later.",
            )
        spans[row] = [Span(au, onset, offset, level or stated) for au, level in units]
    return spans, other


def seconds(below: Rows, row: int, columns: Columns, role: str) -> float:
    """Return a time in seconds: a number, or hours, minutes and seconds parted by colons.

    Raises:
        IngestError: It is neither.
    """
    cell = below.cells[row][columns.roles[role]]
    parts = cell.split(":")
    try:
        if len(parts) > 3 or not all(parts):
            raise ValueError
        value = 0.0
        for part in parts:
            value = value * 60 + float(part)
    except ValueError:
        value = np.nan
    if not 0 <= value < np.inf:
        raise below.error(
            "A time is none",
            row,
            columns.name(role),
            "seconds such as 62.5, or 0:01:02.5",
            cell or "an empty cell",
            comma(cell),
        )
    return value


def _occurs(cell: str) -> bool:
    """Return whether the cell of an action unit says that it occurs in the interval of its row."""
    low = cell.lower()
    return low not in (*NOTHING, "false") and not (is_numeric((cell,)) and float(cell) in (0, *MISSING))


def _level(cell: str, other: Counter[str]) -> float | None:
    """Return an intensity, a FACS letter or 1 to 5; None for a mark that says nothing of it, and counted."""
    if letter := LEVELS.get(cell.upper()):
        return letter
    if re.fullmatch(r"[1-5]([.,]\d+)?", cell):
        return float(cell.replace(",", "."))
    if cell.lower() not in (*NOTHING, *MARKS):
        other[f"intensity {cell}"] += 1
    return None
