"""What a person may say about how a corpus is read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from au_dist.core.errors import RecipeError
from au_dist.core.facs import NAMES
from au_dist.corpora.layout import NAME, Layout


@dataclass(frozen=True)
class Options:
    """How a corpus is read; each corpus looks at what concerns it.

    Attributes:
        threshold: DISFA, DISFA+, lists of intensities: intensity from which an action unit occurs.
        frame_map: BP4D, BP4D+: pictures belong to labels ``by_name`` or by their place (``ordinal``); ``auto`` is the
            first for BP4D and the second for BP4D+.
        first_frame: BP4D, BP4D+, DISFA: number of a video's first frame in the labels, 0 or 1.
        bad_frames: BP4D, DISFA: list of frames to leave out.
        camera: DISFA: whose videos.
        frames: ``coded``: from the first labelled frame to the last; ``all``: those around them too, without labels.
        layout: GFT: how the tables are laid out; the shipped preset when None.
        name: Videos without labels, lists, own tables: name of the data set; when None ``video``, that of the lists, or
            ``table``.
        columns: Lists: action units of columns without names, in their order, such as ``1,2,4``; when None, the order
            is that of a known corpus with so many columns.
        codes: Lists: columns hold ``occurrence`` (0, 1, or 9, -1, 999 for unknown) or ``intensity`` (0 to 5), from
            ``threshold`` of which on an action unit occurs.
        subject: Lists: regular expression with a group ``subject`` that tells who is in a picture from its path; known
            corpora's when None.
        lists: Lists: regular expression for the whole names of the files that are taken; all when None.
        pictures: Lists: folder of the pictures below the one that is given, where several hold the same names.
        subjects: Videos without labels: each ``track`` is a subject, each ``file``, or each first ``folder``. Own
            tables without a column of subjects: ``file`` or ``folder``.
        root: Own tables: where the recordings are; beside the table when None.
        counted: Own tables: frames of videos are counted ``from_zero``, ``from_one``, or as is ``seen`` in the numbers.
        occurs_from: Own tables: code from which an action unit occurs; codes are 0, 1 or unknown when None.
    """

    threshold: int = 2
    frame_map: Literal["auto", "by_name", "ordinal"] = "auto"
    first_frame: int = 1
    bad_frames: Literal["none", "jaanet", "fgnet"] = "none"
    camera: Literal["left", "right"] = "left"
    frames: Literal["coded", "all"] = "coded"
    layout: Layout | None = None
    name: str | None = None
    columns: str | None = None
    codes: Literal["occurrence", "intensity"] = "occurrence"
    subject: str | None = None
    lists: str | None = None
    pictures: str | None = None
    subjects: Literal["track", "file", "folder"] = "track"
    root: Path | None = None
    counted: Literal["seen", "from_zero", "from_one"] = "seen"
    occurs_from: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= 5:
            raise RecipeError(
                "An option of the ingest is out of range", where="threshold", expected="1 to 5", found=self.threshold
            )
        if self.first_frame not in (0, 1):
            raise RecipeError(
                "An option of the ingest is out of range",
                where="first_frame",
                expected="0 or 1",
                found=self.first_frame,
            )
        if self.name is not None and not re.fullmatch(NAME, self.name):
            raise RecipeError("This is no name of a data set", where="corpus", expected=NAME, found=self.name)
        for name, groups in (("subject", {"subject"}), ("lists", set[str]())):
            _check_pattern(name, getattr(self, name), groups)


def _check_pattern(name: str, pattern: str | None, groups: set[str]) -> None:
    """Refuse what is no regular expression, or lacks groups."""
    try:
        there = re.compile(pattern or "").groupindex.keys()
    except re.error as error:
        raise RecipeError("This is no regular expression", where=name, found=f"{pattern}: {error}") from error
    if pattern is not None and not groups <= there:
        raise RecipeError(
            "The pattern lacks a group",
            where=name,
            expected=" and ".join(f"(?P<{group}>…)" for group in groups),
            found=pattern,
        )


def action_units(text: str) -> tuple[int, ...]:
    """Return action units that are written with commas between them.

    Raises:
        RecipeError: They are none, or one is there twice.
    """
    try:
        aus = tuple(int(part) for part in text.split(","))
    except ValueError:
        aus = ()
    if not aus or not set(aus) <= NAMES.keys() or len(set(aus)) < len(aus):
        raise RecipeError(
            "These action units cannot be asked for",
            where="aus",
            expected="different numbers of action units, such as 1,2,4",
            found=text,
        )
    return aus
