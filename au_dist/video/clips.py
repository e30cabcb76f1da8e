"""From a video to clips: decode, detect, follow, crop, encode, in one pass and with bounded memory.

:func:`stream_crops` is the pass over a file, :func:`crops_in` over frames; :func:`cut_clips` makes clips of it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from au_dist.core.errors import IngestError, RecipeError
from au_dist.core.schema import Clip, CropRecipe
from au_dist.video.crops import crop, encode
from au_dist.video.faces import Detector, Face, brightest, open_detector
from au_dist.video.tracks import follow, is_cut, is_plain, sample_picture
from au_dist.video.video import Frame, count, probe, read_frames, to_its_end
from au_dist.video.video_spec import VideoReport, VideoSpec


@dataclass(frozen=True, eq=False)
class TrackedCrop:
    """One face of one track in one frame.

    Attributes:
        track: Number of the track in its video.
        number: Number of the frame, from 0.
        time: Seconds from the first frame.
        success: Whether the detector saw the face; where not, the place is interpolated and ``confidence`` is 0.
        confidence: Of the detector, 0 to 1.
        box_4: Left, top, right, bottom in the frame.
        landmarks_52: The five points in the frame.
        crop_SSC: The crop, uint8.
    """

    track: int
    number: int
    time: float
    success: bool
    confidence: float
    box_4: np.ndarray
    landmarks_52: np.ndarray
    crop_SSC: np.ndarray


def stream_crops(
    path: Path,
    spec: VideoSpec,
    recipe: CropRecipe,
    *,
    report: VideoReport | None = None,
    detector: Detector | None = None,
) -> Iterator[list[TrackedCrop]]:
    """Yield, frame by frame, the crops of all faces in it.

    Memory holds ``max_gap + half_window`` frames and does not grow with the video.

    Args:
        path: Video or picture.
        spec: How faces are found.
        recipe: How they are cut out.
        report: Filled in place while the frames pass.
        detector: An open detector; ``spec`` names one otherwise.

    Yields:
        Per examined frame, its crops by track number; an empty list where there is no face.

    Raises:
        IngestError: The video cannot be opened or decoded, or its landmarks cannot be read.
        RecipeError: Detector and crop recipe do not fit each other.
    """
    report = VideoReport(path) if report is None else report
    report.name = report.name or path.stem
    check_fit(spec, recipe)
    info = probe(path)
    report.header_frames = info.frames
    # Landmarks of another program are in pixels as stored.
    square = spec.detector != "landmarks"
    frames = read_frames(path, threads=spec.threads, square_pixels=square, dropped=report.dropped, notes=report.notes)
    frames = to_its_end(frames, info, report.notes)
    yield from crops_in(frames, spec, recipe, report, detector or detector_for(path, spec, report.notes))


def detector_for(path: Path, spec: VideoSpec, notes: list[str] | None = None) -> Detector:
    """Open the detector that a spec names, with the landmarks of a file; `notes` is filled in place."""
    return open_detector(
        spec.detector,
        landmarks=landmarks_of(path, spec),
        min_confidence=spec.min_confidence,
        detect_side=spec.detect_side,
        threads=spec.threads,
        notes=notes,
    )


def crops_in(
    frames: Iterator[Frame], spec: VideoSpec, recipe: CropRecipe, report: VideoReport, detect: Detector
) -> Iterator[list[TrackedCrop]]:
    """As `stream_crops`, from frames that are read elsewhere."""
    waiting: deque[Frame] = deque()
    detections = _detections(_examined(frames, spec, report), detect, spec, report, waiting)
    followed = follow(detections, max_gap=spec.max_gap, half_window=spec.half_window, max_faces=spec.max_faces)
    seen: set[int] = set()
    for sightings in followed:
        frame = waiting.popleft()
        started = perf_counter()
        crops = []
        for sighting in sightings:
            face = sighting.face
            pixels = crop(frame.rgb_HWC, face.landmarks_52, recipe)
            at = (sighting.track, frame.number, frame.time, sighting.success)
            crops.append(TrackedCrop(*at, face.confidence, face.box_4, face.landmarks_52, pixels))
        report.seconds["crop"] += perf_counter() - started
        seen.update(sighting.track for sighting in sightings)
        report.tracks = len(seen)
        report.filled += sum(not sighting.success for sighting in sightings)
        yield crops


def check_fit(spec: VideoSpec, recipe: CropRecipe) -> None:
    """Refuse a detector for frames that the recipe says are crops already, and the other way round."""
    if (spec.detector == "none") != (recipe.alignment == "none"):
        raise RecipeError(
            "The face detector and the alignment of the crops do not fit each other",
            where=f"detector {spec.detector}, alignment {recipe.alignment}",
            expected="both 'none' for frames that are crops already, neither otherwise",
            fix="Change one of the two.",
        )


def landmarks_of(path: Path, spec: VideoSpec) -> Path | None:
    """Return the file with the landmarks of a video, None without one.

    Raises:
        IngestError: The folder of landmarks has none of this video.
    """
    if spec.landmarks is None or not spec.landmarks.is_dir():
        return spec.landmarks
    file = spec.landmarks / f"{path.stem}.csv"
    if spec.detector == "landmarks" and not file.is_file():
        raise IngestError("The video has no landmarks", where=path, expected=file, found="no such file")
    return file


def _examined(frames: Iterator[Frame], spec: VideoSpec, report: VideoReport) -> Iterator[Frame]:
    first = None
    while True:
        started = perf_counter()
        frame = next(frames, None)
        report.seconds["decode"] += perf_counter() - started
        if frame is None:
            return
        report.frames += 1
        report.duration = frame.time
        first = frame.number if first is None else first
        if (frame.number - first) % spec.stride == 0:
            report.frames_examined += 1
            yield frame


def _detections(
    frames: Iterable[Frame], detect: Detector, spec: VideoSpec, report: VideoReport, waiting: deque[Frame]
) -> Iterator[tuple[list[Face], bool]]:
    before, last = None, None
    for frame in frames:
        started = perf_counter()
        faces = detect(frame)
        counted = faces if spec.detector == "none" else _counted(faces, frame, spec, report)
        cut = last is not None and frame.number - last > (spec.max_gap + 1) * spec.stride
        if spec.detector != "none":
            sample = sample_picture(frame.rgb_HWC)
            cut = cut or (before is not None and is_cut(before, sample))
            before = before if before is not None and not cut and is_plain(sample) else sample
        last = frame.number
        report.seconds["detect"] += perf_counter() - started
        report.faces += len(counted)
        report.frames_with_face += bool(counted)
        waiting.append(frame)
        yield counted, cut


def _counted(faces: list[Face], frame: Frame, spec: VideoSpec, report: VideoReport) -> list[Face]:
    """Return the faces that are large and light enough; count the others."""
    large = [face for face in faces if face.side >= spec.min_face]
    light = [face for face in large if not spec.min_light or brightest(frame.rgb_HWC, face) >= spec.min_light]
    for reason, left_out in (
        (f"face smaller than {spec.min_face} pixels", len(faces) - len(large)),
        (f"face in the dark, below level {spec.min_light} of 255", len(large) - len(light)),
    ):
        if left_out:
            count(report.dropped, reason, left_out)
    return light


def cut_clips(
    stream: Iterable[list[TrackedCrop]],
    spec: VideoSpec,
    recipe: CropRecipe,
    report: VideoReport,
    corpus: str,
    subject: str | None,
    name: str,
) -> Iterator[Clip]:
    """Cut crops into clips of consecutive frames of one track, without labels.

    Args:
        stream: Crops, frame by frame.
        spec: How long clips are.
        recipe: The quality of their JPEGs.
        report: Filled in place.
        corpus: Name of the corpus.
        subject: Who is seen, with the corpus; None if not known.
        name: Name of the video.
    """
    open_tracks: dict[int, list[tuple[TrackedCrop, bytes]]] = {}
    for crops in stream:
        started = perf_counter()
        # Gaps are filled before crops come here, so a track that is not in a frame has ended.
        for track in open_tracks.keys() - {tracked.track for tracked in crops}:
            _leave(open_tracks.pop(track), report)
        for tracked in crops:
            open_tracks.setdefault(tracked.track, []).append((tracked, encode(tracked.crop_SSC, recipe.jpeg_quality)))
        report.seconds["encode"] += perf_counter() - started
        for track, parts in open_tracks.items():
            if len(parts) == spec.clip_frames:
                report.clips += 1
                yield _clip(parts, corpus, name, track, subject)
                open_tracks[track] = []
    for parts in open_tracks.values():
        _leave(parts, report)


def _leave(parts: list[tuple[TrackedCrop, bytes]], report: VideoReport) -> None:
    if parts:
        count(report.dropped, "crop at the end of a track, too few left for a clip", len(parts))


def _clip(parts: list[tuple[TrackedCrop, bytes]], corpus: str, name: str, track: int, subject: str | None) -> Clip:
    frames = len(parts)
    return Clip(
        corpus=corpus,
        subject=f"{corpus}/{name}#{track}" if subject is None else subject,
        video=name if subject is None else f"{name}#{track}",
        number_T=np.array([tracked.number for tracked, _ in parts], np.int64),
        time_T=np.array([tracked.time for tracked, _ in parts], np.float64),
        jpeg_T=tuple(jpeg for _, jpeg in parts),
        y_TA=np.zeros((frames, 0), np.int8),
        valid_TA=np.zeros((frames, 0), bool),
        intensity_TA=np.zeros((frames, 0), np.float32),
        confidence_T=np.array([tracked.confidence for tracked, _ in parts], np.float32),
    )
