"""What a person has on disk: the files of a folder and of the zip archives in it, by the name each has there.

Importers find their files by looking at these names, never by building them.
"""

import os
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from au_dist.errors import IngestError


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
        return self.name.rpartition("/")[2].rpartition(".")[0]

    @property
    def suffix(self) -> str:
        """The suffix in small letters, with its dot."""
        last = self.name.rpartition("/")[2]
        return f".{last.rpartition('.')[2].lower()}" if "." in last else ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the name."""
        return tuple(self.name.split("/"))

    def read(self) -> bytes:
        """Return the content.

        Raises:
            IngestError: It cannot be read.
        """
        try:
            if self.member is None:
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.member)
        except (OSError, zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
            raise IngestError("A file cannot be read", where=self.where, found=error) from error

    def text(self) -> str:
        """Return the content as text.

        Raises:
            IngestError: It cannot be read, or is no text.
        """
        try:
            return self.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise IngestError("A label file is no text", where=self.where, found=error) from error

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
            target = Path(folder) / f"{self.stem}{self.suffix}"
            try:
                with (
                    zipfile.ZipFile(self.path) as archive,
                    archive.open(self.member) as source,
                    target.open("wb") as file,
                ):
                    while chunk := source.read(1 << 20):
                        file.write(chunk)
            except (OSError, zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
                raise IngestError("A member of an archive cannot be read", where=self.where, found=error) from error
            yield target


@dataclass(frozen=True)
class Tree:
    """All files of a corpus.

    Attributes:
        root: The folder or archive.
        entries: Its files, sorted by name; hidden ones are left out.
        unreadable: Archive → why it cannot be opened.
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
            if entry.suffix in suffixes and (found := compiled.fullmatch(entry.name)):
                yield found, entry

    def summary(self) -> str:
        """Say what is there, for a person: how many files of which kinds, and the first folders."""
        if not self.entries:
            return "no files"
        kinds = Counter(entry.suffix or "no suffix" for entry in self.entries)
        folders = sorted({"/".join(entry.parts[:-1][:3]) or "." for entry in self.entries})
        shown = ", ".join(folders[:4]) + (f" and {len(folders) - 4} more" if len(folders) > 4 else "")
        return f"{', '.join(f'{number} {kind}' for kind, number in kinds.most_common(5))} in {shown}"


def look(root: Path) -> Tree:
    """List a folder, or an archive, and the archives below it.

    Raises:
        IngestError: The place is absent, or neither a folder nor an archive.
    """
    if not root.exists():
        raise IngestError("There is no such folder", where=root, fix="Give the folder that holds the corpus.")
    if root.is_file() and not zipfile.is_zipfile(root):
        raise IngestError("This is neither a folder nor a zip archive", where=root)
    files = [root] if root.is_file() else _files(root)
    entries: list[Entry] = []
    unreadable: dict[str, str] = {}
    for path in files:
        name = path.relative_to(root).as_posix() if path != root else ""
        if path.suffix.lower() != ".zip":
            entries.append(Entry(name, path))
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                members = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (OSError, zipfile.BadZipFile) as error:
            unreadable[str(path)] = f"the archive cannot be opened: {error}"
            continue
        outside = name.removesuffix(".zip").removesuffix(".ZIP")
        entries += [
            Entry("/".join(filter(None, (outside, member.replace("\\", "/")))), path, member)
            for member in members
            if not _hidden(member)
        ]
    return Tree(root, tuple(sorted(entries)), unreadable)


def _files(root: Path) -> list[Path]:
    found = []
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(folder) / name for name in names if not name.startswith(".")]
    return sorted(found)


def _hidden(member: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in member.split("/"))
