"""``au-dist predict MODEL VIDEO``: a table in OpenFace's columns and a timeline, by the model's own recipe."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from au_dist.core.errors import IngestError, RecipeError
from au_dist.corpora.timelines import RECORD
from au_dist.scoring.model import TrainedModel, load_model
from au_dist.scoring.results import Made, check_same_video, check_targets, digest_of, identities, targets_of
from au_dist.scoring.score_video import Show, finding_notes, score_video, video_spec
from au_dist.scoring.scored import ScoredVideo, by_share, header, lines, main_tracks
from au_dist.scoring.sources import one_source
from au_dist.scoring.timeline import FaceLine, draw_timeline
from au_dist.storage.store import Store
from au_dist.train import checkpoint
from au_dist.video.clips import TrackedCrop, landmarks_of
from au_dist.video.cropped import CROPPED_SHARE
from au_dist.video.video import probe
from au_dist.video.video_spec import VideoReport, VideoSpec

#: At most this many faces are in the picture; the table has them all.
PICTURED_FACES = 4


@dataclass(frozen=True, eq=False)
class Prediction:
    """What came out of a video.

    Attributes:
        csv: The table.
        picture: The timeline, PNG.
        model: Address of the checkpoint.
        frames: Rows of frames in the table.
        frames_with_face: Of these, frames in which the detector saw a face.
        faces: Tracks of faces; a person who is lost and found again is more than one.
        written: Lines of the table after its header.
        present: Action unit → share of the frames of the main face in which it was called (an intensity of 1 or more);
            NaN without any.
        report: What became of the video: what was dropped, seconds by stage.
        notes: What a person should know, a sentence each.
    """

    csv: Path
    picture: Path
    model: str
    frames: int
    frames_with_face: int
    faces: int
    written: int
    present: dict[int, float]
    report: VideoReport
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Result:
    """What comes out of a video, before it is written.

    Attributes:
        table: The CSV file.
        picture: The timeline, PNG.
        made: What the result says of itself.
        written: Lines of the table after its header.
        present: As in `Prediction`.
        report: As in `Prediction`.
    """

    table: bytes
    picture: bytes
    made: Made
    written: int
    present: dict[int, float]
    report: VideoReport


def predict(
    model_address: str,
    video: Path | str,
    out: Path,
    *,
    which: str = "best",
    faces: Literal["main", "all"] = "main",
    base: Store | None = None,
    overwrite: bool = False,
    show: Show | None = None,
    **options: Any,
) -> Prediction:
    """Score every frame of a video or picture.

    Args:
        model_address: A checkpoint, a pulled model folder, a run, or a run's name below `base`.
        video: The file, or its address (``s3://…``).
        out: The folder for ``<video>.csv`` and ``<video>.png``, or the CSV file itself.
        which: ``best`` or ``last`` checkpoint of a run.
        faces: ``main`` for one line a frame, ``all`` for one line a face.
        base: The place of runs that a bare name belongs to.
        overwrite: Whether the result may replace files that are not an earlier result of this video.
        show: Is told about the progress every few seconds.
        **options: Fields of `VideoSpec`, by name; those of the model's own crops by default.

    Raises:
        IngestError: The video cannot be read. Nothing is left behind, as with every error.
        CheckpointError: The model is absent, damaged, or cannot detect.
        RecipeError: An option does not fit, or the result would replace an input or another file.
        StorageError: The model or the video cannot be fetched, or the result cannot be written.
    """
    check_faces(faces)
    source = one_source(video)
    targets = targets_of(source.name, out)
    before = check_targets(targets, identities(source.inputs(options.get("landmarks"))), overwrite=overwrite)
    model = load_model(model_address, which, base=base)
    spec = video_spec(model, **options)
    with source.local() as path:
        if before is not None:
            check_same_video(before, digest_of(path), targets)
        result = compute(model, path, spec, faces, show)
    targets.save(result.table, result.picture)
    made = result.made
    return Prediction(
        csv=targets.table,
        picture=targets.picture,
        model=model.uri,
        frames=made.frames,
        frames_with_face=made.frames_with_face,
        faces=made.faces,
        written=result.written,
        present=result.present,
        report=result.report,
        notes=made.notes,
    )


def check_faces(faces: str) -> None:
    """Refuse a choice of faces that there is not.

    Raises:
        RecipeError: It is neither ``main`` nor ``all``.
    """
    if faces not in ("main", "all"):
        raise RecipeError("There is no such choice of faces", where="faces", expected="main or all", found=repr(faces))


def compute(
    model: TrainedModel, video: Path, spec: VideoSpec, faces: Literal["main", "all"], show: Show | None = None
) -> Result:
    """Score a video and make its table and picture; nothing is written.

    Args:
        model: The model.
        video: The file.
        spec: How faces are found.
        faces: ``main`` or ``all``.
        show: Is told about the progress.

    Raises:
        IngestError: The video cannot be read.
    """
    probe(video)
    report, content = VideoReport(video), digest_of(video)
    told = asked(model, video, spec, faces)
    scored, thumbnails = score_video(model, video, spec, report=report, show=show)
    if digest_of(video) != content:
        raise IngestError("The video changed while it was read", where=video, fix="Run again when it is complete.")
    several = faces == "all"
    shown = [[track] for track in by_share(scored)[:PICTURED_FACES]] if several else [main_tracks(scored)]
    limit_A = np.ones(len(model.aus)) if model.intensities else model.threshold_A
    scale = 5 if model.intensities else 1
    rows = list(lines(scored, model.threshold_A, several=several))
    table = "".join([header(model.aus, several, model.intensities), *rows]).encode()
    made = Made(
        table=hashlib.sha256(table).hexdigest(),
        video=content,
        asked=told,
        frames=len(scored.number_T),
        frames_with_face=len(np.unique(scored.at_N)),
        faces=len(np.unique(scored.track_N)),
        notes=(*finding_notes(model, spec), *video_notes(report, spec)),
    )
    picture = draw_timeline(
        [_face_line(scored, tracks, thumbnails, several, scale) for tracks in shown or [[]]],
        aus=model.aus,
        threshold_A=limit_A / scale,
        title=video.name,
        note=_note(model, scored, several),
        intensities=model.intensities,
        chosen=bool(model.state.subjects.validation),
        texts={RECORD: made.text()},
    )
    score_TA = scored.score_of(scored.of_tracks(main_tracks(scored)))
    seen_T = ~np.isnan(score_TA).any(1)
    share_A = (score_TA[seen_T] >= limit_A).mean(0) if seen_T.any() else np.full(len(model.aus), np.nan)
    present = {au: float(share) for au, share in zip(model.aus, share_A, strict=True)}
    return Result(table, picture, made, len(rows), present, report)


def asked(model: TrainedModel, video: Path, spec: VideoSpec, faces: str) -> str:
    """Return a digest of all that a result depends on beside the video; empty where that cannot be known again."""
    if ":" in spec.detector:
        return ""
    told = {**asdict(spec), "threads": None, "landmarks": None, "faces": faces, "au-dist": version("au-dist")}
    landmarks = landmarks_of(video, spec)
    read = digest_of(landmarks) if landmarks and spec.detector == "landmarks" else None
    sealed = [checkpoint.seal(Store(model.uri))[name]["sha256"] for name in (checkpoint.WEIGHTS, checkpoint.STATE)]
    return hashlib.sha256(json.dumps([told, read, sealed], sort_keys=True).encode()).hexdigest()


def video_notes(report: VideoReport, spec: VideoSpec) -> list[str]:
    """Say what became of a video that the numbers of frames and faces do not say, a sentence each."""
    share = report.square_share or 0.0
    square = share > CROPPED_SHARE and spec.cropped is None and spec.detector != "none"
    unseen = report.frames_examined - report.frames_with_face if spec.detector == "none" else 0
    missed = f"{unseen} frames that no face fills are not scored (--already-cropped takes all frames as crops)"
    return [
        *([missed] if unseen else []),
        *([f"square frames, filled to {share:.0%} by the face: cropped again (--crop-again)"] if square else []),
        *report.notes,
        *(f"left out: {reason}: {times}" for reason, times in report.dropped.items()),
    ]


def _face_line(
    scored: ScoredVideo, tracks: list[int], thumbnails: list[tuple[int, TrackedCrop]], several: bool, scale: float
) -> FaceLine:
    return FaceLine(
        label=f"face {tracks[0]}" if several and tracks else "",
        time_T=scored.time_T,
        score_TA=scored.score_of(scored.of_tracks(tracks)) / scale,
        thumbnails=[
            (float(scored.time_T[at]), tracked.crop_SSC) for at, tracked in thumbnails if tracked.track in tracks
        ],
    )


def _note(model: TrainedModel, scored: ScoredVideo, several: bool) -> str:
    run = model.state.run_recipe.name
    faces = len(np.unique(scored.track_N))
    left_out = f", the {PICTURED_FACES} largest of {faces} faces" if several and faces > PICTURED_FACES else ""
    return f"{run}, step {model.state.step}{left_out}"
