"""Frames out of videos and pictures, as a stream: what was decoded, when, and what was not.

The frames that come out count, not what a header promises; their times are the container's own, so that a variable
frame rate survives. Display matrices and non-square pixels are undone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.video.clock import TimeCounts, in_order, rising
from au_dist.video.contents import describe
from au_dist.video.orientation import AS_STORED, Orientation, from_matrix
from au_dist.video.pictures import PICTURE_SUFFIXES, note, picture_info, read_pictures

if TYPE_CHECKING:
    import av

#: A larger share of lost frames than this is said.
MOST_LOST = 0.01

#: Frames per second where a file does not tell.
FALLBACK_FPS = 25.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        number: How many frames were decoded before it, also those that were dropped.
        time: Seconds from the first frame, strictly increasing.
        rgb_HWC: The picture, upright and with square pixels; uint8.
        orientation: How the stored picture was brought upright.
    """

    number: int
    time: float
    rgb_HWC: np.ndarray
    orientation: Orientation = AS_STORED


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


def probe(path: Path) -> VideoInfo:
    """Return what a video or picture says about itself, without decoding its frames.

    Raises:
        IngestError: The file is absent, is a text, or is neither video nor picture.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        width, height, pictures = picture_info(path)
        return VideoInfo(width, height, None, pictures, 0.0 if pictures == 1 else None, path.suffix.lower()[1:])
    with _open(path) as container:
        stream = _moving(container)[0]
        rate, context = stream.average_rate, stream.codec_context
        if stream.duration is not None and stream.time_base is not None:
            duration: float | None = float(stream.duration * stream.time_base)
        else:
            duration = container.duration / 1e6 if container.duration else None
        fps = float(rate) if rate else None
        return VideoInfo(context.width, context.height, fps, stream.frames or None, duration, context.name)


def read_frames(
    path: Path,
    *,
    threads: int = 1,
    square_pixels: bool = True,
    dropped: dict[str, int] | None = None,
    notes: list[str] | None = None,
) -> Iterator[Frame]:
    """Decode the first video stream of a file, frame by frame; memory does not grow with its length.

    A picture is a video of one frame. What cannot be decoded is passed over and counted; no frame is left out because
    of its time.

    Args:
        path: The file.
        threads: Decoder threads.
        square_pixels: Stretch pictures whose pixels are not square; off where coordinates of another program are used.
        dropped: Filled in place: reason → number of frames (or packets) that do not come out.
        notes: Filled in place: what a person should know.

    Raises:
        IngestError: The file is absent, is a text, cannot be opened, or not one frame can be decoded.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        for number, (time, rgb_HWC, orientation) in enumerate(read_pictures(path, notes)):
            yield Frame(number, time, rgb_HWC, orientation)
        return
    dropped = {} if dropped is None else dropped
    lost: dict[str, int] = {}
    decoded = -1
    with _open(path) as container:
        moving = _moving(container)
        if len(moving) > 1:
            note(notes, f"{len(moving)} video streams: the first is read")
        stream, times = moving[0], TimeCounts()
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        fps = float(stream.average_rate or stream.guessed_rate or FALLBACK_FPS)
        aspect = float(stream.sample_aspect_ratio or 1) if square_pixels else 1.0
        turns = _Turns(notes)
        try:
            frames = rising(in_order(_decoded(container, stream, lost), times), 1 / fps, times)
            for decoded, (time, frame) in enumerate(frames):
                if frame.is_corrupt:
                    count(lost, "damaged frame")
                    continue
                rgb_HWC, orientation = _upright(frame, aspect, turns.of(frame))
                yield Frame(decoded, time, rgb_HWC, orientation)
        finally:
            for reason, number in lost.items():
                count(dropped, reason, number)
    for text in _what_was_lost(decoded + 1, lost, times):
        note(notes, text)
    if decoded + 1 == lost.get("damaged frame", 0):
        raise IngestError(
            "No frame of the video could be decoded",
            where=path,
            expected="at least one sound frame",
            found="; ".join(f"{reason}: {number}" for reason, number in lost.items()) or "a stream without frames",
            fix="Check that it plays elsewhere, or convert it again from its source.",
        )


def to_its_end(frames: Iterator[Frame], info: VideoInfo, notes: list[str]) -> Iterator[Frame]:
    """Pass on all frames of a video; afterwards, add a note where it ends before its header says."""
    number, end, gap = 0, 0.0, 0.0
    for frame in frames:
        number, gap, end = frame.number + 1, frame.time - end, frame.time
        yield frame
    # Neither alone tells: some headers count places without a frame, and some sound is longer than the pictures.
    promised, seconds = info.frames or 0, info.duration or 0.0
    if promised - number > MOST_LOST * promised and seconds - end - gap > MOST_LOST * seconds:
        note(notes, f"{number} frames came out, up to {end:.2f} s; the header promises {promised}, {seconds:.2f} s")


def _what_was_lost(decoded: int, lost: dict[str, int], times: TimeCounts) -> Iterator[str]:
    """Say what a person should know of a video that was read to its end."""
    frames = sum(lost.values())
    if frames > MOST_LOST * decoded:
        yield f"{frames} frames were lost beside {decoded - lost.get('damaged frame', 0)} sound ones"
    if times.sorted:
        yield f"the time stamps were in the order of decoding: {times.sorted} of {decoded} frames got another one's"
    if times.made_up:
        yield f"{times.made_up} of {decoded} frames had no time stamp, or none after the frame before: made up"


def count(counts: dict[str, int], reason: str, number: int = 1) -> None:
    """Add to one of several named counts."""
    counts[reason] = counts.get(reason, 0) + number


def _moving(container: "av.container.InputContainer") -> list["av.VideoStream"]:
    """Return the video streams that are no cover picture."""
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _decoded(
    container: "av.container.InputContainer", stream: "av.VideoStream", lost: dict[str, int]
) -> Iterator[tuple[float | None, bool, "av.VideoFrame"]]:
    """Yield frames with their stamp in seconds, and whether stamps may be in the order of decoding.

    They are not where the stamp of a packet is before that of an earlier one: the codec moves frames, and the
    container knows it. AVI does not: there FFmpeg takes a packet to be shown when the next is decoded, and the last
    one a tick later, be a frame one tick long or many.
    """
    import av

    latest, known, wait, late = None, False, 0, dict[int, int]()
    for packet, following in pairwise(chain(_packets(container, stream, lost), [None])):
        assert packet is not None
        if packet.pts is not None:
            known = known or (latest is not None and packet.pts < latest)
            latest = packet.pts
            before, wait = wait, packet.pts - (packet.pts if packet.dts is None else packet.dts)
            if container.format.name == "avi" and not known and (following is None or following.dts is None):
                late[packet.pts] = max(0, before - wait)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            count(lost, "packet not decodable")
            continue
        for frame in frames:
            moved = not known and stream.codec_context.has_b_frames
            ticks = frame.dts if frame.pts is None else frame.pts + moved * late.get(frame.pts, 0)
            stamp = None if ticks is None or frame.time_base is None else float(ticks * frame.time_base)
            yield stamp, moved, frame


def _packets(
    container: "av.container.InputContainer", stream: "av.VideoStream", lost: dict[str, int]
) -> Iterator["av.Packet"]:
    """Yield the packets of a stream as far as the file can be read."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            count(lost, "end of the file not readable")
            return
        if packet is None:
            return
        yield packet


class _Turns:
    """How frames come upright, looked up where their angle changes.

    To ask a frame for its matrix puts it into a circle of references: hundreds of frames would wait for Python to clear
    these up.
    """

    def __init__(self, notes: list[str] | None) -> None:
        self._notes, self._angle, self._orientation = notes, None, AS_STORED

    def of(self, frame: "av.VideoFrame") -> Orientation:
        if frame.rotation != self._angle:
            self._angle, matrix = frame.rotation, frame.side_data.get("DISPLAYMATRIX")
            self._orientation, exact = (AS_STORED, True) if matrix is None else from_matrix(bytes(matrix))
            if not exact:
                note(self._notes, "the file asks to be turned by no quarter of a circle: turned by the nearest")
        return self._orientation


def _upright(frame: "av.VideoFrame", aspect: float, orientation: Orientation) -> tuple[np.ndarray, Orientation]:
    width = frame.width if aspect == 1.0 else max(1, round(frame.width * aspect))
    deep = any(component.bits > 8 for component in frame.format.components)
    rgb_HWC = (
        _filtered(frame, width) if deep or frame.interlaced_frame else frame.to_ndarray(format="rgb24", width=width)
    )
    return (rgb_HWC if orientation == AS_STORED else orientation.upright(rgb_HWC)), orientation


def _filtered(frame: "av.VideoFrame", width: int) -> np.ndarray:
    """Return colours of a frame by FFmpeg's filters, which know where those of fields and of deep frames lie."""
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    scale, colours = graph.add("scale", f"{width}:{frame.height}"), graph.add("format", "rgb24")
    graph.link_nodes(source, scale, colours, graph.add("buffersink")).configure()
    graph.push(frame)
    found: Any = graph.pull()
    return np.asarray(found.to_ndarray())


def _open(path: Path) -> "av.container.InputContainer":
    import av

    reason: object = describe(path)
    try:
        # A text is refused before FFmpeg sees it: some texts are play lists that make it open other files. With "file:"
        # before it, no name is taken for an address.
        container = av.open(f"file:{path}", metadata_errors="replace") if reason is None else None
    except (av.FFmpegError, OSError, ValueError) as error:
        container, reason = None, f"what FFmpeg calls '{getattr(error, 'strerror', None) or error}'"
    if container is not None and not _moving(container):
        kinds = sorted({"cover picture" if stream.type == "video" else stream.type for stream in container.streams})
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
