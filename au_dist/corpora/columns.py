"""What the columns of a person's own table mean, by their names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from au_dist.core.errors import IngestError
from au_dist.core.facs import NAMES
from au_dist.corpora.label_files import FRAME_COLUMN, au_columns
from au_dist.corpora.rows import Rows, is_numeric, is_unnamed, preview

#: Seconds, as they stand behind a name.
_S = r"( (s|sec|seconds|\(s\)))?"

#: What a column is → names of such columns, the likeliest first; a blank stands for any of ``_ - .`` too.
ROLES = {
    "video": (r"video( (file|path|name|id))?", r"media( file)?( (name|path))?", "recording", "clip"),
    "path": ("path", r"(file|image|img|picture|photo) ?(path|name|file)?"),
    "subject": (r"subjects?( ?id)?", "subj?", r"(person|participant)s?( ?id)?", "speaker", "identity"),
    "time": (f"times?{_S}", f"time ?stamps?{_S}", "seconds|sec|t"),
    "onset": (f"onset{_S}", "begin time ss msec", f"(start|begin)( time)?{_S}", "begin time hh:mm:ss ms"),
    "offset": (f"offset{_S}", "end time ss msec", f"(stop|end)( time)?{_S}", "end time hh:mm:ss ms"),
    "code": (
        r"action units?|aus?|units?",
        "codes?",
        r"tier( name)?",
        "behaviou?r",
        "label|event",
        "annotation( value)?",
    ),
    "level": ("intensity|level", "annotation( value)?|value"),
    "split": ("splits?|partition", "folds?", "(sub)?set"),
    "corpus": ("corpus", "data ?set|database"),
    "side": ("side",),
}

#: What only intervals have.
OF_INTERVALS = ("onset", "offset", "code", "level")

#: An action unit in an interval's code, with the letter of its intensity: ``12``, ``AU12``, ``AU12C``, ``1+2``.
UNIT = r"(?:AU)?[\s_]*0*([1-9]\d?)(?:\.0+)?\s*([A-E])?"

#: What may be meant for one in other words: ``AU`` and a number; or a number, after a FACS letter for a side or a part,
#: with nothing behind it but letters of intensity, marks, other numbers and such words.
IN_WORDS = r"(?<![a-z])[lrutb]?[\W_]*AU[\W_]*0*([1-9]\d?)(?!\d)"
BESIDE = r"left|right|weak|strong|slight|trace|onset|offset|apex|unilateral|bilateral|maybe|absent|and|or|[a-exyz]"
LIKE_UNIT = rf"[\W_]*([lrutb])?[\W_]*0*([1-9]\d?)(?![\d:%]|[.,]\d)(?:[\W_\d]|(?<![a-z])(?:{BESIDE})(?![a-z]))*"

#: Units of which FACS codes the top or the bottom lip alone: of others, T and B are no parts.
LIPS = (18, 22, 23, 24, 25, 28)

#: A column of one side of the face. ``_R`` is that of intensities where no column is of the left side.
SIDED = r"(?:AU)?[\s_]*0*([1-9]\d?)[\s_]*(L|R|left|right)"

#: FACS' letters of intensity.
LEVELS = {letter: float(level) for level, letter in enumerate("ABCDE", 1)}

#: Names of columns in thousandths of a second, which would be taken for seconds.
THOUSANDTHS = r".*( ms| msec| milliseconds| \(ms\))|ms|msec"


@dataclass(frozen=True)
class Columns:
    """The columns of a table, by what they are.

    Attributes:
        header: The names of all columns.
        roles: What a column is (see `ROLES`; ``frame`` too) → its place.
        aus: (action unit, ``c`` occurrence or ``r`` intensity) → place.
        unused: Names of columns that are not understood, or of which another is taken.
    """

    header: tuple[str, ...]
    roles: dict[str, int]
    aus: dict[tuple[int, str], int]
    unused: tuple[str, ...]

    @property
    def intervals(self) -> bool:
        """Whether a row is an interval."""
        return "onset" in self.roles

    def name(self, role: str) -> str:
        """Return the name of the column that has a role."""
        return self.header[self.roles[role]]


def understand(rows: Rows) -> Columns:
    """Tell what the columns of a table are.

    Raises:
        IngestError: There is no header, or no recording or no label in it.
    """
    header = rows.first
    if not header or is_numeric(header):
        raise _not_understood(rows, "a header that names the columns", preview(header) or "an empty table")
    numeric = {k for k in range(len(header)) if _is_numeric(cells[k] for cells in rows.cells[1:])}
    below = rows.cells[1:]
    unfit = {
        "path": numeric,
        "code": {k for k in range(len(header)) if not any(units_of(cells[k])[0] for cells in below)},
    }
    roles: dict[str, int] = {}
    for role, names in ROLES.items():
        place = _best(header, names, {*roles.values(), *unfit.get(role, ())})
        if place is not None:
            roles[role] = place
    frames = [k for k, cell in enumerate(header) if re.fullmatch(FRAME_COLUMN, cell.strip(), re.IGNORECASE)]
    # One that is called so holds frame numbers whatever is in it; others only where all are numbers.
    frames = [k for k in frames if k not in roles.values() and (k in numeric or _plain(header[k]).startswith("frame"))]
    if frames:
        roles["frame"] = min(frames, key=lambda k: not _plain(header[k]).startswith("frame"))
    told = {"frame", "time"} & roles.keys() and "code" not in roles
    if told or not {"onset", "offset"} <= roles.keys():
        roles = {role: place for role, place in roles.items() if role not in OF_INTERVALS}
    sided = {} if "code" in roles else _sided(header)
    found = {} if "code" in roles else au_columns(header, rows.where, [*roles.values(), *sided])
    aus = {key: place for key, place in found.items() if key[0] in NAMES}
    if alone := [place for place, au in sided.items() if not {(au, "c"), (au, "r")} & aus.keys()]:
        raise IngestError(
            "Columns are of one side of the face",
            where=f"{rows.where}, line {rows.lines[0]}",
            expected="one column for each action unit, whichever side shows it",
            found=", ".join(header[place] for place in alone),
            fix="Join the two of each: 1 where one shows it. Intensities are called AU12_r, without an AU12_L.",
        )
    taken = {*roles.values(), *aus.values()}
    columns = Columns(header, roles, aus, tuple(_shown(header, k) for k in range(len(header)) if k not in taken))
    _check(rows, columns)
    return columns


def _sided(header: tuple[str, ...]) -> dict[int, int]:
    """Return place → action unit of the columns of one side of the face: ``AU12_L``, and ``AU12_R`` beside it."""
    matches = {place: re.fullmatch(SIDED, cell, re.IGNORECASE) for place, cell in enumerate(header)}
    named = {place: match for place, match in matches.items() if match and int(match[1]) in NAMES}
    found = {place: (int(match[1]), match[2][0].lower()) for place, match in named.items()}
    left = {au for au, side in found.values() if side == "l"}
    return {place: au for place, (au, _) in found.items() if au in left}


def units_of(code: str) -> tuple[list[tuple[int, float | None]], list[str]]:
    """Return the action units of a code with their intensities, and the parts of it that are something else."""
    units, strange = [], []
    for part in filter(None, map(str.strip, re.split(r"[+,;]", code))):
        match = re.fullmatch(UNIT, part, re.IGNORECASE)
        if match and int(match[1]) in NAMES:
            units.append((int(match[1]), LEVELS.get((match[2] or "").upper())))
        else:
            strange.append(part)
    return units, strange


def names_a_unit(part: str) -> bool:
    """Say whether what is not understood in a code may be meant for an action unit: ``R12B``, ``12?``, ``no AU12``."""
    if any(int(found) in NAMES for found in re.findall(IN_WORDS, part, re.IGNORECASE)):
        return True
    match = re.fullmatch(LIKE_UNIT, part, re.IGNORECASE)
    return match is not None and int(match[2]) in (LIPS if (match[1] or "").upper() in ("T", "B") else NAMES)


def _check(rows: Rows, columns: Columns) -> None:
    roles, expected = columns.roles, None
    if not columns.aus and "code" not in roles:
        expected = "columns of action units, such as AU12, AU12_c, AU12_r or 12; or intervals with a code such as AU12"
    elif "path" not in roles and not columns.intervals and not {"frame", "time"} & roles.keys():
        expected = "a column `path` (pictures), or a column `frame` or `time` (videos)"
    if expected is not None:
        slow = [cell for cell in columns.header if re.fullmatch(THOUSANDTHS, _plain(cell))]
        hint = f" ({', '.join(slow)}: give seconds)" if slow else ""
        raise _not_understood(rows, expected, preview(columns.header) + hint)


def _not_understood(rows: Rows, expected: str, found: str) -> IngestError:
    line = f", line {rows.lines[0]}" if rows.lines else ""
    return IngestError(
        "The table does not say what it holds",
        where=f"{rows.where}{line}",
        expected=expected,
        found=found,
        fix="Name the columns as in docs/your_own_data.md.",
    )


def _best(header: tuple[str, ...], names: Iterable[str], taken: Iterable[int]) -> int | None:
    """Return the place of the column whose name is the likeliest, of equals the first."""
    free = [place for place in range(len(header)) if place not in set(taken)]
    fitting = (place for name in names for place in free if re.fullmatch(name, _plain(header[place])))
    return next(fitting, None)


def _plain(cell: str) -> str:
    return re.sub(r"[\s_.-]+", " ", cell).strip().lower()


def _is_numeric(cells: Iterable[str]) -> bool:
    return all(is_numeric((cell,)) for cell in cells if cell)


def _shown(header: tuple[str, ...], place: int) -> str:
    return f"column {place + 1} without a name" if is_unnamed(header[place]) else header[place]
