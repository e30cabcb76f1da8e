"""The codes of a person's own table: occurrence, intensity, and intervals with an onset and an offset."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from au_dist.corpora.columns import LEVELS, Columns, units_of
from au_dist.corpora.label_files import MISSING, as_intensity, as_occurrence, occurrence_from
from au_dist.corpora.rows import Rows
from au_dist.corpora.timed import Span

STATE = "Say from which code an action unit occurs: --occurs-from 1; or name a column of intensities AU12_r."


@dataclass(frozen=True)
class Codes:
    """The codes of some rows, float64 with NaN where unknown.

    Attributes:
        columns: (action unit, ``c`` occurrence or ``r`` intensity) → place in `code_RK`.
        code_RK: The codes.
    """

    columns: Mapping[tuple[int, str], int]
    code_RK: np.ndarray


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
    code_RK = below.numbers(places, names)
    code_RK = np.where(np.isin(code_RK, MISSING), np.nan, code_RK)
    for k, (_, kind) in enumerate(columns.aus):
        code_R = code_RK[:, k]
        if kind == "r":
            strange_R = (code_R < 0) | (code_R > 5)
        elif occurs_from is None:
            strange_R = ~np.isnan(code_R) & ~np.isin(code_R, (0, 1))
        else:
            strange_R = code_R < 0
        if strange_R.any():
            row = int(np.flatnonzero(strange_R)[0])
            expected = "an intensity, 0 to 5" if kind == "r" else f"0, 1 or unknown (empty, {MISSING})"
            fix = STATE if kind == "c" and occurs_from is None else None
            raise below.error("A code is out of range", row, names[k], expected, f"{code_R[row]:g}", fix)
    return Codes({key: k for k, key in enumerate(columns.aus)}, code_RK)


def known_of(
    codes: Codes, code_LK: np.ndarray, occurs_from: float | None
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return occurrence (int8) and intensity (float32) of the rows of one recording, by action unit.

    A column of intensities tells occurrence too where there is none of occurrence and `occurs_from` says how; a column
    of codes above 1 tells intensities too.
    """
    column = {key: code_LK[:, k] for key, k in codes.columns.items()}
    occurrence, intensity = {}, {}
    levels = {au: code_L for (au, kind), code_L in column.items() if kind == "r"}
    states = {au: code_L for (au, kind), code_L in column.items() if kind == "c"}
    for au, code_L in states.items():
        if occurs_from is None:
            occurrence[au] = as_occurrence(code_L)
        else:
            occurrence |= occurrence_from({au: code_L}, occurs_from)
            whole_R = codes.code_RK[:, codes.columns[au, "c"]]
            if au not in levels and np.nanmax(whole_R, initial=0) > 1:
                intensity[au] = as_intensity(code_L)
    for au, code_L in levels.items():
        intensity[au] = as_intensity(code_L)
        if au not in states and occurs_from is not None:
            occurrence |= occurrence_from({au: code_L}, occurs_from)
    return occurrence, intensity


def spans_of(below: Rows, columns: Columns) -> tuple[dict[int, list[Span]], Counter[str]]:
    """Return row → its intervals, and how often each code came that names no action unit.

    An interval has a code, or a column an action unit, in which a cell that says anything but 0 says that it occurs.

    Raises:
        IngestError: A time is none, or an interval ends before it begins.
    """
    spans: dict[int, list[Span]] = {}
    other: Counter[str] = Counter()
    for row, cells in enumerate(below.cells):
        if "code" in columns.roles:
            stated = _level(cells[columns.roles["level"]]) if "level" in columns.roles else None
            code = cells[columns.roles["code"]]
            units = [(au, letter or stated) for au, letter in units_of(code)]
        else:
            said = {au: cells[place] for (au, _), place in columns.aus.items() if cells[place] not in ("", "0")}
            code, units = "", [(au, _level(cell)) for au, cell in said.items()]
        if not units:
            other[code] += 1
            continue
        onset, offset = (seconds(below, row, columns, role) for role in ("onset", "offset"))
        if offset <= onset:
            raise below.error(
                *("An interval ends before it begins", row, columns.name("offset")),
                *(f"a time after {onset:g} s", f"{offset:g} s"),
                "Give moments as a column `time`, or end them a frame later.",
            )
        spans[row] = [Span(au, onset, offset, level) for au, level in units]
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
        raise below.error("A time is none", row, columns.name(role), "seconds, or 0:01:02.5", cell or "an empty cell")
    return value


def _level(cell: str) -> float | None:
    letter = LEVELS.get(cell.upper())
    return letter if letter else float(cell) if re.fullmatch(r"[1-5](\.\d+)?", cell) else None
