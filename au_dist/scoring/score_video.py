"""The faces of a video, found, cut out by the model's own recipe and scored, in one pass."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from au_dist.core.errors import CheckpointError, RecipeError
from au_dist.core.schema import FINDING, CropRecipe, finding
from au_dist.data.jpeg import decode
from au_dist.scoring.model import CHUNK, TrainedModel
from au_dist.scoring.scored import ScoredVideo
from au_dist.video.clips import TrackedCrop, detector_for, stream_crops
from au_dist.video.cropped import CropsOnly, filled_by_faces
from au_dist.video.crops import encode
from au_dist.video.faces import Detector, Face
from au_dist.video.video import Frame
from au_dist.video.video_spec import VideoReport, VideoSpec

#: At most twice this many frames give their faces to the picture.
THUMBNAIL_FRAMES = 64

#: Seconds between reports of progress.
SHOW_S = 2.0

Show = Callable[[dict[str, Any]], None]


def video_spec(model: TrainedModel, **options: Any) -> VideoSpec:
    """Return how faces are found for a model: as those were that it learnt from, but for what is asked for.

    Args:
        model: The model.
        **options: Fields of `VideoSpec`; None for those of which nothing is asked.

    Raises:
        RecipeError: An option is out of range or does not fit the model's crops, or the faces were found by what this
            machine cannot know.
        CheckpointError: The model's crops were made by another version of the cropping code.
    """
    crop = model.crop
    if crop.version != CropRecipe().version:
        raise CheckpointError(
            "The model was trained on crops of another version of the cropping code",
            where=model.uri,
            expected=f"version {CropRecipe().version}",
            found=f"version {crop.version}",
            fix="Ingest its corpus again and train anew, or use the version of au-dist that trained it.",
        )
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("cropped", crop.alignment == "none") != (crop.alignment == "none"):
        made, asked = ("found and cut out", "crops") if given["cropped"] else ("ready-made crops", "whole frames")
        raise RecipeError(
            f"The faces that the model learnt from were {made}, and these frames are said to be {asked}",
            where="--already-cropped" if given["cropped"] else "--crop-again",
            fix="Leave the option away, or take a model that learnt from such faces.",
        )
    spec = VideoSpec(**{"detector": "none", **given} if crop.alignment == "none" else {**crop.finding, **given})
    if "detector" not in given and (":" in spec.detector or (spec.detector == "landmarks" and not spec.landmarks)):
        raise RecipeError(
            "The faces that the model learnt from were found by what is not here",
            where=model.uri,
            found=f"detector {spec.detector}",
            fix="Give the landmarks of this video with --landmarks, or another --detector."
            if spec.detector == "landmarks"
            else "Give the detector with --detector, or have the faces found otherwise: --detector centerface.",
        )
    if spec.landmarks and spec.detector in ("centerface", "none"):
        raise RecipeError(
            "Landmarks are given and would not be looked at",
            where="--landmarks",
            found=f"detector {spec.detector}",
            fix="Add --detector landmarks, or leave them away.",
        )
    return spec


def finding_notes(model: TrainedModel, spec: VideoSpec) -> list[str]:
    """Say where faces are found otherwise than those that a model learnt from, a sentence each."""
    used = finding(spec.detector, spec.detect_side, spec.half_window, spec.max_gap)
    theirs = model.crop.finding
    if model.crop.alignment == "none" or used == theirs:
        return []
    if not theirs:
        how = ", ".join(f"{name} {value}" for name, value in used.items())
        return [f"the model does not say how the faces that it learnt from were found; here: {how}"]
    return [
        f"the faces that the model learnt from were found with {name} {theirs[name]}, these with {used[name]}"
        for name in FINDING
        if name in used and name in theirs and used[name] != theirs[name]
    ]


def score_video(
    model: TrainedModel, video: Path, spec: VideoSpec, *, report: VideoReport | None = None, show: Show | None = None
) -> tuple[ScoredVideo, list[tuple[int, TrackedCrop]]]:
    """Find, cut out and score the faces of a video in one pass.

    A crop goes through JPEG as the crops that were trained on did, so that a detector gives a video the same scores as
    its ingested clips. Memory holds a few frames, one chunk of crops, and some hundred bytes a face and frame.

    A model that reads clips reads each face's frames in runs as long as its clips, the second half of each again as the
    first of the next. Interpolated places are read too, because clips have them, and not scored. Where the face is
    lost, so is the memory of it.

    Args:
        model: The model.
        video: The file.
        spec: How faces are found.
        report: Filled in place.
        show: Is told about the progress.

    Returns:
        The scores, and faces of evenly spread frames with the index of their frame.

    Raises:
        IngestError: The video cannot be read, or its frames are not the crops that the model needs.
        RecipeError: Detector and the model's crops do not fit each other.
    """
    report = VideoReport(video) if report is None else report
    looked_at: list[tuple[int, float]] = []
    crops_only = CropsOnly(video, spec) if spec.detector == "none" and not spec.cropped else None
    detect = crops_only or filled_by_faces(detector_for(video, spec, report.notes), report, refuse=False)
    watch = _watching(detect, looked_at)
    faces: list[tuple[int, int, float, float]] = []
    scoring = _Scoring(model)
    thumbnails: list[tuple[int, TrackedCrop]] = []
    every, told = 1, monotonic()
    for index, crops in enumerate(stream_crops(video, spec, model.crop, report=report, detector=watch)):
        # Interpolated places have no score: nobody saw anything there.
        seen = [tracked for tracked in crops if tracked.success]
        for tracked in crops if model.clip_frames > 1 else seen:
            crop = decode(encode(tracked.crop_SSC, model.crop.jpeg_quality), f"{video} frame {tracked.number}")
            scoring.add(tracked.track, crop, tracked.success)
            if tracked.success:
                area = float(np.prod(tracked.box_4[2:] - tracked.box_4[:2]))
                faces.append((index, tracked.track, tracked.confidence, area))
        scoring.end_frame({tracked.track for tracked in crops})
        if index % every == 0:
            thumbnails += [(index, tracked) for tracked in seen]
            if len({at for at, _ in thumbnails}) > 2 * THUMBNAIL_FRAMES:
                every *= 2
                thumbnails = [(at, tracked) for at, tracked in thumbnails if at % every == 0]
        if show is not None and monotonic() - told > SHOW_S:
            told = monotonic()
            show({"frame": index + 1, "frames": report.header_frames, "time": looked_at[index][1], "faces": len(faces)})
    scoring.end_frame(set())
    if crops_only:
        crops_only.check()
    at, track, confidence, area_N = zip(*faces, strict=True) if faces else ((), (), (), ())
    scored = ScoredVideo(
        number_T=np.array([number for number, _ in looked_at], np.int64),
        time_T=np.array([time for _, time in looked_at], np.float64),
        at_N=np.array(at, np.int64),
        track_N=np.array(track, np.int64),
        confidence_N=np.array(confidence, np.float32),
        area_N=np.array(area_N, np.float32),
        score_NA=scoring.scores(),
    )
    return scored, thumbnails


class _Scoring:
    """Scores crops in the order they come, those of one face in runs of the model's clip length.

    A run begins with the second half of the one before, which is read again and not scored again: a memory that begins
    empty in the middle of a video would drop what it knew, and scores would fall at every border.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        # Crops with their index in `found`, None for those that have no score.
        self.runs: dict[int, list[tuple[int | None, np.ndarray]]] = {}
        self.waiting: list[tuple[int | None, np.ndarray]] = []
        self.found: list[np.ndarray] = []

    def add(self, track: int, crop_SSC: np.ndarray, scored: bool) -> None:
        """Take a face's next crop."""
        run = self.runs.setdefault(track, [])
        run.append((len(self.found) if scored else None, crop_SSC))
        if scored:
            self.found.append(np.zeros(len(self.model.aus), np.float32))
        if len(run) == self.model.clip_frames:
            self.waiting += run
            self.runs[track] = [(None, crop) for _, crop in run[len(run) - len(run) // 2 :]]
        if len(self.waiting) >= CHUNK:
            self._score(self.waiting, self.model.clip_frames)
            self.waiting.clear()

    def end_frame(self, tracks: set[int]) -> None:
        """End the runs of faces that are not among those of this frame."""
        for track in [track for track in self.runs if track not in tracks]:
            run = self.runs.pop(track)
            if any(index is not None for index, _ in run):
                self._score(run, len(run))

    def scores(self) -> np.ndarray:
        """Return the scores of all crops, in the order they came, float32 [N, A]."""
        if self.waiting:
            self._score(self.waiting, self.model.clip_frames)
            self.waiting.clear()
        return np.array(self.found, np.float32).reshape(-1, len(self.model.aus))

    def _score(self, crops: list[tuple[int | None, np.ndarray]], frames: int) -> None:
        rows = self.model.scores(np.stack([crop for _, crop in crops]), frames)
        for (index, _), row in zip(crops, rows, strict=True):
            if index is not None:
                self.found[index] = row


def _watching(detect: Detector, looked_at: list[tuple[int, float]]) -> Detector:
    """Note the number and time of every frame that a detector is shown: also of those without a face."""

    def watch(frame: Frame) -> list[Face]:
        looked_at.append((frame.number, frame.time))
        return detect(frame)

    return watch
