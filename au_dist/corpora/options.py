"""What a person may say about how a corpus is read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from au_dist.core.errors import RecipeError
from au_dist.corpora.layout import NAME, Layout


@dataclass(frozen=True)
class Options:
    """How a corpus is read; each corpus looks at what concerns it.

    Attributes:
        threshold: DISFA, DISFA+: intensity from which an action unit occurs.
        frame_map: BP4D, BP4D+: pictures belong to labels ``by_name`` or by their place (``ordinal``); ``auto`` is the
            first for BP4D and the second for BP4D+.
        first_frame: BP4D, BP4D+, DISFA: number of a video's first frame in the labels, 0 or 1.
        bad_frames: BP4D, DISFA: list of frames to leave out.
        camera: DISFA: whose videos.
        frames: ``coded``: from the first labelled frame to the last; ``all``: those around them too, without labels.
        layout: GFT: how the tables are laid out; the shipped preset when None.
        name: Videos without labels, own tables: name of the data set; ``video`` and ``table`` when None.
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
