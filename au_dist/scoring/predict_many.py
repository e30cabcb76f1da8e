"""``au-dist predict MODEL FOLDER``: many videos at once on Ray, a result each and a table of all."""

import csv
import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from au_dist.compat.ray_tasks import Lost, on_ray
from au_dist.core.errors import AuDistError, IngestError, RecipeError, StorageError
from au_dist.scoring.model import TrainedModel, load_model
from au_dist.scoring.predict import asked, check_faces, compute
from au_dist.scoring.results import Made, Targets, check_same_video, check_targets, digest_of, identities, targets_of
from au_dist.scoring.score_video import video_spec
from au_dist.scoring.sources import Source, find_sources
from au_dist.storage.store import Store, atomic_file
from au_dist.video.video_spec import VideoSpec

#: The table of all videos, below the results' folder.
SUMMARY = "videos"

COLUMNS = ("video", "csv", "frames", "frames_with_face", "faces", "notes", "error")


@dataclass(frozen=True)
class Row:
    """What became of one video.

    Attributes:
        source: The video.
        table: Its CSV file.
        made: What its result says of itself; None where it was set aside.
        done_before: Whether the result was there, of this video and all that was asked for, and was left as it is.
        error: Why it was set aside.
    """

    source: Source
    table: Path
    made: Made | None = None
    done_before: bool = False
    error: str = ""


@dataclass(frozen=True)
class Many:
    """What became of many videos.

    Attributes:
        table: The table of all.
        rows: A row a video, in order.
        notes: What a person should know, a sentence each.
    """

    table: Path
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """What a process needs to know to predict one video."""

    model: str
    source: Source
    targets: Targets
    before: Made | None
    spec: VideoSpec
    faces: Literal["main", "all"]


@dataclass
class _Given:
    """What comes back: the files of a result, or what is there already, or why there is none."""

    made: Made | None = None
    files: tuple[bytes, bytes] | None = field(default=None, repr=False)
    error: str = ""


def predict_many(
    model_address: str,
    addresses: Sequence[str],
    out: Path,
    *,
    parallel: int,
    which: str = "best",
    faces: Literal["main", "all"] = "main",
    base: Store | None = None,
    overwrite: bool = False,
    show: Callable[[Row, int, int], None] = lambda row, done, total: None,
    **options: Any,
) -> Many:
    """Score videos, a Ray task each; Ray must be connected.

    A result that is there, of the same video by its content, the same model, options and version, is not made again.

    Args:
        model_address: As for `predict.predict`; nodes must reach it, and the videos, by the same addresses.
        addresses: Files and folders, on disk or in storage.
        out: The folder for the results, which lie in it as the videos lie in their folder.
        parallel: How many at a time.
        which: ``best`` or ``last`` checkpoint of a run.
        faces: ``main`` for one line a frame, ``all`` for one line a face.
        base: The place of runs that a bare name belongs to.
        overwrite: Whether results may replace files that are not earlier ones.
        show: Called after each video with its row, how many are done and how many there are.
        **options: Fields of `VideoSpec`, by name.

    Raises:
        IngestError: There are no videos.
        CheckpointError: The model is absent, damaged, or cannot detect.
        RecipeError: An option does not fit, or a result would replace an input or another file; nothing was done.
        StorageError: The store fails, or a result cannot be written; what is written stays.
    """
    check_faces(faces)
    if out.suffix.lower() == ".csv":
        raise RecipeError("Many videos need a folder for their results", where="--out", found=out)
    sources, notes = find_sources(addresses, frozenset({SUMMARY}))
    places = [targets_of(source.name, out) for source in sources]
    summary = out / f"{SUMMARY}.csv"
    taken = identities(path for source in sources for path in source.inputs(options.get("landmarks")))
    before = [check_targets(place, taken, overwrite=overwrite) for place in places]
    _check_summary(summary, overwrite)
    model = load_model(model_address, which, base=base, device=torch.device("cpu"))
    spec = video_spec(model, **options)
    jobs = [
        _Job(model.uri, source, place, made, spec, faces)
        for source, place, made in zip(sources, places, before, strict=True)
    ]
    rows: dict[int, Row] = {}

    def done(index: int, answer: _Given | Lost) -> None:
        job, given = jobs[index], _Given(error=answer.why) if isinstance(answer, Lost) else answer
        if given.files:
            job.targets.save(*given.files)
        left = given.made is not None and given.files is None
        rows[index] = Row(job.source, job.targets.table, given.made, left, given.error)
        show(rows[index], len(rows), len(jobs))

    on_ray(_predict_one, [(job,) for job in jobs], parallel, done)
    ordered = tuple(rows[index] for index in range(len(jobs)))
    try:
        with atomic_file(summary) as file:
            file.write(_table(ordered).encode())
    except OSError as error:
        raise StorageError("The table of all videos cannot be written", where=summary, found=error) from error
    return Many(summary, ordered, tuple(notes))


def _predict_one(job: _Job) -> _Given:
    """Predict one video; runs in a Ray task, and one video stops no other."""
    model = _loaded(job.model)
    try:
        with job.source.local() as path:
            if job.before is not None:
                check_same_video(job.before, digest_of(path), job.targets)
                if job.before.asked and job.before.asked == asked(model, path, job.spec, job.faces):
                    return _Given(job.before)
            result = compute(model, path, job.spec, job.faces)
    except AuDistError as error:
        return _Given(error=str(error))
    except Exception as error:  # noqa: BLE001 - nobody foresaw it
        return _Given(error=f"{type(error).__name__}: {error}")
    return _Given(result.made, (result.table, result.picture))


@functools.cache
def _loaded(address: str) -> TrainedModel:
    """A model is loaded once a process; many processes would fill a GPU, and most time goes to finding faces."""
    return load_model(address, device=torch.device("cpu"))


def _check_summary(summary: Path, overwrite: bool) -> None:
    """Refuse to replace a table that is not one of ours."""
    if overwrite or not summary.exists():
        return
    try:
        with summary.open(newline="", encoding="utf-8") as file:
            first = tuple(next(csv.reader(file), ()))
    except (OSError, ValueError, csv.Error):
        first = ()
    if first != COLUMNS:
        raise RecipeError(
            "A file is in the way that `au-dist predict` did not write",
            where=summary,
            fix="Give another folder with --out, or replace it with --overwrite.",
        )


def _table(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        made = row.made
        numbers = (made.frames, made.frames_with_face, made.faces, "; ".join(made.notes)) if made else ("", "", "", "")
        writer.writerow([row.source.address, row.table if made else "", *numbers, row.error])
    return text.getvalue()


def check_all(many: Many) -> None:
    """Say that some videos were set aside.

    Raises:
        IngestError: Some were.
    """
    if aside := [row for row in many.rows if row.error]:
        raise IngestError(
            f"{len(aside)} of {len(many.rows)} videos were set aside",
            where=many.table,
            found=f"{aside[0].source.address}: {aside[0].error}",
            fix="The others are done: mend the cause and run the same command again.",
        )
