"""How the tables of a corpus are laid out, as a person writes it down."""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from au_dist.errors import RecipeError

#: Names of data sets.
NAME = r"[a-z0-9+_-]+"

ASSETS = Path(__file__).parents[1] / "assets"


class Layout(BaseModel):
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
        au_column: Pattern of the columns of action units; its first group is the number.
        missing: Codes for unknown, beside empty cells and NaN.
        threshold: Codes of at least this mean that the action unit occurs; above 1, codes are intensities and kept.
        fps: Frames per second of pictures.
        partitions: Name of a part → pattern of the names of its recordings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verified: bool = True
    corpus: str = Field("gft", pattern=f"^{NAME}$")
    recordings: tuple[str, ...]
    tables: str
    frame_column: str | None = None
    first_frame: int = 1
    au_column: str = r"AU_?0*(\d+)"
    missing: tuple[float, ...] = (9, -1, 999)
    threshold: float = 1
    fps: float = Field(30, gt=0)
    partitions: dict[str, str] = Field(default_factory=dict)


def read_layout(path: Path | None) -> Layout:
    """Read a layout, or the shipped preset.

    Raises:
        RecipeError: It cannot be read, or a value is wrong.
    """
    path = path or ASSETS / "gft.yaml"
    try:
        found = Layout.model_validate(yaml.safe_load(path.read_text()))
        for pattern in (*found.recordings, found.tables, *found.partitions.values()):
            re.compile(pattern)
        if not re.compile(found.au_column).groups:
            raise ValueError("au_column has no group for the number of the action unit")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError, ValueError, re.error) as error:
        raise RecipeError(
            "The layout of the tables cannot be read", where=path, found=" ".join(str(error).split())[:300]
        ) from error
    for pattern in (*found.recordings, found.tables):
        if "(?P<name>" not in pattern:
            raise RecipeError("A pattern has no group 'name'", where=path, expected="(?P<name>…)", found=pattern)
    return found
