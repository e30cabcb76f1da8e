"""FACS files of CK+ and of the UNBC-McMaster archive: one a frame, a row for each action unit that occurs in it."""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.label_files import LabelTable
from au_dist.corpora.recordings import Sequence
from au_dist.corpora.rows import preview, read_rows
from au_dist.corpora.tree import Entry

#: What the keys of `Sequence.labels` begin with; the number of the frame follows.
FRAME = "frame "


def unverified(title: str) -> str:
    """Return the note on a corpus whose importer nobody tried on its data."""
    return f"{title} is read as it was published, and was not tried on the data (unverified): compare the label rates."


def unpaired(pictures: Mapping[tuple[str, ...], object], labels: Mapping[tuple[str, ...], object]) -> list[str]:
    """Name the recordings that have pictures or labels alone, a sentence each kind."""
    notes = []
    for one, other, what in ((pictures, labels, "labels"), (labels, pictures, "pictures")):
        if lacking := sorted("/".join(key) for key in one.keys() - other.keys()):
            notes.append(f"{len(lacking)} recordings have no {what} ({first_few(lacking)}).")
    return notes


def read_frames(sequence: Sequence, coded: tuple[int, ...], binary: Collection[int] = ()) -> LabelTable:
    """Read the FACS files of a recording.

    A row is an action unit and its intensity, 1 to 5; 0 means that it occurs and how much is not known. What is not
    listed does not occur.

    Args:
        sequence: The recording; its label files by frame.
        coded: The action units that the corpus codes.
        binary: Those of them that have no intensity.

    Raises:
        IngestError: A file is something else.
    """
    files = sorted((int(key.removeprefix(FRAME)), entry) for key, entry in sequence.labels.items())
    said: Counter[str] = Counter()
    listed = [_listed(entry, coded, said) for _, entry in files]
    occurrence = {au: np.array([au in levels for levels in listed], np.int8) for au in coded}
    intensity = {
        au: np.array([_intensity(levels, au) for levels in listed], np.float32) for au in coded if au not in binary
    }
    phrases = tuple(f"{times} {what}" for what, times in sorted(said.items()))
    return LabelTable(np.array([number for number, _ in files], np.int64), occurrence, intensity, phrases)


def _intensity(levels: Mapping[int, float], au: int) -> float:
    level = levels.get(au, 0.0)
    return np.nan if au in levels and not 1 <= level <= 5 else level


def _listed(entry: Entry, coded: tuple[int, ...], said: Counter[str]) -> dict[int, float]:
    """Return action unit → intensity of those that a file lists; what is left is counted in `said`."""
    rows = read_rows(entry.text(), entry.where)
    if not rows.cells:
        return {}
    if len(rows.first) < 2:
        raise IngestError(
            "A FACS file has no rows of action unit and intensity",
            where=entry.where,
            expected="2 numbers or more a row",
            found=preview(rows.first),
        )
    if len(rows.first) > 2:
        said["files have more columns than action unit and intensity; they are not read"] += 1
    levels: dict[int, float] = {}
    cells = rows.numbers([0, 1], ["action unit", "intensity"], whole=[0, 1])
    for row, (unit, level) in enumerate(cells):
        if np.isnan(unit) or np.isnan(level) or level < 0:
            raise rows.error("A row is not an action unit and its intensity", row, "1", "2 numbers", rows.cells[row])
        au = int(unit)
        if au not in coded:
            said[f"rows list {au}, which is none of the action units that are coded"] += 1
            continue
        if au in levels:
            said[f"rows list AU{au:02d} again; the higher intensity is taken"] += 1
        if level == 0:
            said["action units are listed with intensity 0: they occur, how much is not known"] += 1
        elif level > 5:
            said["action units are listed with an intensity above 5: they occur, how much is not known"] += 1
        levels[au] = max(level, levels.get(au, 0.0))
    return levels
