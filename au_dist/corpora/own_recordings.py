"""Whose rows of own tables they are, and of which recording."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.own_codes import seconds
from au_dist.corpora.own_tables import OwnTable
from au_dist.corpora.rows import Rows
from au_dist.corpora.tree import Entry
from au_dist.video.video import probe


@dataclass(frozen=True, order=True)
class Who:
    """Whose rows they are, and of which recording: a video, or a folder of pictures."""

    corpus: str
    subject: str
    place: str
    side: Literal["any", "left", "right"]


@dataclass(frozen=True)
class OwnRecording:
    """The rows of one recording."""

    table: OwnTable
    numbers: list[int]

    @property
    def entry(self) -> Entry:
        """The video, or the first picture."""
        return self.table.files[self.numbers[0]]

    @property
    def filmed(self) -> bool:
        """Whether it is a video."""
        return self.entry.suffix in VIDEO_SUFFIXES

    @cached_property
    def promised(self) -> tuple[int | None, float | None]:
        """How many frames and seconds the video promises, which is not always true; None where it does not.

        That one cannot be opened comes out when it is read, and stops no other.
        """
        try:
            info = probe(self.entry.path) if self.entry.member is None else None
        except IngestError:
            info = None
        return (info.frames, info.duration) if info else (None, None)

    @property
    def numbered(self) -> bool:
        """Whether its rows are frames of a video, by their numbers."""
        columns = self.table.columns
        return self.filmed and "frame" in columns.roles and not columns.intervals

    @property
    def pictures(self) -> list[Entry]:
        """The pictures, in the order of the rows."""
        return [self.table.files[row] for row in self.numbers]

    @property
    def ends(self) -> list[int]:
        """The numbers at the end of the pictures' names; none where two are alike or one has none."""
        found = [int(end[0]) for picture in self.pictures if (end := re.search(r"\d+$", picture.stem))]
        return found if len(set(found)) == len(self.numbers) else []

    @property
    def in_row_order(self) -> bool:
        """Whether nothing but the order of the rows says which picture comes after which."""
        told = self.filmed or "frame" in self.table.columns.roles or self.ends
        return not told and len(self.numbers) > 1

    @property
    def rows(self) -> Rows:
        """The rows."""
        below = self.table.below
        lines = tuple(below.lines[row] for row in self.numbers)
        return Rows(below.where, lines, tuple(below.cells[row] for row in self.numbers))

    def frames(self) -> np.ndarray:
        """Return the frame numbers of the rows, float64; NaN where a cell is empty.

        Raises:
            IngestError: One is not whole.
        """
        column = self.table.columns.roles["frame"]
        return self.rows.numbers([column], [self.table.columns.name("frame")], whole=[column])[:, 0]

    def times(self) -> np.ndarray:
        """Return the times of the rows in seconds, float64.

        Raises:
            IngestError: One is none.
        """
        rows = self.rows
        return np.array([seconds(rows, row, self.table.columns, "time") for row in range(len(rows.cells))])
