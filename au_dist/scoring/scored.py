"""What a detector said about a video: who is the main face, and the table in OpenFace's columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from au_dist.core.schema import au_name

#: `face_id` of the row of a frame without a face, where several faces are written.
NOBODY = -1


@dataclass(frozen=True, eq=False)
class ScoredVideo:
    """Scores of every face that was seen; T frames were looked at, N faces seen in them, A action units.

    Attributes:
        number_T: Frame numbers from 0, int64.
        time_T: Seconds from the first frame, float64.
        at_N: Index in T of the frame that a face was seen in, int64, rising.
        track_N: Its track, int64.
        confidence_N: Of the detector, float32.
        area_N: Area of its box in pixels, float32.
        score_NA: Probabilities or intensities, float32.
    """

    number_T: np.ndarray
    time_T: np.ndarray
    at_N: np.ndarray
    track_N: np.ndarray
    confidence_N: np.ndarray
    area_N: np.ndarray
    score_NA: np.ndarray

    def of_tracks(self, tracks: Sequence[int]) -> np.ndarray:
        """Return for each frame the index in N of the face that belongs to some tracks, -1 without one; int64 [T].

        Where several of the tracks are in one frame, the first of them in `tracks` counts.
        """
        chosen_T = np.full(len(self.number_T), -1, np.int64)
        for track in reversed(tracks):
            (index_M,) = np.nonzero(self.track_N == track)
            chosen_T[self.at_N[index_M]] = index_M
        return chosen_T

    def score_of(self, chosen_T: np.ndarray) -> np.ndarray:
        """Return the scores of chosen faces, float32 [T, A], NaN in frames without one."""
        padded = np.concatenate([self.score_NA, np.full((1, self.score_NA.shape[1]), np.nan, np.float32)])
        return padded[chosen_T]


def by_share(video: ScoredVideo) -> list[int]:
    """Return the tracks by area times duration (the area of the box, summed over frames), the largest first."""
    tracks, inverse = np.unique(video.track_N, return_inverse=True)
    share = np.bincount(inverse, weights=video.area_N, minlength=len(tracks))
    return [int(track) for track in tracks[np.argsort(-share, kind="stable")]]


def main_tracks(video: ScoredVideo) -> list[int]:
    """Return the tracks that are the main face, the largest first.

    The track with the largest share (see `by_share`) is the main face. A track ends when its face is lost or the scene
    changes, so other tracks may be the same person: in order of their share, each is taken too unless it overlaps in
    time with one already taken, for two faces seen together are two people.
    """
    taken: list[int] = []
    spans: list[tuple[int, int]] = []
    for track in by_share(video):
        frames = video.at_N[video.track_N == track]
        first, last = int(frames.min()), int(frames.max())
        if all(last < start or end < first for start, end in spans):
            taken.append(track)
            spans.append((first, last))
    return taken


def header(aus: Sequence[int], several: bool, intensities: bool = False) -> str:
    """Return the first line of the table; OpenFace puts a space behind each comma there, and only there.

    Presence is in columns ``_c``, its probability in ``_p``, intensity in ``_r``.
    """
    names = ["frame", *(["face_id"] if several else []), "timestamp", "confidence", "success"]
    kinds = "r" if intensities else "cp"
    return ", ".join([*names, *(f"{au_name(au)}_{kind}" for kind in kinds for au in aus)]) + "\n"


def lines(video: ScoredVideo, threshold_A: np.ndarray, *, several: bool) -> Iterator[str]:
    """Yield the table's lines after the header.

    Args:
        video: The scores.
        threshold_A: Presence is a score of at least this; empty where scores are intensities.
        several: Whether every face has its own line (a frame without a face has one of `NOBODY`), or each frame has
            one line, of the main face.
    """
    if several:
        begins = np.searchsorted(video.at_N, np.arange(len(video.number_T) + 1))
        rows = ((t, list(range(begins[t], begins[t + 1])) or [-1]) for t in range(len(video.number_T)))
    else:
        rows = ((t, [int(index)]) for t, index in enumerate(video.of_tracks(main_tracks(video))))
    nothing = ["0"] * (video.score_NA.shape[1] + len(threshold_A))
    for t, indices in rows:
        when = _short(float(video.time_T[t]))
        for index in indices:
            values, confidence, who = nothing, "0", NOBODY
            if index >= 0:
                score_A = video.score_NA[index]
                calls = [str(int(call)) for call in score_A >= threshold_A] if len(threshold_A) else []
                values = calls + [f"{score:.6f}" for score in score_A]
                confidence, who = _short(float(video.confidence_N[index])), int(video.track_N[index])
            face = [str(who)] if several else []
            yield ",".join([str(video.number_T[t] + 1), *face, when, confidence, str(int(index >= 0)), *values]) + "\n"


def _short(number: float) -> str:
    """Six decimals at most, without zeros at the end: as OpenFace writes."""
    return f"{number:.6f}".rstrip("0").rstrip(".")
