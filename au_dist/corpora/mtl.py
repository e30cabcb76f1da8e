"""The lists of ABAW's multi-task challenge: a row a frame of any video, with action units beside other labels.

``training_set_annotations.txt``: ``image,valence,arousal,expression,aus``, then ``video/00001.jpg`` and its labels, of
which twelve are action units; a later form names each of them. -1 says that one is not known.
"""

from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.corpora.label_files import MISSING, LabelTable, as_occurrence, au_columns
from au_dist.corpora.rows import preview, read_rows
from au_dist.corpora.tree import Entry

#: How the header of such a list begins.
BEGIN = ("image", "valence", "arousal", "expression")


def is_list(entry: Entry) -> bool:
    """Return whether a file is such a list."""
    try:
        return _header(entry.text()) is not None
    except IngestError:
        return False


def _header(text: str) -> list[str] | None:
    cells = [cell.strip() for cell in next(iter(text.splitlines()), "").lower().split(",")]
    return cells if tuple(cells[:4]) == BEGIN else None


def read_list(entry: Entry, aus: tuple[int, ...]) -> dict[str, LabelTable]:
    """Return video → its labels.

    Args:
        entry: The list.
        aus: The action units of a header that does not name each of them.

    Raises:
        IngestError: A row is something else, or a frame is there twice.
    """
    text = entry.text()
    header = _header(text) or []
    rows = read_rows("\n".join(["", *text.splitlines()[1:]]), entry.where)
    places = [place for (_, kind), place in au_columns(header, entry.where, range(4)).items() if kind == "c"]
    named = tuple(au for au, kind in au_columns(header, entry.where, range(4)) if kind == "c")
    if header[4:] == ["aus"]:
        named, places = aus, list(range(4, 4 + len(aus)))
    if not named or len(rows.first) != 4 + len(places):
        raise IngestError(
            "The rows of a list do not have the columns of its header",
            where=entry.where,
            expected=f"{4 + len(places)} cells: {', '.join(BEGIN)}, then {len(places)} action units",
            found=f"{len(rows.first)} cells: {preview(rows.first)}",
        )
    code_LK = rows.numbers(places, [f"AU{au}" for au in named], whole=places)
    code_LK = np.where(np.isin(code_LK, MISSING), np.nan, code_LK)
    if len(strange := np.argwhere(~np.isnan(code_LK) & ~np.isin(code_LK, (0, 1)))):
        row, k = strange[0]
        raise rows.error("A label is no occurrence", row, f"AU{named[k]}", "0, 1 or -1", f"{code_LK[row, k]:g}")
    frames: dict[str, dict[int, int]] = defaultdict(dict)
    for row, cells in enumerate(rows.cells):
        picture = PurePosixPath(cells[0].replace("\\", "/"))
        if not picture.stem.isdigit() or len(picture.parts) < 2:
            raise rows.error("A row names no frame of a video", row, "image", "VIDEO/00001.jpg", cells[0])
        known = frames[picture.parts[-2]].setdefault(int(picture.stem), row)
        if known != row:
            before = f"{cells[0]}, as in line {rows.lines[known]}"
            raise rows.error("A frame is labelled twice", row, "image", "each frame once", before)
    said = (f"columns that are not read: {', '.join(BEGIN[1:])}",)
    tables = {}
    for video, numbered in frames.items():
        numbers = sorted(numbered)
        code_FK = code_LK[[numbered[number] for number in numbers]]
        occurrence = {au: as_occurrence(code_FK[:, k]) for k, au in enumerate(named)}
        tables[video] = LabelTable(np.array(numbers, np.int64), occurrence, {}, said)
    return tables
