"""How a person's own tables count the frames of videos, and whether they are of these videos."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.options import Options
from au_dist.corpora.own_recordings import OwnRecording, Who
from au_dist.corpora.recordings import TOLERANCE
from au_dist.corpora.timed import OVER_S


@dataclass(frozen=True)
class Counting:
    """How the frames of videos are counted.

    Attributes:
        first: Number of the first frame.
        why: How that is known; empty where no video has frame numbers.
    """

    first: int = 0
    why: str = ""


def counted(recordings: Iterable[OwnRecording], options: Options) -> Counting:
    """Return how the frames of videos are counted.

    Raises:
        IngestError: The numbers do not tell.
    """
    numbered = [some for some in recordings if some.numbered]
    if not numbered:
        return Counting()
    if options.counted != "seen":
        return Counting(int(options.counted == "from_one"), "as --counted says")
    least, from_zero, to_count = [], [], []
    for recording in numbered:
        number_R = recording.frames()
        least.append(float(np.nanmin(number_R, initial=np.inf)))
        if least[-1] == 0:
            from_zero.append(recording.entry.name)
        if float(np.nanmax(number_R, initial=0)) == recording.promised[0]:
            to_count.append(recording.entry.name)
    if from_zero and not to_count:
        return Counting(0, "there is a frame 0")
    if to_count and not from_zero:
        return Counting(1, "there is no frame 0, and the last number is how many frames there are")
    if set(least) == {1.0}:
        return Counting(1, "every video begins with 1")
    if from_zero and to_count:
        raise IngestError(
            "The frames of some videos are counted from 0, and of others from 1",
            where=f"{numbered[0].table.below.where}, column {numbered[0].table.columns.name('frame')}",
            expected="one way of counting for all",
            found=f"a frame 0 in {first_few(from_zero)}; a last number that is the number of frames in "
            f"{first_few(to_count)}",
            fix="Number them alike. Where the videos are not whole, --counted from_zero or from_one says how they are.",
        )
    raise IngestError(
        "It cannot be told whether frames are counted from 0 or from 1",
        where=f"{numbered[0].table.below.where}, column {numbered[0].table.columns.name('frame')}",
        expected="a frame 0 somewhere, or 1 as the first of every video",
        found=f"videos that begin with {min(least):g} to {max(least):g}, and end before their last frame",
        fix="Say --counted from_zero (as OpenCV and FFmpeg count) or --counted from_one (as most coders do).",
    )


def beyond(recordings: Mapping[Who, OwnRecording], first: int) -> Iterator[str]:
    """Name the videos whose labels go on after the end that they promise."""
    for who, recording in recordings.items():
        frames, seconds = recording.promised if recording.filmed else (None, None)
        columns = recording.table.columns
        if recording.numbered:
            last = float(np.nanmax(recording.frames(), initial=0))
            if frames and last - first + 1 > frames + TOLERANCE:
                yield f"{who.place} (frame {last:.0f} of {frames})"
        elif seconds:
            # Of intervals, only rows that name an action unit have been looked at: others may hold anything.
            ends = [span.offset for row in recording.numbers for span in recording.table.spans.get(row, ())]
            timed = "time" in columns.roles and not columns.intervals
            last = max(recording.times() if timed else ends, default=0.0)
            if last > seconds + OVER_S:
                yield f"{who.place} ({last:.1f} s of {seconds:.1f})"
