"""What is published of the corpora: label statistics, subjects, coded frames and segments, frames to leave out.

The sources stand in the files below ``assets/``.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"

#: Rates, durations and co-occurrence of action units by corpus.
STATISTICS = ASSETS / "au_stats.json"


@dataclass(frozen=True)
class Published:
    """What is published of a corpus.

    Attributes:
        statistics: Its key in the label statistics; None where there are none.
        subjects: How many it has.
        coded_frames: Frames of which all its action units are coded.
    """

    statistics: str | None
    subjects: int
    coded_frames: int


PUBLISHED = {
    "bp4d": Published("BP4D", 41, 146_847),
    "disfa": Published("DISFA_ge2_12au", 27, 130_814),
    "bp4d+": Published(None, 140, 197_756),
}


@cache
def _asset(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ASSETS / name).read_text("utf-8"))
    return content


def label_statistics(key: str) -> dict[str, Any]:
    """Return the published label statistics of a corpus; read only."""
    statistics: dict[str, Any] = _asset(STATISTICS.name)[key]
    return statistics


def bad_frames(corpus: str, which: str) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return recording → ranges of frames that a published list leaves out."""
    lists = _asset("bad_frames.json").get(corpus, {}).get(which, {})
    return {name: tuple((first, last) for first, last in ranges) for name, ranges in lists.items()}


def published_segments(corpus: str) -> dict[str, tuple[int, int, int]]:
    """Return recording → first coded frame, last, and how many, as published."""
    return {name: tuple(numbers) for name, numbers in _asset("coded_segments.json").get(corpus, {}).items()}
