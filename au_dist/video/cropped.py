"""Frames that are face crops already: how they are told from frames in which faces have to be found."""

from pathlib import Path
from statistics import median

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.video.faces import Detector, Face, open_detector, whole_frame
from au_dist.video.video import Frame
from au_dist.video.video_spec import VideoReport, VideoSpec

#: Square pictures whose face is wider than this share of them, on the median of so many, are crops already.
CROPPED_SHARE, CROPPED_LOOKS = 0.5, 25

#: Faces that fill the frame are seen at this side as well as at any.
LOOK_SIDE = 320


def already_cropped(share: float) -> IngestError:
    """Return the error for pictures that may be face crops already: aligning those again would zoom in."""
    return IngestError(
        "These pictures are face crops already",
        found=f"square pictures, filled to {share:.0%} by the face",
        fix="Take them as they are with --already-cropped (as --detector none does), or, where they are square videos, "
        "find and cut out the faces anew with --crop-again.",
    )


def filled_by_faces(detect: Detector, report: VideoReport, *, refuse: bool) -> Detector:
    """Return a detector that notes how much of square frames a face fills, in the first of them.

    Args:
        detect: The detector.
        report: Its ``square_share`` is kept.
        refuse: Whether pictures that are crops already are an error once enough of them were seen.
    """
    shares: list[float] = []

    def watched(frame: Frame) -> list[Face]:
        faces = detect(frame)
        height, width = frame.rgb_HWC.shape[:2]
        if len(shares) < CROPPED_LOOKS and faces and height == width:
            shares.append(max(face.side for face in faces) / width)
            report.square_share = median(shares)
            if refuse and len(shares) == CROPPED_LOOKS and report.square_share > CROPPED_SHARE:
                raise already_cropped(report.square_share)
        return faces

    return watched


class CropsOnly:
    """A detector for frames that should be face crops: those that a face fills are taken whole, others say nothing.

    Attributes:
        path: The video.
        share_L: How much of each frame looked at a face fills; 0 without one.
    """

    def __init__(self, path: Path, spec: VideoSpec) -> None:
        self.path = path
        self.share_L: list[float] = []
        self.detect = open_detector(
            "centerface", min_confidence=spec.min_confidence, detect_side=LOOK_SIDE, threads=spec.threads
        )

    def __call__(self, frame: Frame) -> list[Face]:
        """Return the whole frame as a face where a face fills it.

        Raises:
            IngestError: The frame is not square, or the first frames show that these are no crops.
        """
        height, width = frame.rgb_HWC.shape[:2]
        if height != width:
            raise self._refusal(f"frames of {width} x {height}")
        best = max(self.detect(frame), key=lambda face: face.side, default=None)
        self.share_L.append(best.side / width if best else 0.0)
        if len(self.share_L) == CROPPED_LOOKS:
            self.check()
        if best is None or self.share_L[-1] <= CROPPED_SHARE:
            return []
        (whole,) = whole_frame(frame)
        return [Face(whole.box_4, whole.landmarks_52, best.confidence)]

    def check(self) -> None:
        """Refuse what is not crops.

        Raises:
            IngestError: In most of the first frames no face fills the frame.
        """
        first = self.share_L[:CROPPED_LOOKS]
        filled = int(np.sum(np.array(first) > CROPPED_SHARE))
        if first and 2 * filled <= len(first):
            raise self._refusal(f"a face that fills the frame in {filled} of the first {len(first)}")

    def _refusal(self, found: str) -> IngestError:
        return IngestError(
            "This model learnt from ready-made face crops, and these frames are none",
            where=self.path,
            expected=f"square frames, filled to more than {CROPPED_SHARE:.0%} by a face",
            found=found,
            fix="Cut the faces out with the program that made the model's crops; where these are such crops, say "
            "so with --already-cropped.",
        )
