"""The files of a prediction: where they go, and that they replace nothing but an earlier result of the same video."""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from au_dist.core.errors import IngestError, RecipeError, StorageError
from au_dist.corpora.timelines import RECORD
from au_dist.storage.store import atomic_file

#: Device and number of a file, which it has by any of its names.
Identity = tuple[int, int]


@dataclass(frozen=True)
class Made:
    """What a result says of itself, in the text `RECORD` of its picture.

    Attributes:
        table: sha256 of the table.
        video: sha256 of the video.
        asked: Digest of the model and of all that was asked for; empty where it cannot be known again.
        frames: Rows of frames in the table.
        frames_with_face: Of these, frames in which the detector saw a face.
        faces: Tracks of faces.
        notes: What a person should know, a sentence each.
    """

    table: str
    video: str
    asked: str
    frames: int
    frames_with_face: int
    faces: int
    notes: tuple[str, ...] = field(default_factory=tuple)

    def text(self) -> str:
        """Return it as the picture keeps it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Targets:
    """Where a result goes.

    Attributes:
        table: The CSV file.
        picture: The timeline beside it, PNG.
    """

    table: Path
    picture: Path

    def save(self, table: bytes, picture: bytes) -> None:
        """Write both, whole.

        Raises:
            StorageError: They cannot be written; an earlier result stays.
        """
        try:
            with atomic_file(self.table) as file, atomic_file(self.picture) as image:
                file.write(table)
                image.write(picture)
        except OSError as error:
            raise StorageError("The result cannot be written", where=self.table, found=error) from error


def targets_of(name: str, out: Path) -> Targets:
    """Return where a result goes.

    Args:
        name: The name of the result, without a suffix.
        out: A folder, or the CSV file itself.
    """
    table = out if out.suffix.lower() == ".csv" else out / f"{name}.csv"
    return Targets(table, table.with_suffix(".png"))


def check_targets(targets: Targets, taken: frozenset[Identity], *, overwrite: bool = False) -> Made | None:
    """See to it that a result can be written and replaces nothing; before the work, for hours later is late.

    Args:
        targets: Where the result goes.
        taken: The files that results are made of (`identities`); never replaced.
        overwrite: Whether it may replace what `predict` did not write.

    Returns:
        What the earlier result there says of itself, None where there is none, or where it may be replaced anyway.

    Raises:
        RecipeError: It would replace an input, or what this program did not write.
        StorageError: It cannot be written.
    """
    there = []
    for target in (targets.table, targets.picture):
        try:
            nearest = next(folder for folder in target.absolute().parents if folder.exists())
            usable = nearest.is_dir() and os.access(nearest, os.W_OK)
            found = "" if usable else f"{nearest} is no folder to write into"
            if usable:
                with suppress(FileNotFoundError):
                    (nearest / target.name).lstat()
        except OSError as error:
            found = f"{error.strerror}: {len(os.fsencode(target.name))} bytes"
        if found:
            fix = "Give another folder or a short CSV file with --out."
            raise StorageError("The result cannot be written", where=target, found=found, fix=fix)
        identity = _identity(target)
        if identity in taken:
            raise RecipeError(
                "The result would replace an input", where=target, fix="Give another folder or CSV file with --out."
            )
        if identity:
            there.append(target)
    if not there or overwrite:
        return None
    made = read_made(targets.picture)
    if made is None or (targets.table in there and digest_of(targets.table) != made.table):
        raise RecipeError(
            "A file is in the way that is not as `au-dist predict` wrote it",
            where=there[0],
            fix="Give another folder or CSV file with --out, or replace it with --overwrite.",
        )
    # Without its table a result is not one that may stay.
    return made if targets.table in there else replace(made, asked="")


def check_same_video(before: Made | None, video: str, targets: Targets) -> None:
    """Refuse to replace the result of another video of that name.

    Args:
        before: What the earlier result says of itself.
        video: sha256 of the video.
        targets: Where the result goes.

    Raises:
        RecipeError: It is of another video.
    """
    if before is not None and before.video != video:
        raise RecipeError(
            "The result of another video is in the way",
            where=targets.table,
            fix="Give another folder or CSV file with --out, or replace it with --overwrite.",
        )


def read_made(picture: Path) -> Made | None:
    """Return what a timeline says of itself; None for other pictures, and where there is none."""
    try:
        with Image.open(picture) as image:
            raw = json.loads(image.info.get(RECORD, ""))
            return Made(**{**raw, "notes": tuple(raw["notes"])})
    except (OSError, UnidentifiedImageError, ValueError, TypeError, KeyError, Image.DecompressionBombError):
        return None


def digest_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        IngestError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IngestError("A file cannot be read", where=path, found=error.strerror) from error


def identities(paths: Iterable[Path]) -> frozenset[Identity]:
    """Return what files are by any of their names; of those that are there."""
    return frozenset(identity for path in paths if (identity := _identity(path)))


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
