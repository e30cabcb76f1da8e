"""Frames out of videos and pictures, as a stream: what was decoded, when, and what was not.

The frames that come out count, not what a header promises; their times are the container's own, so that a variable
frame rate survives. Rotation flags and non-square pixels are undone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from au_dist.core.errors import IngestError

if TYPE_CHECKING:
    import av

PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"])

#: A step back in time of more than this, in seconds, is a new clock (recordings put end to end), not a stray frame.
NEW_CLOCK = 1.0

#: Frames per second where a file does not tell.
FALLBACK_FPS = 25.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        number: How many frames were decoded before it, also those that were dropped.
        time: Seconds from the first frame, strictly increasing.
        rgb_HWC: The picture, upright and with square pixels; uint8.
    """

    number: int
    time: float
    rgb_HWC: np.ndarray


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself before it is decoded; the number of frames is often wrong.

    Attributes:
        width: Pixels as stored, before rotation.
        height: Pixels as stored, before rotation.
        fps: Frames per second on average; None where unknown.
        frames: Frames according to the header; None where it does not say.
        duration: Seconds; None where unknown.
        codec: Name of the codec, or of the picture format.
    """

    width: int
    height: int
    fps: float | None
    frames: int | None
    duration: float | None
    codec: str


def first_bytes(path: Path, most: int) -> bytes:
    """Return the first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""


def probe(path: Path) -> VideoInfo:
    """Return what a video or picture says about itself, without decoding its frames.

    Raises:
        IngestError: The file is absent, is a text, or is neither video nor picture.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        height, width = read_picture(path).shape[:2]
        return VideoInfo(width, height, None, 1, 0.0, path.suffix.lower()[1:])
    with _open(path) as container:
        stream = container.streams.video[0]
        rate, context = stream.average_rate, stream.codec_context
        if stream.duration is not None and stream.time_base is not None:
            duration: float | None = float(stream.duration * stream.time_base)
        else:
            duration = container.duration / 1e6 if container.duration else None
        fps = float(rate) if rate else None
        return VideoInfo(context.width, context.height, fps, stream.frames or None, duration, context.name)


def read_frames(
    path: Path, *, threads: int = 1, square_pixels: bool = True, dropped: dict[str, int] | None = None
) -> Iterator[Frame]:
    """Decode the first video stream of a file, frame by frame; memory does not grow with its length.

    A picture is a video of one frame. What cannot be decoded is passed over and counted.

    Args:
        path: The file.
        threads: Decoder threads.
        square_pixels: Stretch pictures whose pixels are not square; off where coordinates of another program are used.
        dropped: Filled in place: reason → number of frames (or packets) that do not come out.

    Raises:
        IngestError: The file is absent, is a text, cannot be opened, or not one frame can be decoded.
    """
    dropped = {} if dropped is None else dropped
    if path.suffix.lower() in PICTURE_SUFFIXES:
        yield Frame(0, 0.0, read_picture(path))
        return
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        clock = _Clock(float(stream.average_rate or stream.guessed_rate or FALLBACK_FPS))
        aspect = float(stream.sample_aspect_ratio or 1) if square_pixels else 1.0
        number = sound = 0
        for decoded in _decoded(container, stream, dropped):
            number += 1
            if decoded.is_corrupt:
                count(dropped, "damaged frame")
                continue
            time = clock.tell(decoded.time)
            if time is None:
                count(dropped, "time not after the frame before")
                continue
            sound += 1
            yield Frame(number - 1, time, _upright(decoded, aspect))
    if not sound:
        raise IngestError(
            "No frame of the video could be decoded",
            where=path,
            expected="at least one sound frame",
            found="; ".join(f"{reason}: {times}" for reason, times in dropped.items()) or "a stream without frames",
            fix="Check that it plays elsewhere, or convert it again from its source.",
        )


def count(counts: dict[str, int], reason: str, number: int = 1) -> None:
    """Add to one of several named counts."""
    counts[reason] = counts.get(reason, 0) + number


class _Clock:
    """Times that strictly increase, made from presentation times that may be missing, repeated or restarted."""

    def __init__(self, fps: float) -> None:
        self.step, self.offset = 1.0 / fps, 0.0
        self.last: float | None = None

    def tell(self, stamp: float | None) -> float | None:
        """Return the time of the next frame in seconds from the first, or None where it repeats an earlier one."""
        if self.last is None:
            self.offset, self.last = -(stamp or 0.0), 0.0
            return 0.0
        time = self.last + self.step if stamp is None else stamp + self.offset
        if time < self.last - NEW_CLOCK:
            self.offset += self.last + self.step - time
            time = self.last + self.step
        if time <= self.last:
            return None
        self.last = time
        return time


def _decoded(
    container: "av.container.InputContainer", stream: "av.VideoStream", dropped: dict[str, int]
) -> Iterator["av.VideoFrame"]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            count(dropped, "end of the file not readable")
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            count(dropped, "packet not decodable")


def _upright(decoded: "av.VideoFrame", aspect: float) -> np.ndarray:
    width = decoded.width if aspect == 1.0 else max(1, round(decoded.width * aspect))
    rgb = decoded.to_ndarray(format="rgb24", width=width)
    turns = round(decoded.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def read_picture(source: Path | IO[bytes], where: object = None) -> np.ndarray:
    """Return a picture as upright RGB, uint8 (H, W, 3).

    Args:
        source: The file, or its content.
        where: What to call it; the path by default.

    Raises:
        IngestError: The file is absent or is no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as picture:
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGB"))
    except Exception as error:  # what a damaged picture raises is its decoder's choice
        reason = (_describe(source) if isinstance(source, Path) else None) or error
        raise IngestError(
            "The picture cannot be read", where=where or source, found=reason, fix="Remove it, or save it again."
        ) from error


def _open(path: Path) -> "av.container.InputContainer":
    import av

    reason: object = _describe(path)
    try:
        # A text is refused before FFmpeg sees it: some texts are play lists that make it open other files.
        container = av.open(str(path), metadata_errors="replace") if reason is None else None
    except (av.FFmpegError, OSError, ValueError) as error:
        container, reason = None, f"what FFmpeg calls '{getattr(error, 'strerror', None) or error}'"
    if container is not None and not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams})
        container.close()
        container, reason = None, f"only {' and '.join(kinds)}" if kinds else "no stream at all"
    if container is None:
        raise IngestError(
            "The video cannot be opened",
            where=path,
            expected="a video file that FFmpeg reads, with a video stream",
            found=reason,
            fix="Remove it from the folder, or fetch or convert it again.",
        )
    return container


def _describe(path: Path) -> str | None:
    """Say what a file is where it cannot be a video; None where it may be one."""
    if not path.exists():
        return "no such file"
    start = first_bytes(path, 512)
    if not start:
        return "an empty or unreadable file"
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in start):
        return None
    try:
        # The last few bytes may be half a character.
        text = start[:-3].decode() if len(start) == 512 else start.decode()
    except UnicodeDecodeError:
        return None
    line = (text.splitlines() or [""])[0]
    return f"a text file that begins with {line[:40]!r}"
