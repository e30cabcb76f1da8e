"""A sequence: one recording of one person, where its pictures are and where its labels are.

Importers make sequences by looking at a tree; everything after them is the same for every corpus.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from typing import Literal

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.copies import alike, name_of, one_each, two_of
from au_dist.corpora.label_files import LabelTable
from au_dist.corpora.timed import Timed
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.faces import Detector, Face
from au_dist.video.pictures import Greys, read_picture
from au_dist.video.video import Frame, count, read_frames

#: A label file and the frames may differ by this many at the end; what is over is left out, with a note.
TOLERANCE = 2

#: Share of the labelled frames that may lack their picture before label file and pictures are taken for those of
#: different recordings; face crops may lack any, where no face was found.
MOST_MISSING = 0.1


@dataclass(frozen=True)
class Pictures:
    """Frames that are pictures.

    Attributes:
        numbered: (frame number, picture), in order.
        fps: Frames per second.
        cropped: Whether they are face crops already.
    """

    numbered: tuple[tuple[int, Entry], ...]
    fps: float
    cropped: bool = False


@dataclass(frozen=True)
class Film:
    """Frames in a video file.

    Attributes:
        entry: The file.
        first: Number of the first decoded frame, as the labels count.
    """

    entry: Entry
    first: int = 0


@dataclass(frozen=True)
class Sequence:
    """One recording.

    Attributes:
        corpus: The data set.
        subject: Who it is, with the corpus that the person belongs to (``disfa/SN001`` in DISFA+ too); None where
            nobody says, and each track is a subject.
        name: The recording, unique within the corpus.
        source: Where the frames are.
        labels: Label files: what the importer calls them → where they are.
        table: Its labels, where one file has those of many recordings and the importer read it; None elsewhere.
        whole: Whether labels are given for every frame; if not, for a part of them.
        side: Whose face counts where there are several: any, or that on one side of the picture.
        dropped: Frame numbers that a list of bad frames names, (first, last) pairs.
        segment: First coded frame, last, and how many, as published; None where nobody says.
    """

    corpus: str
    subject: str | None
    name: str
    source: Pictures | Film
    labels: Mapping[str, Entry] = field(default_factory=dict)
    table: LabelTable | Timed | None = field(default=None, repr=False)
    whole: bool = False
    side: Literal["any", "left", "right"] = "any"
    dropped: tuple[tuple[int, int], ...] = ()
    segment: tuple[int, int, int] | None = None

    @property
    def title(self) -> str:
        """What to call it: subject and recording."""
        return self.name if self.subject is None else f"{self.subject}/{self.name}"

    @property
    def where(self) -> str:
        """Where it is, for a person."""
        if isinstance(self.source, Film):
            return self.source.entry.where
        first = self.source.numbered[0][1]
        return f"{first.path if first.member else first.path.parent}"


@dataclass(frozen=True)
class Found:
    """What an importer found.

    Attributes:
        corpus: The data set's name.
        sequences: In the order in which they are written: those of a subject together.
        aside: What was set aside → why.
        notes: What a person should know, a sentence each.
        partitions: Name of a published part of the corpus → its subjects, with their corpus.
        aus: The action units that it has labels of, where that differs from one of its kind to the next.
        understood: What was understood of tables that anybody may have written, a row each of what and how.
    """

    corpus: str
    sequences: tuple[Sequence, ...]
    aside: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    partitions: dict[str, list[str]] = field(default_factory=dict)
    aus: tuple[int, ...] = ()
    understood: tuple[tuple[str, str], ...] = ()

    @property
    def cropped(self) -> bool:
        """Whether the frames are face crops already."""
        return any(isinstance(sequence.source, Pictures) and sequence.source.cropped for sequence in self.sequences)


def read(
    source: Pictures | Film,
    wanted: tuple[int, int] | None,
    *,
    threads: int = 1,
    square_pixels: bool = True,
    dropped: dict[str, int] | None = None,
    notes: list[str] | None = None,
) -> Iterator[Frame]:
    """Decode frames one by one, numbered as the labels count.

    Args:
        source: Where they are.
        wanted: First and last number of the frames that matter; others are not decoded where that saves work.
        threads: Decoder threads.
        square_pixels: Undo pixels that are not square.
        dropped: Filled in place: reason → frames that did not come out.
        notes: Filled in place: what a person should know.

    Raises:
        IngestError: Not one frame can be read.
    """
    dropped = {} if dropped is None else dropped
    if isinstance(source, Pictures):
        yield from _pictures(source, wanted, dropped, notes)
        return
    with source.entry.local() as path:
        for frame in read_frames(path, threads=threads, square_pixels=square_pixels, dropped=dropped, notes=notes):
            yield replace(frame, number=frame.number + source.first)


def _pictures(
    source: Pictures, wanted: tuple[int, int] | None, dropped: dict[str, int], notes: list[str] | None
) -> Iterator[Frame]:
    first = source.numbered[0][0]
    sound, error = 0, None
    chosen = [(number, entry) for number, entry in source.numbered if not wanted or wanted[0] <= number <= wanted[1]]
    greys = Greys([partial(_opened, entry) for _, entry in chosen])
    for number, entry in chosen:
        try:
            picture = read_picture(_opened(entry), entry.where, notes, greys)
        except IngestError as problem:
            error = error or problem
            count(dropped, "picture not readable")
            continue
        sound += 1
        yield Frame(number, (number - first) / source.fps, picture)
    if error and not sound:
        raise error


def _opened(entry: Entry) -> BytesIO:
    return BytesIO(entry.read())


def numbered(entries: Iterable[Entry], notes: list[str]) -> tuple[tuple[int, Entry], ...]:
    """Return pictures by the number that their name ends with, whatever its padding.

    Args:
        entries: The pictures; those whose name does not end with a number are none.
        notes: A sentence on copies is put here.

    Raises:
        IngestError: Two pictures that differ have one number.
    """
    found = ((int(digits[0]), entry) for entry in entries if (digits := re.search(r"\d+$", entry.stem)))
    return tuple(sorted(one_each(found, "pictures", notes).items()))


class Folders:
    """Pictures of recordings by the folder they are in: a recording may be there twice, as from two cameras."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, ...], dict[str, list[Entry]]] = {}

    def add(self, key: tuple[str, ...], entry: Entry) -> None:
        """Put a picture to its recording."""
        folder = entry.name.rpartition("/")[0]
        self.places.setdefault(key, {}).setdefault(folder, []).append(entry)

    def chosen(self, notes: list[str], prefer: str = "") -> dict[tuple[str, ...], tuple[tuple[int, Entry], ...]]:
        """Return recording → numbered pictures of one of its folders.

        Args:
            notes: What a person should know is put here, a sentence each.
            prefer: Where there are several folders, the one whose name has this.

        Raises:
            IngestError: A recording is in several folders, none of which is preferred, and they are not alike.
        """
        chosen = {}
        several: dict[str, str] = {}
        for key, folders in self.places.items():
            kept = {}
            for folder, entries in sorted(folders.items()):
                if pictures := numbered(entries, notes):
                    kept[folder] = pictures
            preferred = [folder for folder in kept if prefer and prefer in folder.lower()]
            first = preferred[0] if len(preferred) == 1 else next(iter(kept), "")
            for other in kept.keys() - {first}:
                if len(preferred) != 1 and not _copies(kept[first], kept[other]):
                    raise two_of("folders of pictures", name_of(key), kept[first][0][1], kept[other][0][1])
                several[name_of(key)] = first
            if kept:
                chosen[key] = kept[first]
        if several:
            shown = [f"{name} from {folder}" for name, folder in sorted(several.items())]
            notes.append(f"{len(shown)} recordings are in several folders; one was taken ({first_few(shown)}).")
        return chosen


def _copies(one: tuple[tuple[int, Entry], ...], other: tuple[tuple[int, Entry], ...]) -> bool:
    """Return whether two folders hold the same pictures."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a[0] == b[0] and alike(a[1], b[1]) for a, b in pairs)


def ordinal(pictures: tuple[tuple[int, Entry], ...], start: int = 1) -> tuple[tuple[int, Entry], ...]:
    """Number pictures anew, whatever their first name says; where one is missing, the others keep their places."""
    first = pictures[0][0] if pictures else 0
    return tuple((number - first + start, entry) for number, entry in pictures)


def sided(detect: Detector, side: str) -> Detector:
    """Return a detector that sees only the face on one side of the picture: of two people, one is meant."""
    if side == "any":
        return detect

    def middle(face: Face) -> float:
        return float(face.box_4[0] + face.box_4[2]) / 2

    def one(frame: Frame) -> list[Face]:
        half = frame.rgb_HWC.shape[1] / 2
        faces = [face for face in detect(frame) if (middle(face) < half) == (side == "left")]
        return sorted(faces, key=middle, reverse=side == "right")[:1]

    return one


def in_ranges(number: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    """Return whether a frame number is in one of several ranges, ends included."""
    return any(first <= number <= last for first, last in ranges)


def nothing_found(corpus: str, tree: Tree, looked_for: list[str]) -> IngestError:
    """Return the error for a folder that is not this corpus: what was looked for and what was found."""
    return IngestError(
        f"This does not look like {corpus}",
        where=tree.root,
        expected="; ".join(looked_for),
        found=tree.summary(),
        fix="Give the folder that the archive unpacks to, or one above it.",
    )


def no_labels(corpus: str, tree: Tree, recordings: int, looked_for: list[str]) -> IngestError:
    """Return the error for recordings without any label file."""
    return IngestError(
        f"There are {recordings} recordings of {corpus} here, but no labels",
        where=tree.root,
        expected="; ".join(looked_for),
        found=tree.summary(),
        fix="Put the folder of labels beside the recordings, or take them in without labels: `au-dist ingest video`.",
    )
