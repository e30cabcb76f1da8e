"""What comes out of a video or a corpus, collected."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from au_dist.core.schema import Clip, CropRecipe
from au_dist.corpora.catalogue import CORPORA
from au_dist.corpora.options import Options
from au_dist.corpora.tree import look
from au_dist.ingest.how import recipe_for
from au_dist.ingest.take_in import take_in
from au_dist.video.clips import TrackedCrop, cut_clips, stream_crops
from au_dist.video.faces import Detector
from au_dist.video.video_spec import VideoReport, VideoSpec


def video_clips(
    path: Path,
    spec: VideoSpec,
    recipe: CropRecipe,
    corpus: str = "video",
    *,
    subject: str | None = None,
    name: str | None = None,
    report: VideoReport | None = None,
    detector: Detector | None = None,
) -> Iterator[Clip]:
    """The clips of a video; each track is a subject unless `subject` says who it is."""
    report = VideoReport(path) if report is None else report
    report.name = name = name or path.stem
    crops = stream_crops(path, spec, recipe, report=report, detector=detector)
    named = None if subject is None else f"{corpus}/{subject}"
    yield from cut_clips(crops, spec, recipe, report, corpus, named, name)


def track_crops(path: Path, spec: VideoSpec, recipe: CropRecipe, **options: object) -> list[SimpleNamespace]:
    """All crops of a video by track: number_T, time_T, success_T, confidence_T, box_T4, crop_TSSC."""
    tracks: dict[int, list[TrackedCrop]] = {}
    for crops in stream_crops(path, spec, recipe, **options):
        for found in crops:
            tracks.setdefault(found.track, []).append(found)
    return [
        SimpleNamespace(
            track=track,
            number_T=np.array([found.number for found in parts]),
            time_T=np.array([found.time for found in parts]),
            success_T=np.array([found.success for found in parts]),
            confidence_T=np.array([found.confidence for found in parts], np.float32),
            box_T4=np.stack([found.box_4 for found in parts]),
            crop_TSSC=np.stack([found.crop_SSC for found in parts]),
        )
        for track, parts in sorted(tracks.items())
    ]


PLAIN = VideoSpec(detector="none", clip_frames=4)


def found_in(corpus, root, **options):
    return CORPORA[corpus].find(look(root), Options(**options))


def taken(corpus, found, spec=PLAIN, options=None, **asked):
    """Every recording's clips and report, by title."""
    recipe = recipe_for(corpus, found, options or Options(), spec, **asked)
    results = {}
    for sequence in found.sequences:
        report = VideoReport(sequence.where)
        results[sequence.title] = list(take_in(sequence, recipe, report)), report
    return results


def together(clips, what):
    return np.concatenate([getattr(clip, what) for clip in clips])
