"""How the tables of a corpus are laid out, as a person writes it down."""

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, model_validator

from au_dist.config.files import parse, read_yaml
from au_dist.config.section import Section
from au_dist.corpora.label_files import MISSING
from au_dist.corpora.published import ASSETS

#: Names of data sets.
NAME = r"[a-z0-9+_-]+"


class Layout(Section):
    """Where the files of a corpus are and what the columns of its tables mean.

    Patterns are regular expressions for the end of a path, in any case, with a group ``name`` that is the same in a
    recording and in its table.

    Attributes:
        verified: Whether somebody who has the data tried it.
        corpus: The corpus, the prefix of its subjects.
        recordings: Patterns of videos, or of the pictures of a recording; a group ``subject`` if that is not the name.
        tables: Pattern of the tables.
        frame_column: The column of frame numbers; null where rows follow each other.
        first_frame: Number of the first frame, in the tables.
        au_column: Pattern of the columns of action units; its first group is the number, a second, if there is one,
            ``c`` for occurrence or ``r`` for intensity.
        missing: Codes for unknown, beside empty cells and NaN.
        threshold: Codes of at least this mean that the action unit occurs; above 1, codes are intensities and kept.
            Null: codes are 0, 1 or unknown, and anything else is an error.
        fps: Frames per second of pictures.
        partitions: Name of a part → pattern of the names of its recordings.
    """

    verified: bool = True
    corpus: str = Field("gft", pattern=f"^{NAME}$")
    recordings: tuple[str, ...]
    tables: str
    frame_column: str | None = None
    first_frame: int = 1
    au_column: str = r"AU_?0*(\d+)(?:_?([cr]))?"
    missing: tuple[float, ...] = MISSING
    threshold: float | None = None
    fps: float = Field(30, gt=0)
    partitions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _patterns(self) -> "Layout":
        for pattern in (*self.recordings, self.tables):
            if "name" not in _groups((pattern,)):
                raise ValueError(f"the pattern {pattern!r} has no group 'name': (?P<name>…)")
        _groups(self.partitions.values())
        if not re.compile(self.au_column).groups:
            raise ValueError("au_column has no group for the number of the action unit")
        return self


def _groups(patterns: Iterable[str]) -> set[str]:
    """Return the names of the groups of some patterns."""
    try:
        return {name for pattern in patterns for name in re.compile(pattern).groupindex}
    except re.error as error:
        raise ValueError(f"{error.pattern!r} is no regular expression: {error}") from error


def read_layout(path: Path | None) -> Layout:
    """Read a layout, or the shipped preset.

    Raises:
        RecipeError: It cannot be read, a key is unknown, or a value is wrong.
    """
    path = path or ASSETS / "gft.yaml"
    return parse(Layout, read_yaml(path), path)
