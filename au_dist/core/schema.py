"""Values that every room may know: clips, crop recipes, action-unit names."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

#: Shape legend: B clips (images, where there is no T), T frames, C H W pixels, N candidates, D embedding,
#: A action units.


def au_name(au: int) -> str:
    """Return the column name of an action unit: ``AU01``, ``AU12``."""
    return f"AU{au:02d}"


def au_names(aus: Iterable[int]) -> list[str]:
    """Return the column names of several action units."""
    return [au_name(au) for au in aus]


#: Fields of a crop recipe that say how a face was found, not how it was cut out.
FINDING = ("detector", "detect_side", "half_window", "max_gap")


@dataclass(frozen=True)
class CropRecipe:
    """How a face became a crop. Two crops are comparable only when their recipes are equal.

    How the face was found belongs to it: the points of a detector move with the size at which it looks at a frame. What
    is None there is not known (synthetic faces, crops made elsewhere, several ways in one set), or says nothing of the
    crops, as the side does where landmarks were read from a file.

    Attributes:
        size: Side of the square crop in pixels.
        alignment: ``eyes`` (similarity transform that puts both eye centres at fixed places) or ``none``
            (the frames are crops already and are only resized).
        eye_y: Height of the eye line, as a share of ``size`` from the top.
        eye_distance: Distance between the eye centres, as a share of ``size``.
        jpeg_quality: Quality of the stored JPEG frames, 1 to 100.
        version: Version of the cropping code; changed when the same numbers give other pixels.
        detector: What found the face; of one's own the file's name without its folder.
        detect_side: Longest side in pixels at which it looked at the frame.
        half_window: Its points were averaged over this many frames on either side.
        max_gap: It was followed over gaps of at most this many frames.
    """

    size: int = 112
    alignment: Literal["eyes", "none"] = "eyes"
    eye_y: float = 0.40
    eye_distance: float = 0.38
    jpeg_quality: int = 92
    version: int = 1
    detector: str | None = None
    detect_side: int | None = None
    half_window: int | None = None
    max_gap: int | None = None

    def known(self) -> dict[str, Any]:
        """Return the fields that are known, as manifests and checkpoints keep them."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def hash(self) -> str:
        """Return 12 hexadecimal digits that identify this recipe; what is not known does not count."""
        return hashlib.sha256(json.dumps(self.known(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def cut(self) -> "CropRecipe":
        """How the face was cut out, whatever found it."""
        return replace(self, detector=None, detect_side=None, half_window=None, max_gap=None)

    @property
    def finding(self) -> dict[str, Any]:
        """How the face was found: what is known of it."""
        return {name: value for name, value in self.known().items() if name in FINDING}


def finding(detector: str, detect_side: int, half_window: int, max_gap: int) -> dict[str, Any]:
    """Return the fields of a crop recipe that say how a face was found; none where it was not looked for."""
    if detector == "none":
        return {}
    file, colon, function = detector.rpartition(":")
    # Folders differ from machine to machine.
    name = f"{PurePath(file).name}:{function}" if colon else detector
    side = {} if detector == "landmarks" else {"detect_side": detect_side}
    return {"detector": name, **side, "half_window": half_window, "max_gap": max_gap}


@dataclass(frozen=True, eq=False)
class Clip:
    """T consecutive face crops of one subject, encoded, with what is known about them.

    Attributes:
        corpus: The data set the clip comes from, e.g. ``bp4d``.
        subject: The subject, prefixed by its corpus, e.g. ``bp4d/F001``. Never empty.
        video: The video or sequence, unique within the corpus.
        number_T: Frame numbers in the video as its corpus counts them; int64, strictly increasing.
        time_T: Time of each frame in seconds from the start of the video; float64, strictly increasing.
        jpeg_T: The crops as JPEG bytes.
        y_TA: Occurrence, int8 in {0, 1}; 0 where not valid.
        valid_TA: Whether ``y_TA`` is known; bool.
        intensity_TA: Intensity 0 to 5, float32; NaN where unknown.
        confidence_T: Confidence of the face detector, 0 to 1, float32.
    """

    corpus: str
    subject: str
    video: str
    number_T: np.ndarray
    time_T: np.ndarray
    jpeg_T: tuple[bytes, ...]
    y_TA: np.ndarray
    valid_TA: np.ndarray
    intensity_TA: np.ndarray
    confidence_T: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def clip_id(self) -> str:
        """The name of the clip: subject, video and first frame number."""
        return f"{self.subject}/{self.video}/{int(self.number_T[0]):06d}"

    def faults(self, num_aus: int) -> list[str]:
        """Return what is wrong with the clip, one phrase each; empty when nothing is.

        Args:
            num_aus: The number of action units, A.
        """
        frames = len(self.jpeg_T)
        shapes = {
            "number_T": (self.number_T.shape, (frames,)),
            "time_T": (self.time_T.shape, (frames,)),
            "confidence_T": (self.confidence_T.shape, (frames,)),
            "y_TA": (self.y_TA.shape, (frames, num_aus)),
            "valid_TA": (self.valid_TA.shape, (frames, num_aus)),
            "intensity_TA": (self.intensity_TA.shape, (frames, num_aus)),
        }
        faults = [f"{name} has shape {have}, not {want}" for name, (have, want) in shapes.items() if have != want]
        if not frames:
            faults.append("no frames")
        if not self.subject:
            faults.append("no subject")
        if faults:
            return faults
        if np.any(np.diff(self.time_T) <= 0) or np.any(np.diff(self.number_T) <= 0):
            faults.append("times or frame numbers do not increase")
        if not np.isin(self.y_TA, (0, 1)).all() or np.any(self.y_TA[~self.valid_TA]):
            faults.append("labels are not 0 or 1, or not 0 where the mask says unknown")
        return faults
