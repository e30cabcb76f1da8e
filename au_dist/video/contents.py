"""What a file is, by its first bytes, where it cannot be a video."""

import struct
from collections.abc import Iterator
from pathlib import Path


def first_bytes(path: Path, most: int) -> bytes:
    """Return the first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""


def describe(path: Path) -> str | None:
    """Say what a file is where it cannot be a video; None where it may be one."""
    if not path.exists():
        return "no such file"
    start = first_bytes(path, 512)
    if not start:
        return "an empty or unreadable file"
    if start[4:8] == b"ftyp":
        return _photograph(path, start[8:12])
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in start):
        return None
    try:
        # The last few bytes may be half a character.
        text = start[:-3].decode() if len(start) == 512 else start.decode()
    except UnicodeDecodeError:
        return None
    line = (text.splitlines() or [""])[0]
    return f"a text file that begins with {line[:40]!r}"


def _photograph(path: Path, brand: bytes) -> str | None:
    """Say that a file in boxes holds a photograph: HEIF and AVIF have one above all tracks, often cut into tiles."""
    boxes = set(_boxes(path))
    if b"meta" not in boxes or boxes & {b"moov", b"moof"}:
        return None
    name = brand.decode("latin-1")
    return f"a photograph in an HEIF container (brand {name!r}), which is not read; save it as JPEG or PNG"


def _boxes(path: Path) -> Iterator[bytes]:
    """Yield the kinds of the outermost boxes of a file."""
    with path.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            size, kind = struct.unpack(">I4s", head[:8])
            yield kind
            if size == 1 and len(head) == 16:
                (size,) = struct.unpack(">Q", head[8:])
            if size < 8:
                return
            file.seek(size - len(head), 1)
