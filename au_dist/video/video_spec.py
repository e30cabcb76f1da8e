"""What a person may say about taking in a video, and what the video ingest says back."""

from dataclasses import dataclass, field
from pathlib import Path

from au_dist.core.errors import RecipeError


@dataclass(frozen=True)
class VideoSpec:
    """How faces are found in a video and cut into clips.

    Attributes:
        detector: ``centerface``, ``landmarks``, ``none``, or ``FILE.py:function``; see docs/ingest_video.md.
        clip_frames: Frames per clip, T. Clips of a track follow each other without overlap.
        stride: Every how manieth frame is looked at; 2 makes 15 frames per second of 30.
        max_faces: At most this many faces at a time, the larger ones first; 0 for all.
        min_face: Faces whose box has a longer side below this many pixels are left out.
        min_confidence: Faces below this confidence are left out.
        min_light: Faces of which not even the brightest twentieth reaches this level, of 255, are left out; 0 for none.
        landmarks: For the detector ``landmarks``: a CSV file, or a folder with ``<video stem>.csv``.
        detect_side: Longest side in pixels at which the network looks at a frame.
        max_gap: Longest gap, in looked-at frames, that a track is interpolated over.
        half_window: Landmarks are averaged over this many frames on either side; 0 for not at all.
        threads: Processor threads for decoding and for detecting.
        cropped: Whether the frames are face crops already, taken as they are, or whether faces are cut out again also
            where they fill square frames. Not said when None: such frames are then refused, or noted.
    """

    detector: str = "centerface"
    clip_frames: int = 16
    stride: int = 1
    max_faces: int = 0
    min_face: int = 32
    min_confidence: float = 0.5
    min_light: int = 12
    landmarks: Path | None = None
    detect_side: int = 640
    max_gap: int = 5
    half_window: int = 1
    threads: int = 1
    cropped: bool | None = None

    def __post_init__(self) -> None:
        if self.cropped is not None and self.cropped != (self.detector == "none"):
            raise RecipeError(
                "The face detector does not fit what the frames are said to be",
                where="--already-cropped" if self.cropped else "--crop-again",
                expected="no detector but 'none'" if self.cropped else "a detector",
                found=f"detector {self.detector}",
                fix="Leave one of the two away.",
            )
        least = {
            "clip_frames": 1,
            "stride": 1,
            "max_faces": 0,
            "min_face": 0,
            "detect_side": 32,
            "max_gap": 0,
            "min_light": 0,
        }
        for name, low in (least | {"half_window": 0, "threads": 1}).items():
            if getattr(self, name) < low:
                raise RecipeError(
                    "An option of the video ingest is out of range",
                    where=name,
                    expected=f"a whole number of at least {low}",
                    found=getattr(self, name),
                )
        if not 0 < self.min_confidence <= 1:
            raise RecipeError(
                "An option of the video ingest is out of range",
                where="min_confidence",
                expected="above 0 and at most 1",
                found=self.min_confidence,
            )


@dataclass
class VideoReport:
    """What became of one video.

    Attributes:
        path: The file.
        name: The video's name in the corpus.
        frames: Frames that were decoded and used, each at its own time.
        header_frames: Frames that the header promises; None where it does not say.
        frames_examined: Frames in which faces were looked for: ``frames`` / stride.
        frames_with_face: Examined frames in which the detector saw at least one face that counts.
        faces: Faces in them.
        filled: Face places that were interpolated over gaps.
        tracks: Tracks that were followed, also those too short for a clip.
        clips: Clips that came out.
        dropped: Reason → how many frames, packets, faces or crops were left out; the reason says which.
        seconds: Stage (decode, detect, crop, encode) → seconds of wall clock.
        duration: Time of the last frame in seconds.
        labelled: Frames of which the label files say something.
        clip_frames: Frames in clips.
        clip_labelled: Those of them of which a label is known.
        square_share: Side of the face as a share of square frames, on the median of the first; None in other frames.
        notes: What a person should know.
        error: Why the video was set aside; None where it was not.
    """

    path: Path
    name: str = ""
    frames: int = 0
    header_frames: int | None = None
    frames_examined: int = 0
    frames_with_face: int = 0
    faces: int = 0
    filled: int = 0
    tracks: int = 0
    clips: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "detect", "crop", "encode"), 0.0)
    )
    duration: float = 0.0
    labelled: int = 0
    clip_frames: int = 0
    clip_labelled: int = 0
    square_share: float | None = None
    notes: list[str] = field(default_factory=list)
    error: str | None = None
