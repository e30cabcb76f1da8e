"""What `au-dist predict` wrote beside the videos: its timelines show their faces again, and are no pictures to take."""

import re
from contextlib import suppress
from pathlib import Path

from PIL import Image, UnidentifiedImageError

#: The text of a timeline that says how it was made.
RECORD = "au-dist"

#: How each table of scores begins, and no other program's.
BEGIN = re.compile(rb"frame, (face_id, )?timestamp, confidence, success, AU\d+_[cr]")


def is_timeline(path: Path) -> bool:
    """Say whether a picture is one that `predict` wrote: by its text, or in older versions by the table beside it."""
    return path.suffix == ".png" and (_says_so(path) or is_table(path.with_suffix(".csv")))


def _says_so(picture: Path) -> bool:
    with suppress(OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError), Image.open(picture) as it:
        return RECORD in it.info
    return False


def is_table(path: Path) -> bool:
    """Say whether a file is a table of scores that `predict` wrote, by its first line."""
    with suppress(OSError), path.open("rb") as file:
        return BEGIN.match(file.readline(1000)) is not None
    return False
