"""``au-dist predict MODEL VIDEO``: a table in OpenFace's columns and a timeline, by the model's own recipe."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from au_dist.core.errors import RecipeError, StorageError
from au_dist.scoring.model import TrainedModel, load_model
from au_dist.scoring.score_video import Show, score_video, video_spec
from au_dist.scoring.scored import ScoredVideo, by_share, header, lines, main_tracks
from au_dist.scoring.timeline import FaceLine, draw_timeline
from au_dist.storage.store import Store, atomic_file
from au_dist.video.clips import TrackedCrop
from au_dist.video.video_spec import VideoReport

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


def predict(
    model_address: str,
    video: Path,
    out: Path,
    *,
    which: str = "best",
    faces: Literal["main", "all"] = "main",
    base: Store | None = None,
    show: Show | None = None,
    **options: Any,
) -> Prediction:
    """Score every frame of a video or picture.

    Args:
        model_address: A checkpoint, a pulled model folder, a run, or a run's name below `base`.
        video: The file.
        out: The folder for ``<video>.csv`` and ``<video>.png``, or the CSV file itself.
        which: ``best`` or ``last`` checkpoint of a run.
        faces: ``main`` for one line a frame, ``all`` for one line a face.
        base: The place of runs that a bare name belongs to.
        show: Is told about the progress every few seconds.
        **options: Fields of `VideoSpec`, by name; the detector that fits the model's crops by default.

    Raises:
        IngestError: The video cannot be read. Nothing is left behind, as with every error.
        CheckpointError: The model is absent, damaged, or cannot detect.
        RecipeError: An option does not fit, or the result would replace an input.
        StorageError: The model cannot be fetched, or the result cannot be written.
    """
    if faces not in ("main", "all"):
        raise RecipeError("There is no such choice of faces", where="faces", expected="main or all", found=repr(faces))
    table, picture = _targets(video, out, options.get("landmarks"))
    model = load_model(model_address, which, base=base)
    spec = video_spec(model, **options)
    report = VideoReport(video)
    scored, thumbnails = score_video(model, video, spec, report=report, show=show)
    several = faces == "all"
    shown = [[track] for track in by_share(scored)[:PICTURED_FACES]] if several else [main_tracks(scored)]
    limit_A = np.ones(len(model.aus)) if model.intensities else model.threshold_A
    scale = 5 if model.intensities else 1
    pixels = draw_timeline(
        [_face_line(scored, tracks, thumbnails, several, scale) for tracks in shown or [[]]],
        aus=model.aus,
        threshold_A=limit_A / scale,
        title=video.name,
        note=_note(model, scored, several),
        intensities=model.intensities,
    )
    written = 0
    try:
        with atomic_file(table) as file, atomic_file(picture) as image:
            file.write(header(model.aus, several, model.intensities).encode())
            for line in lines(scored, model.threshold_A, several=several):
                file.write(line.encode())
                written += 1
            image.write(pixels)
    except OSError as error:
        raise StorageError("The result cannot be written", where=table, found=error) from error
    score_TA = scored.score_of(scored.of_tracks(main_tracks(scored)))
    seen_T = ~np.isnan(score_TA).any(1)
    share_A = (score_TA[seen_T] >= limit_A).mean(0) if seen_T.any() else np.full(len(model.aus), np.nan)
    return Prediction(
        csv=table,
        picture=picture,
        model=model.uri,
        frames=len(scored.number_T),
        frames_with_face=len(np.unique(scored.at_N)),
        faces=len(np.unique(scored.track_N)),
        written=written,
        present={au: float(share) for au, share in zip(model.aus, share_A, strict=True)},
        report=report,
    )


def _targets(video: Path, out: Path, landmarks: Path | None) -> tuple[Path, Path]:
    table = out if out.suffix.lower() == ".csv" else out / f"{video.stem}.csv"
    picture = table.with_suffix(".png")
    for target in (table, picture):
        if any(target.absolute() == taken.absolute() for taken in (video, landmarks) if taken is not None):
            raise RecipeError(
                "The result would replace an input", where=target, fix="Give another folder or CSV file with --out."
            )
    # Asked now: an hour of video later is late.
    nearest = next(folder for folder in table.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StorageError("The result cannot be written", where=table, found=f"{nearest} is no folder to write into")
    return table, picture


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
