"""Times that strictly increase, out of the time stamps of decoded frames, which need not. No frame is left out."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from statistics import median_low
from typing import TypeVar

T = TypeVar("T")

#: The furthest that a codec moves a frame (H.264, HEVC).
MOST_MOVED = 16

#: Seconds that one frame is at least after the other.
LEAST_STEP = 1e-5

#: A frame whose stamp is not after the one before waits for one that is, with at most this many others; with more, the
#: clock has started again (recordings put end to end) or has stopped.
MOST_WAITING = 8


@dataclass
class TimeCounts:
    """How many frames did not simply have their own time stamp.

    Attributes:
        sorted: Frames with stamps in the order of decoding.
        made_up: Frames without a stamp, or with one that is not after the frame before.
    """

    sorted: int = 0
    made_up: int = 0


def in_order(stamped: Iterable[tuple[float | None, bool, T]], counts: TimeCounts) -> Iterator[tuple[float | None, T]]:
    """Give frames whose stamps may be in the order of decoding those of the order of showing.

    AVI and ASF know no time of showing: there, a frame that a codec moves keeps the stamp of its place in the file. As
    the stamps are right but for their order, each frame gets the smallest of the next few.

    Args:
        stamped: Per frame, in the order of showing: its stamp, whether stamps may be in the order of decoding, itself.
        counts: Filled in place.
    """
    held: deque[tuple[float, T]] = deque()
    stamps: list[float] = []

    def first() -> tuple[float | None, T]:
        own, frame = held.popleft()
        stamp = heappop(stamps)
        counts.sorted += stamp != own
        return stamp, frame

    for stamp, moved, frame in stamped:
        if stamp is None or not moved:
            while held:
                yield first()
            yield stamp, frame
            continue
        held.append((stamp, frame))
        heappush(stamps, stamp)
        if len(held) > MOST_MOVED:
            yield first()
    while held:
        yield first()


def rising(stamped: Iterable[tuple[float | None, T]], step: float, counts: TimeCounts) -> Iterator[tuple[float, T]]:
    """Give every frame a time in seconds from the first, each after the one before.

    Frames without a stamp, or with one that is not after the frame before, are spread evenly up to the next frame that
    has one. Where none comes, a clock that starts again goes on where it was.

    Args:
        stamped: Per frame, its stamp in seconds and itself.
        step: Seconds between frames until stamps tell.
        counts: Filled in place.
    """
    waiting: deque[tuple[float | None, T]] = deque()
    gaps = deque([step], maxlen=9)
    last: float | None = None
    offset = 0.0

    def go_on() -> Iterator[tuple[float, T]]:
        """Let the first that waits go a step on, and those after it that follow from there."""
        nonlocal last, offset
        stamp, frame = waiting.popleft()
        last = (last or 0.0) + median_low(gaps)
        offset = offset if stamp is None else last - stamp
        counts.made_up += 1
        yield last, frame
        while waiting and waiting[0][0] is not None and waiting[0][0] + offset > last + LEAST_STEP:
            stamp, frame = waiting.popleft()
            last = (stamp or 0.0) + offset
            yield last, frame

    for stamp, frame in stamped:
        if last is None:
            last, offset = 0.0, -(stamp or 0.0)
            counts.made_up += stamp is None
            yield last, frame
            continue
        time = None if stamp is None else stamp + offset
        if time is None or time - last < LEAST_STEP * (len(waiting) + 1):
            waiting.append((stamp, frame))
            if len(waiting) > MOST_WAITING:
                yield from go_on()
            continue
        gap = (time - last) / (len(waiting) + 1)
        counts.made_up += len(waiting)
        for place, (_, late) in enumerate(waiting, 1):
            yield last + gap * place, late
        waiting.clear()
        gaps.append(gap)
        last = time
        yield time, frame
    while waiting:
        yield from go_on()
