"""What a person has on disk: the files of a folder and of the zip archives in it, by the name each has there.

Importers find their files by looking at these names, never by building them.
"""

import codecs
import lzma
import os
import re
import tempfile
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few

#: What reading a damaged, encrypted or vanished file or archive raises.
UNREADABLE = (
    *(OSError, EOFError, KeyError, RuntimeError, NotImplementedError, UnicodeDecodeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


@dataclass(frozen=True, order=True)
class Entry:
    """A file, in a folder or in an archive.

    Attributes:
        name: Its path below the root, with ``/``; for a member of an archive the archive's path without ``.zip``, then
            the member's.
        path: The file or archive on disk.
        member: Its name within the archive; None for a file of its own.
    """

    name: str
    path: Path
    member: str | None = None

    @property
    def stem(self) -> str:
        """The last part of the name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix in small letters, with its dot."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the name."""
        return PurePosixPath(self.name).parts

    def read(self) -> bytes:
        """Return the content.

        Raises:
            IngestError: It cannot be read.
        """
        try:
            if self.member is None:
                return self.path.read_bytes()
            return _archive(self.path, self.path.stat().st_mtime_ns).read(self.member)
        except UNREADABLE as error:
            raise IngestError("A file cannot be read", where=self.where, found=_why(error)) from error

    def text(self) -> str:
        """Return the content as text.

        Raises:
            IngestError: It cannot be read, or is no text.
        """
        content = self.read()
        fix = "Save it as UTF-8; Excel calls that 'CSV UTF-8 (Comma delimited)'."
        try:
            if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return content.decode("utf-16")
            if b"\0" not in content:
                return content.decode("utf-8-sig")
            reason = "zero bytes"
            if content.startswith(b"PK"):
                reason, fix = "a workbook or an archive", "Name it for what it is, such as .xlsx."
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            reason = f"bytes in line {line} that are no UTF-8: {content[error.start : error.start + 8]!r}"
        raise IngestError("A label file is no text", where=self.where, found=reason, fix=fix)

    @property
    def where(self) -> str:
        """Where it is, for a person."""
        return str(self.path) if self.member is None else f"{self.path}, member {self.member}"

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Give a path to the content; a member of an archive is unpacked for as long as it is needed."""
        if self.member is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="au-dist-") as folder:
            target = Path(folder) / PurePosixPath(self.name).name
            try:
                archive = _archive(self.path, self.path.stat().st_mtime_ns)
                with archive.open(self.member) as source, target.open("wb") as file:
                    while chunk := source.read(1 << 20):
                        file.write(chunk)
            except UNREADABLE as error:
                raise IngestError("An archive's member is unreadable", where=self.where, found=_why(error)) from error
            yield target


@lru_cache(maxsize=2)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """Return an open archive; its list of members is read once and not for each of them."""
    return zipfile.ZipFile(path)


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class Tree:
    """All files of a corpus.

    Attributes:
        root: The folder or archive.
        entries: Its files, sorted by name; hidden ones are left out.
        unreadable: Archive, folder or file → why it cannot be read.
    """

    root: Path
    entries: tuple[Entry, ...]
    unreadable: dict[str, str] = field(default_factory=dict)

    def matching(self, pattern: str, *suffixes: str) -> Iterator[tuple[re.Match[str], Entry]]:
        """Yield the entries whose whole name matches a pattern, in any case, and that have one of the suffixes.

        The pattern is matched against the end of the name, from the beginning of a part.
        """
        compiled = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        for entry in self.entries:
            if entry.suffix in suffixes and (match := compiled.fullmatch(entry.name)):
                yield match, entry

    def summary(self) -> str:
        """Say what is there, for a person: how many files of which kinds, and the first folders."""
        if not self.entries:
            return "an empty folder"
        kinds = Counter(entry.suffix or "no suffix" for entry in self.entries)
        folders = sorted({"/".join(entry.parts[:-1][:3]) or "." for entry in self.entries})
        return f"{', '.join(f'{number} {kind}' for kind, number in kinds.most_common(5))} in {first_few(folders)}"


class Ends:
    """Files by the last parts of their names, as many as one asks for, in any case.

    Args:
        entries: The files.
        bare: Whether they are found without their suffix too.
    """

    def __init__(self, entries: Iterable[Entry], *, bare: bool = False) -> None:
        self.entries, self.bare = list(entries), bare
        self.by_depth: dict[int, dict[str, list[Entry]]] = {}

    def find(self, end: str) -> list[Entry]:
        """Return the files whose names end with these parts."""
        depth = end.count("/") + 1
        if depth not in self.by_depth:
            found: dict[str, list[Entry]] = defaultdict(list)
            for entry in self.entries:
                if len(entry.parts) >= depth:
                    name = _plain("/".join(entry.parts[-depth:]))
                    for one in (name, *([name.removesuffix(entry.suffix)] if self.bare else ())):
                        found[one].append(entry)
            self.by_depth[depth] = found
        return self.by_depth[depth].get(_plain(end), [])


def _plain(name: str) -> str:
    """Return a name without capitals, and with accented letters as one character each."""
    return unicodedata.normalize("NFC", name).lower()


def look(root: Path) -> Tree:
    """List a folder and the archives below it, or an archive; a file of another kind is a tree of its own.

    Raises:
        IngestError: The place is absent.
    """
    if not root.exists():
        raise IngestError("There is no such folder", where=root, fix="Give the folder that holds the corpus.")
    unreadable: dict[str, str] = {}
    files = [root] if root.is_file() else _files(root, unreadable)
    entries: list[Entry] = []
    for path in files:
        archive = path.suffix.lower() == ".zip"
        name = path.relative_to(root).as_posix() if path != root else "" if archive else path.name
        if not _is_text(name):
            unreadable[repr(str(path))] = "its name is not UTF-8"
        elif not archive:
            entries.append(Entry(name, path))
        else:
            try:
                entries += _members(path, name)
            except UNREADABLE as error:
                unreadable[str(path)] = f"the archive cannot be opened: {_why(error)}"
    return Tree(root, tuple(sorted(entries)), unreadable)


def _files(root: Path, unreadable: dict[str, str]) -> list[Path]:
    """List files below a folder; links to folders are followed, each folder once."""
    files = []
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        unreadable[str(error.filename)] = f"the folder cannot be listed: {error.strerror}"

    for folder, below, names in os.walk(root, followlinks=True, onerror=note):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            below.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        files += [Path(folder) / name for name in names if not name.startswith(".")]
    return sorted(files)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _members(path: Path, name: str) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        members = [info.filename for info in archive.infolist() if not info.is_dir()]
    outside = name[: -len(path.suffix)]
    for member in members:
        if not any(part.startswith((".", "__MACOSX")) for part in member.split("/")):
            yield Entry("/".join(filter(None, (outside, member.replace("\\", "/")))), path, member)
