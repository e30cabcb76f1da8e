"""Pictures of a set that should not be there: the same picture twice, and blank ones."""

import hashlib
from collections import Counter

import numpy as np
import simplejpeg

from au_dist.core.schema import Clip

#: A crop is blank when its grey levels spread by less than this, and black when they are below this on average.
BLANK_SPREAD, BLACK_LEVEL = 4.0, 12.0

#: Examples that are named.
MOST_NAMED = 3


class FrameCheck:
    """Looks at the pictures clip by clip; some 120 bytes a picture are kept."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}
        self.videos: list[tuple[str, str]] = []
        self.shared: Counter[tuple[str, str]] = Counter()
        self.repeated = self.again = self.frames = 0
        self.blank: list[str] = []
        self.blanks = 0

    def add(self, clip: Clip) -> None:
        """Look at the pictures of a clip."""
        video = (clip.subject, clip.video)
        if not self.videos or self.videos[-1] != video:
            self.videos.append(video)
        here = len(self.videos) - 1
        for index, jpeg in enumerate(clip.jpeg_T):
            self.frames += 1
            if _is_blank(jpeg):
                self.blanks += 1
                if len(self.blank) < MOST_NAMED:
                    self.blank.append(f"{clip.clip_id} frame {index}")
                continue
            first = self.seen.setdefault(hashlib.blake2b(jpeg, digest_size=8).digest(), here)
            subject, name = self.videos[first]
            if subject != clip.subject and "#" in subject and "#" in clip.subject:
                self.again += 1  # tracks that nobody gave a name: they may be one person
            elif subject != clip.subject:
                self.shared[subject, clip.subject] += 1
            elif name != clip.video:
                self.again += 1

    def faults(self) -> list[str]:
        """Return what must not be, a sentence each: two subjects that share pictures are one person, or one video."""
        named = [f"{one} and {other} ({times})" for (one, other), times in self.shared.most_common(MOST_NAMED)]
        more = f" and {len(self.shared) - MOST_NAMED} more pairs" if len(self.shared) > MOST_NAMED else ""
        if not named:
            return []
        return [
            f"The same pictures are in clips of two subjects, so a split does not part them: {', '.join(named)}{more}."
        ]

    def warnings(self) -> list[str]:
        """Return what is strange, a sentence each."""
        sentences = []
        if self.blanks:
            sentences.append(f"{self.blanks} of {self.frames} crops are black or blank: {', '.join(self.blank)}.")
        if self.again:
            sentences.append(f"{self.again} pictures are in two videos of one subject, or in two tracks.")
        return sentences


def _is_blank(jpeg: bytes) -> bool:
    try:
        grey = simplejpeg.decode_jpeg(jpeg, colorspace="GRAY", min_height=14, min_width=14)
    except ValueError:
        return False
    return float(np.std(grey)) < BLANK_SPREAD or float(np.mean(grey)) < BLACK_LEVEL
