"""Labels that tell times, not frame numbers: they find their frames when the times of the frames are known."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.corpora.label_files import LabelTable

#: Labels may go on for this many seconds after the last frame: what coders note by hand, and clocks that differ.
OVER_S = 1.0

#: Coders' programs write milliseconds: a time may stand this much later than that of its frame.
ROUNDED_S = 0.0006


class Timed(Protocol):
    """Labels by time."""

    def digest(self) -> str:
        """Return hexadecimal digits that identify the content."""
        ...

    def at(self, number_T: np.ndarray, time_T: np.ndarray, where: str) -> tuple[LabelTable, tuple[str, ...]]:
        """Return the labels of frames, and what a person should know.

        Args:
            number_T: Frame numbers, int64, increasing.
            time_T: Seconds from the first frame, increasing.
            where: The recording, for a person.

        Raises:
            IngestError: The labels go on after the recording has ended: they are of another one.
        """
        ...


@dataclass(frozen=True)
class Moments:
    """Labels at moments: each is of the frame that is nearest, and of no other.

    Attributes:
        time_R: Seconds from the first frame, float64.
        occurrence: Action unit → int8 [R] in {0, 1, UNKNOWN}.
        intensity: Action unit → float32 [R], NaN where unknown.
    """

    time_R: np.ndarray
    occurrence: Mapping[int, np.ndarray]
    intensity: Mapping[int, np.ndarray]

    def digest(self) -> str:
        """Return hexadecimal digits that identify the content."""
        place_R = np.arange(len(self.time_R))
        known = LabelTable(place_R, self.occurrence, self.intensity).digest()
        return hashlib.sha256(self.time_R.tobytes() + known.encode()).hexdigest()

    def at(self, number_T: np.ndarray, time_T: np.ndarray, where: str) -> tuple[LabelTable, tuple[str, ...]]:
        """Return the labels of frames; see `Timed`. Of several moments nearest to one frame the nearest counts."""
        _check_end(float(self.time_R.max()), time_T, where)
        right_R = np.searchsorted(time_T, self.time_R).clip(1, max(1, len(time_T) - 1))
        left_R = right_R - 1
        right_R = right_R.clip(max=len(time_T) - 1)
        nearer_R = np.abs(time_T[right_R] - self.time_R) < np.abs(time_T[left_R] - self.time_R)
        frame_R = np.where(nearer_R, right_R, left_R)
        away_R = np.abs(time_T[frame_R] - self.time_R)
        # Of each frame the nearest moment, the first of equals.
        order_R = np.lexsort((np.arange(len(frame_R)), away_R, frame_R))
        frame_L, first_L = np.unique(frame_R[order_R], return_index=True)
        chosen_L = order_R[first_L]
        # Half a frame step, and as much again for times that were rounded.
        near_L = away_R[chosen_L] <= (float(np.median(np.diff(time_T))) if len(time_T) > 1 else OVER_S)
        frame_L, chosen_L = frame_L[near_L], chosen_L[near_L]
        left = len(self.time_R) - len(chosen_L)
        notes = (f"{left} labels have no frame of their own nearest to their time and were left out",) if left else ()
        table = LabelTable(
            number_T[frame_L],
            {au: code_R[chosen_L] for au, code_R in self.occurrence.items()},
            {au: level_R[chosen_L] for au, level_R in self.intensity.items()},
        )
        return table, notes


@dataclass(frozen=True)
class Span:
    """An action unit that is there from one time to another.

    Attributes:
        au: Its number.
        onset: Seconds from the first frame.
        offset: Seconds from the first frame, later than the onset.
        level: Intensity, 1 to 5; None where nobody says.
    """

    au: int
    onset: float
    offset: float
    level: float | None = None


@dataclass(frozen=True)
class Intervals:
    """Intervals in which action units occur; elsewhere in the recording they do not.

    Attributes:
        spans: The intervals.
        aus: The action units that were coded.
    """

    spans: tuple[Span, ...]
    aus: tuple[int, ...]

    def digest(self) -> str:
        """Return hexadecimal digits that identify the content."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def at(self, number_T: np.ndarray, time_T: np.ndarray, where: str) -> tuple[LabelTable, tuple[str, ...]]:
        """Return the labels of frames; see `Timed`. A frame is in an interval that has begun and not yet ended."""
        _check_end(max((span.offset for span in self.spans), default=0.0), time_T, where)
        occurrence = {au: np.zeros(len(time_T), np.int8) for au in self.aus}
        levelled = {span.au for span in self.spans if span.level is not None}
        intensity = {au: np.zeros(len(time_T), np.float32) for au in levelled}
        short = 0
        for span in self.spans:
            within_T = (time_T + ROUNDED_S >= span.onset) & (time_T + ROUNDED_S < span.offset)
            short += not within_T.any()
            occurrence[span.au][within_T] = 1
            if span.au in levelled:
                level_T = intensity[span.au]
                level_T[within_T] = np.nan if span.level is None else np.fmax(level_T[within_T], span.level)
        notes = (f"{short} intervals are so short that no frame is in them",) if short else ()
        return LabelTable(number_T, occurrence, intensity), notes


def _check_end(last: float, time_T: np.ndarray, where: str) -> None:
    if last > float(time_T[-1]) + OVER_S:
        raise IngestError(
            "The labels go on after the recording has ended",
            where=where,
            expected=f"times up to {time_T[-1]:.2f} s, that of the last frame",
            found=f"{last:.2f} s",
            fix="Check that the labels are of this recording, and that their times are seconds.",
        )
