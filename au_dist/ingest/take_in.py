"""One recording: its frames, faces and labels become clips."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from au_dist.core.errors import IngestError, RecipeError
from au_dist.core.schema import Clip, au_names
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.label_files import LabelTable, occurrence_checked
from au_dist.corpora.recordings import (
    MOST_MISSING,
    TOLERANCE,
    Film,
    Pictures,
    Sequence,
    in_ranges,
    read,
    sided,
)
from au_dist.corpora.timed import Timed
from au_dist.ingest.how import IngestRecipe
from au_dist.video.clips import check_fit, crops_in, cut_clips, detector_for
from au_dist.video.cropped import filled_by_faces
from au_dist.video.faces import Detector
from au_dist.video.video import Frame, count, probe, to_its_end
from au_dist.video.video_spec import VideoReport, VideoSpec


def take_in(sequence: Sequence, recipe: IngestRecipe, report: VideoReport) -> Iterator[Clip]:
    """Yield the clips of a recording.

    Memory holds a few frames and one clip a track.

    Args:
        sequence: The recording.
        recipe: How it is taken in.
        report: Filled in place.

    Raises:
        IngestError: It cannot be read, or its labels do not fit its frames.
        RecipeError: Detector and crops do not fit each other.
    """
    check_fit(recipe.spec, recipe.crop)
    table = _labels(sequence, recipe, report)
    columns = None if table is None else table.columns(recipe.aus)
    frames = _frames(sequence, recipe, table, report)
    detect = _detector(sequence, recipe.spec, report.notes)
    if recipe.spec.detector != "none" and recipe.spec.cropped is None:
        detect = filled_by_faces(detect, report, refuse=True)
    detect = sided(detect, sequence.side)
    crops = crops_in(frames, recipe.spec, recipe.crop, report, detect)
    for clip in cut_clips(crops, recipe.spec, recipe.crop, report, sequence.corpus, sequence.subject, sequence.name):
        result = clip if table is None or columns is None else labelled(clip, table.number_L, *columns)
        report.clip_frames += len(result.jpeg_T)
        report.clip_labelled += int(result.valid_TA.any(1).sum())
        yield result


def labelled(
    clip: Clip, number_L: np.ndarray, y_LA: np.ndarray, valid_LA: np.ndarray, intensity_LA: np.ndarray
) -> Clip:
    """Return a clip with the labels of its frames, from those of its recording; frames without any are unknown."""
    place_T = np.searchsorted(number_L, clip.number_T).clip(max=len(number_L) - 1)
    known_T1 = (number_L[place_T] == clip.number_T)[:, None]
    return replace(
        clip,
        y_TA=np.where(known_T1, y_LA[place_T], 0).astype(np.int8),
        valid_TA=valid_LA[place_T] & known_T1,
        intensity_TA=np.where(known_T1, intensity_LA[place_T], np.nan).astype(np.float32),
    )


def _labels(sequence: Sequence, recipe: IngestRecipe, report: VideoReport) -> LabelTable | None:
    reader = CORPORA[recipe.corpus].labels
    if reader is None:
        return None
    known = reader(sequence, recipe.options)
    table = known if isinstance(known, LabelTable) else _found_frames(known, sequence, recipe.spec, report)
    report.notes += table.unread
    known_L = table.known(recipe.aus)
    report.labelled = int(known_L.sum())
    _note_others(table, recipe, known_L, report)
    chosen = {au: column for au, column in table.occurrence.items() if au in recipe.aus}
    table = occurrence_checked(replace(table, occurrence=chosen), sequence.where)
    if not report.labelled:
        raise IngestError("The label files know nothing of the action units asked for", where=sequence.where)
    coded = (int(table.number_L[0]), int(table.number_L[-1]), len(table.number_L))
    if sequence.segment and coded != sequence.segment:
        report.notes.append(
            "frames {} to {} are coded ({}), published are {} to {} ({})".format(*coded, *sequence.segment)
        )
    return table


def _found_frames(known: Timed, sequence: Sequence, spec: VideoSpec, report: VideoReport) -> LabelTable:
    """Return labels that tell times as those of frames, whose times only decoding tells."""
    frames = [(frame.number, frame.time) for frame in read(sequence.source, None, threads=spec.threads)]
    number_T, time_T = (np.array(of) for of in zip(*frames, strict=True))
    table, notes = known.at(number_T, time_T, sequence.where)
    report.notes += notes
    return table


def _note_others(table: LabelTable, recipe: IngestRecipe, known_L: np.ndarray, report: VideoReport) -> None:
    """Name the action units that are coded and not taken, and count the frames that are labelled in them alone."""
    others = sorted((table.occurrence.keys() | table.intensity.keys()) - set(recipe.aus))
    if coded := [au for au in others if table.known([au]).any()]:
        report.notes.append(f"coded, but not taken (--aus takes others): {', '.join(au_names(coded))}")
    if alone := int((table.known(coded) & ~known_L).sum()):
        report.notes.append(f"{alone} frames are labelled only in action units that were not taken")


def _frames(sequence: Sequence, recipe: IngestRecipe, table: LabelTable | None, report: VideoReport) -> Iterator[Frame]:
    """Yield the frames that matter; afterwards, say whether the labels fit them."""
    source, options, info = sequence.source, recipe.options, None
    square = recipe.spec.detector != "landmarks"
    coded = None if table is None else (int(table.number_L[0]), int(table.number_L[-1]))
    wanted = coded if options.frames == "coded" else None
    if isinstance(source, Pictures):
        report.header_frames = len(source.numbered)
        if table is not None:
            _check_pictures(sequence, source, table, recipe, report)
    else:
        if source.entry.member is None:
            info = probe(source.entry.path)
            report.header_frames = info.frames
        if table is not None:
            _check_start(sequence, source.first, table)
    last = -1
    frames = read(
        source,
        wanted,
        threads=recipe.spec.threads,
        square_pixels=square,
        dropped=report.dropped,
        notes=report.notes,
    )
    if info is not None and table is None:
        frames = to_its_end(frames, info, report.notes)
    for frame in frames:
        last = frame.number
        if wanted and frame.number > wanted[1] and not sequence.whole:
            break
        if wanted and not wanted[0] <= frame.number <= wanted[1]:
            count(report.dropped, "frame outside the coded part")
        elif in_ranges(frame.number, sequence.dropped):
            count(report.dropped, "frame on the list of bad frames")
        else:
            yield frame
    if table is not None and isinstance(source, Film):
        without = int((table.number_L > last).sum())
        over = last - int(table.number_L[-1]) if sequence.whole else 0
        told = f"{without} labels of frames up to {table.number_L[-1]}, after the last of the video, {last}"
        _check_length(sequence, without, over, TOLERANCE, report, told)


def _check_start(sequence: Sequence, first: int, table: LabelTable) -> None:
    """Refuse labels that begin before the recording does: they count from another number, all of them."""
    if table.number_L[0] < first:
        raise IngestError(
            "The labels begin before the recording",
            where=sequence.where,
            expected=f"frames from {first} on, the number of the first one",
            found=f"a label of frame {table.number_L[0]}",
            fix="Where labels count from 0, say so: --first-frame 0, --counted from_zero of a table, or first_frame: 0 "
            "in a layout.",
        )


def _check_pictures(
    sequence: Sequence, source: Pictures, table: LabelTable, recipe: IngestRecipe, report: VideoReport
) -> None:
    numbers = {number for number, _ in source.numbered}
    wanted = [number for number in table.number_L.tolist() if not in_ranges(number, sequence.dropped)]
    without = sum(number not in numbers for number in wanted)
    cropped = source.cropped or recipe.spec.detector == "none"
    most = len(wanted) if cropped else max(TOLERANCE, int(MOST_MISSING * len(wanted)))
    over = max(numbers) - int(table.number_L[-1]) if sequence.whole or source.cropped else 0
    _check_length(sequence, without, over, most, report, f"{without} labelled frames without a picture")


def _check_length(sequence: Sequence, without: int, over: int, most: int, report: VideoReport, told: str) -> None:
    """Refuse a recording where more than `most` labels have no frame, or too many frames follow the labels."""
    if without > most or over > TOLERANCE:
        labels = without > most
        raise IngestError(
            "Frames and labels are not of the same recording",
            where=sequence.where,
            expected=f"a difference of at most {most if labels else TOLERANCE} frames",
            found=told if labels else f"{over} frames after the last label",
            fix="Check that label file and recording belong together, and how frames are counted.",
        )
    if without > 0:
        report.notes.append(f"{without} labelled frames have no picture and were left out")
    elif over > 0:
        report.notes.append(f"{over} frames after the last label were left out")


def _detector(sequence: Sequence, spec: VideoSpec, notes: list[str]) -> Detector:
    if spec.landmarks is None or spec.detector in ("centerface", "none"):
        return _opened(spec)
    if isinstance(sequence.source, Pictures):
        raise RecipeError(
            "Landmarks of another program are read for videos only",
            where="detector",
            found=f"pictures in {sequence.where}",
            fix="Use --detector centerface.",
        )
    film = sequence.source
    by_place = detector_for(Path(film.entry.name), spec, notes)
    return lambda frame: by_place(replace(frame, number=frame.number - film.first))


@cache
def _opened(spec: VideoSpec) -> Detector:
    """A network is loaded once a process."""
    return detector_for(Path(), spec)
