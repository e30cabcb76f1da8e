"""The videos that a person names: files, folders and addresses in storage, each with a name for its result."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePosixPath

from au_dist.core.errors import IngestError
from au_dist.corpora.folder import VIDEO_SUFFIXES, find_videos
from au_dist.corpora.tree import Entry, look
from au_dist.storage.store import open_store
from au_dist.video.pictures import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Source:
    """One video.

    Attributes:
        address: A path or ``s3://…``; of a member of an archive the archive, ``/`` and its name.
        name: Of its result: where it lies below what was named, without its suffix.
        entry: The file; None in storage.
    """

    address: str
    name: str
    entry: Entry | None = None

    def inputs(self, landmarks: Path | None) -> list[Path]:
        """Return the files on disk that a result is made of."""
        stem = PurePosixPath(self.address).stem
        beside = [landmarks, landmarks / f"{stem}.csv"] if landmarks else []
        return [*([self.entry.path] if self.entry else []), *beside]

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Give a path to the video, for as long as it is needed.

        Raises:
            StorageError: It cannot be fetched.
            IngestError: It cannot be unpacked.
        """
        if self.entry is not None:
            with self.entry.local() as path:
                yield path
            return
        place = open_store(self.address)
        with tempfile.TemporaryDirectory(prefix="au-dist-") as folder:
            path = Path(folder, place.name)
            place.parent.download(place.name, path)
            yield path


def one_source(video: Path | str) -> Source:
    """Return a single video by its path or address; nothing is read."""
    address = os.fspath(video)
    if address.startswith("s3://"):
        return Source(address, PurePosixPath(address).stem)
    return Source(address, Path(address).stem, Entry(Path(address).name, Path(address).absolute()))


def is_one(address: str) -> bool:
    """Say whether an address is that of a single video, not of a folder."""
    if not address.startswith("s3://"):
        return not Path(address).is_dir()
    if "/" not in address.removeprefix("s3://").strip("/"):
        return False
    place = open_store(address)
    return place.parent.exists(place.name)


def find_sources(addresses: Sequence[str], taken: frozenset[str] = frozenset()) -> tuple[list[Source], list[str]]:
    """Return the videos at some addresses, each once, with names that differ, and what a person should know.

    Timelines that `predict` wrote are no pictures to predict.

    Args:
        addresses: Files and folders, on disk or in storage.
        taken: Names that no result may have.

    Raises:
        IngestError: There is no video at one of them.
        StorageError: The store fails.
    """
    found: dict[str, Source] = {}
    notes: list[str] = []
    for address in addresses:
        sources = [one_source(address)] if is_one(address) else _in_folder(address, notes)
        if not sources:
            raise IngestError("There are no videos here", where=address, expected="files such as .mp4, .avi or .jpg")
        for source in sources:
            found.setdefault(_absolute(source.address), source)
    return _named(found, taken), notes


def _in_folder(address: str, notes: list[str]) -> list[Source]:
    if address.startswith("s3://"):
        place = open_store(address)
        suffixes = VIDEO_SUFFIXES | PICTURE_SUFFIXES
        paths = [path for path in place.list(recursive=True) if PurePosixPath(path).suffix.lower() in suffixes]
        return [Source(f"{place.uri}/{path}", str(PurePosixPath(path).with_suffix(""))) for path in paths]
    root = Path(address).absolute()
    tree = look(root)
    notes += [f"{path}: {why}" for path, why in tree.unreadable.items()]
    return [
        Source(
            str(Path(address, entry.path.relative_to(root), entry.member or "")),
            str(PurePosixPath(entry.name).with_suffix("")),
            entry,
        )
        for entry in find_videos(tree, notes)
    ]


def _absolute(address: str) -> str:
    return address if address.startswith("s3://") else os.path.abspath(address)


def _named(found: dict[str, Source], taken: frozenset[str]) -> list[Source]:
    """Name the sources by as little of their paths as tells them apart, also where capitals do not count."""
    places = {address: PurePosixPath(address.removeprefix("s3://").lstrip("/")) for address in found}
    common = os.path.commonpath([place.parent for place in places.values()]) if found else ""
    below = {address: place.relative_to(common) for address, place in places.items()}
    used, names = {name.casefold() for name in taken}, dict[str, str]()
    for choice in (
        {address: source.name for address, source in found.items()},
        {address: str(place.with_suffix("")) for address, place in below.items()},
        {address: str(place) for address, place in below.items()},
    ):
        times = Counter(name.casefold() for name in choice.values())
        for address, name in choice.items():
            if address not in names and times[name.casefold()] == 1 and name.casefold() not in used:
                names[address] = name
                used.add(name.casefold())
    # Only names such as `a.mp4` beside `a.mp4.mp4` come here.
    for address in found:
        if address not in names:
            numbered = (f"{below[address]}-{number}" for number in count(2))
            names[address] = next(name for name in numbered if name.casefold() not in used)
            used.add(names[address].casefold())
    return [replace(source, name=names[address]) for address, source in found.items()]
