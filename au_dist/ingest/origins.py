"""What a recording's clips came from, short enough to be kept with the set: to say later what of it changed.

Label files and landmarks of another program are small, and what is in them is always compared. Videos and pictures are
not read a second time: they are as they were where sizes and times are, or sizes and samples of their content.
"""

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from au_dist.core.errors import IngestError
from au_dist.corpora.recordings import Film, Sequence
from au_dist.corpora.tree import UNREADABLE, Entry
from au_dist.ingest.how import IngestRecipe

#: Samples of a recording's content: how many, spread evenly, and of how many bytes; of many pictures each one's end, in
#: which any change of a compressed picture shows.
SAMPLES, SAMPLE_BYTES, END_BYTES = 16, 1 << 16, 1 << 12

#: What may change of a recording: field of `Origin` → words.
WORDS = {
    "labels": "labels changed",
    "sizes": "video or pictures changed",
    "content": "video or pictures changed",
    "reading": "read in another way (who it is, bad frames, landmarks of another program, the detector's code)",
}


@dataclass(frozen=True)
class Origin:
    """What a recording's clips came from; hexadecimal digits that identify it.

    Attributes:
        labels: The content of its label files.
        reading: What its importer says of it besides, the landmarks of another program, and the code of a detector from
            a file.
        sizes: The sizes of its video or pictures; checksums too of members of an archive.
        times: When these were changed last.
        content: Samples of the video's or the pictures' content; empty until they were taken.
    """

    labels: str
    reading: str
    sizes: str
    times: str
    content: str = ""

    def changed(self, sequence: Sequence, kept: "Origin") -> list[str]:
        """Return which fields differ from those kept with a set; samples are taken only where times differ."""
        fields = [name for name in ("labels", "reading", "sizes") if getattr(self, name) != getattr(kept, name)]
        if "sizes" not in fields and self.times != kept.times and samples_of(sequence) != kept.content:
            fields.append("content")
        return fields


def origin_of(sequence: Sequence, recipe: IngestRecipe) -> Origin:
    """Return what a recording's clips would come from now, without samples."""
    labels = [[name, _content(entry)] for name, entry in sorted(sequence.labels.items())]
    source = sequence.source
    told = [source.first] if isinstance(source, Film) else [source.fps, source.cropped, [n for n, _ in source.numbered]]
    about = [sequence.subject, sequence.whole, sequence.side, sequence.dropped, sequence.segment, *told]
    if isinstance(source, Film) and (landmarks := recipe.spec.landmarks):
        file = landmarks / f"{source.entry.stem}.csv" if landmarks.is_dir() else landmarks
        about.append(_content(Entry(file.name, file)))
    stamps = [_stamp(entry) for entry in _files(sequence)]
    return Origin(
        labels=_digest([labels, sequence.table.digest() if sequence.table else None]),
        reading=_digest([about, _code_of(recipe.spec.detector)]),
        sizes=_digest([size for size, _ in stamps]),
        times=_digest([time for _, time in stamps]),
    )


def samples_of(sequence: Sequence) -> str:
    """Return what identifies samples of a recording's content: each file's end, of few files more blocks."""
    digest = hashlib.sha256()
    files = _files(sequence)
    for entry in files:
        digest.update(_sampled(entry, -(-SAMPLES // len(files)), SAMPLE_BYTES if len(files) < SAMPLES else END_BYTES))
    return digest.hexdigest()[:16]


def as_json(origins: dict[str, Origin]) -> dict[str, dict[str, str]]:
    """Return recording → origin as JSON has it."""
    return {title: asdict(origin) for title, origin in origins.items()}


def from_json(kept: dict[str, dict[str, str]]) -> dict[str, Origin]:
    """Return what `as_json` was given."""
    return {title: Origin(**fields) for title, fields in kept.items()}


def _files(sequence: Sequence) -> list[Entry]:
    """Return the files of a recording that are too large to be read again."""
    source = sequence.source
    return [source.entry] if isinstance(source, Film) else [entry for _, entry in source.numbered]


def _stamp(entry: Entry) -> tuple[list[int], int]:
    """Return what says a file's size, and when it was changed last; of a member of an archive size and checksum."""
    try:
        status = entry.path.stat()
        if entry.member is None:
            return [status.st_size], status.st_mtime_ns
        return _members(entry.path, status.st_mtime_ns)[entry.member], 0
    except UNREADABLE:
        return [], -1


def _sampled(entry: Entry, samples: int, size: int) -> bytes:
    """Return blocks of a file, the last one at its end; nothing of a member of an archive, which has a checksum."""
    if entry.member is not None:
        return b""
    try:
        with entry.path.open("rb") as file:
            last = max(0, entry.path.stat().st_size - size)
            read = []
            for place in sorted({last - last * k // samples for k in range(samples)}):
                file.seek(place)
                read.append(file.read(size))
    except OSError:
        return b"unreadable"
    return b"".join(read)


@lru_cache(maxsize=4)
def _members(path: Path, changed: int) -> dict[str, list[int]]:
    """Return member → size and checksum; an archive's list is read once and not for each of them."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename: [info.file_size, info.CRC] for info in archive.infolist()}


def _content(entry: Entry) -> str:
    try:
        return hashlib.sha256(entry.read()).hexdigest()
    except IngestError:
        return "unreadable"


def _code_of(detector: str) -> str | None:
    """Return what identifies the code of a detector ``FILE.py:function``; None for one that has a name."""
    file = Path(detector.rpartition(":")[0])
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.suffix == ".py" and file.is_file() else None


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
