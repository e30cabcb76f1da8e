"""Synthetic labelled videos: faces that action units move, as clips ready for shards.

Nothing here stands for a person. What the clips are for: a network can be trained and tested on them without any
licensed corpus, with the difficulties of one: subjects differ more than expressions, labels are rare, correlated and,
if asked for, wrong or missing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from au_dist.core.errors import RecipeError
from au_dist.core.schema import Clip, CropRecipe
from au_dist.core.seeds import rng
from au_dist.synthetic.face import expose, meter, render
from au_dist.synthetic.identity import Identity, draw_identity
from au_dist.synthetic.labels import Dynamics, draw_habit, draw_intensity, read_statistics
from au_dist.synthetic.scene import draw_scene
from au_dist.synthetic.shape import shape_face

CORPUS = "synthetic"


@dataclass(frozen=True)
class SynthSpec:
    """What to make.

    Attributes:
        subjects: Number of subjects.
        videos_per_subject: Videos of each.
        frames_per_video: Frames kept of each video.
        clip_frames: Frames per clip, T; what is left at the end of a video is dropped.
        fps: Frames per second of the video, before ``stride``.
        aus: Action units that are labelled; empty for all of the statistics corpus. The faces show all of them always.
        statistics_corpus: Key of the corpus in the statistics file.
        size: Side of the crop in pixels.
        seed: Seed of everything.
        label_noise: Share of the known labels that are flipped after rendering.
        missing: Share of the labels that are unknown.
        stride: Every how many frames one is kept.
    """

    subjects: int = 24
    videos_per_subject: int = 2
    frames_per_video: int = 64
    clip_frames: int = 8
    fps: float = 30.0
    aus: tuple[int, ...] = ()
    statistics_corpus: str = "BP4D"
    size: int = 64
    seed: int = 0
    label_noise: float = 0.0
    missing: float = 0.0
    stride: int = 1


def synth_recipe(spec: SynthSpec) -> CropRecipe:
    """Return the crop recipe of the clips: eyes where aligned real faces have them, at the size of the request."""
    return CropRecipe(size=spec.size, alignment="eyes")


def synth_aus(spec: SynthSpec, statistics: Path | None = None) -> tuple[int, ...]:
    """Return the action units that the clips are labelled with, in the order of their columns.

    Raises:
        IngestError: The statistics cannot be used.
        RecipeError: An action unit is asked for that the statistics lack.
    """
    return _labelled(spec, read_statistics(statistics, spec.statistics_corpus))


def synth_clips(
    spec: SynthSpec, statistics: Path | None = None, subjects: Iterable[int] | None = None
) -> Iterator[Clip]:
    """Make clips, subject by subject, video by video, in time order.

    An action unit occurs (``y`` 1) in a frame where its intensity is 1 (trace) or more. Every draw belongs to its
    (seed, subject, video, frame): a subset of subjects gives exactly the clips that those subjects always have.

    Args:
        spec: What to make.
        statistics: JSON file of label statistics; None for the one that comes with the package.
        subjects: Indices of the subjects to make; None for all.

    Raises:
        IngestError: The statistics cannot be used.
        RecipeError: A number of the request is out of its range.
    """
    _check(spec)
    dynamics = read_statistics(statistics, spec.statistics_corpus)
    columns = [dynamics.aus.index(au) for au in _labelled(spec, dynamics)]
    chosen = list(range(spec.subjects)) if subjects is None else [int(subject) for subject in subjects]
    outside = [subject for subject in chosen if not 0 <= subject < spec.subjects]
    if outside:
        raise RecipeError(
            "Subjects are asked for that the request does not have",
            expected=f"indices from 0 to {spec.subjects - 1}",
            found=outside,
        )
    return _clips(spec, dynamics, columns, chosen)


def _clips(spec: SynthSpec, dynamics: Dynamics, columns: list[int], subjects: list[int]) -> Iterator[Clip]:
    for subject in subjects:
        who = draw_identity(rng(spec.seed, "synth", subject, "identity"))
        habit = draw_habit(dynamics, rng(spec.seed, "synth", subject, "habit"))
        for video in range(spec.videos_per_subject):
            draw = rng(spec.seed, "synth", subject, video, "labels")
            raw = draw_intensity(dynamics, habit, draw, spec.frames_per_video * spec.stride, spec.fps)
            shown_TA = raw[:: spec.stride]
            jpegs = _film(spec, who, dynamics.aus, shown_TA, subject, video)
            yield from _cut(spec, dynamics, columns, shown_TA, jpegs, subject, video)


def _film(
    spec: SynthSpec, who: Identity, aus: tuple[int, ...], shown_TA: np.ndarray, subject: int, video: int
) -> Iterator[bytes]:
    """Render and encode the frames of a video one after another."""
    import simplejpeg

    recipe = synth_recipe(spec)
    frames = spec.frames_per_video * spec.stride
    scene = draw_scene(rng(spec.seed, "synth", subject, video, "scene"), frames, spec.fps, spec.size)
    camera = meter(scene.camera, who)
    for t, row in enumerate(shown_TA):
        frame = t * spec.stride
        shape = shape_face(
            who,
            {au: float(value) for au, value in zip(aus, row, strict=True)},
            float(scene.lids_T[frame]),
            (float(scene.gaze_T2[frame, 0]), float(scene.gaze_T2[frame, 1])),
        )
        rgb = render(who, shape, scene.view_T[frame], scene.light, scene.backdrop, recipe)
        noise = rng(spec.seed, "synth", subject, video, frame, "noise").standard_normal(rgb.shape, np.float32)
        yield simplejpeg.encode_jpeg(expose(rgb, camera, noise), quality=recipe.jpeg_quality, colorspace="RGB")


def _cut(
    spec: SynthSpec,
    dynamics: Dynamics,
    columns: list[int],
    shown_TA: np.ndarray,
    jpegs: Iterator[bytes],
    subject: int,
    video: int,
) -> Iterator[Clip]:
    """Cut a video into clips, with the labels that a coder would have left."""
    y_TA, valid_TA, intensity_TA = spoil(
        shown_TA[:, columns],
        dynamics.levels_A5[columns],
        spec.label_noise,
        spec.missing,
        rng(spec.seed, "synth", subject, video, "coder"),
    )
    number_T: np.ndarray = np.arange(spec.frames_per_video, dtype=np.int64) * spec.stride
    for first in range(0, spec.frames_per_video - spec.clip_frames + 1, spec.clip_frames):
        part = slice(first, first + spec.clip_frames)
        yield Clip(
            corpus=CORPUS,
            subject=f"{CORPUS}/S{subject:03d}",
            video=f"V{video:02d}",
            number_T=number_T[part],
            time_T=number_T[part] / spec.fps,
            jpeg_T=tuple(next(jpegs) for _ in range(spec.clip_frames)),
            y_TA=y_TA[part],
            valid_TA=valid_TA[part],
            intensity_TA=intensity_TA[part],
            confidence_T=np.ones(spec.clip_frames, np.float32),
        )


def spoil(
    shown_TA: np.ndarray, levels_A5: np.ndarray, label_noise: float, missing: float, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn what the faces show into labels: some unknown, some of the known ones wrong.

    A wrong label is wrong throughout: its intensity agrees with its occurrence, so that nothing gives it away.

    Args:
        shown_TA: Intensity that was rendered, 0 to 5.
        levels_A5: Shares of the levels 1 to 5 among occurrences.
        label_noise: Share of the known labels to flip.
        missing: Share of the labels to mark unknown.
        draw: The generator of the video's address.

    Returns:
        Occurrence (int8), whether it is known (bool), intensity (float32, NaN where unknown); [T, A] each.
    """
    lost, wrong, height = draw.random((3, *shown_TA.shape))
    valid_TA = lost >= missing
    y_TA = shown_TA >= 1.0
    flip = valid_TA & (wrong < label_noise)
    invented = 1.0 + (height[..., None] > np.cumsum(levels_A5, axis=1)[:, :4]).sum(axis=-1)
    intensity_TA = np.where(flip, np.where(y_TA, 0.0, invented), shown_TA)
    y_TA = (y_TA ^ flip) & valid_TA
    return y_TA.astype(np.int8), valid_TA, np.where(valid_TA, intensity_TA, np.nan).astype(np.float32)


def _labelled(spec: SynthSpec, dynamics: Dynamics) -> tuple[int, ...]:
    missing = sorted(set(spec.aus) - set(dynamics.aus))
    if missing or len(set(spec.aus)) != len(spec.aus):
        raise RecipeError(
            "Action units are asked for that the statistics lack, or twice",
            where=spec.statistics_corpus,
            expected=f"different ones of {list(dynamics.aus)}",
            found=list(spec.aus),
            fix="Ask for others or name another statistics corpus.",
        )
    return spec.aus or dynamics.aus


def _check(spec: SynthSpec) -> None:
    rules = {
        "subjects": (spec.subjects, 1, 100_000),
        "videos_per_subject": (spec.videos_per_subject, 1, 100_000),
        "clip_frames": (spec.clip_frames, 1, spec.frames_per_video),
        "fps": (spec.fps, 1, 1000),
        "size": (spec.size, 32, 512),
        "seed": (spec.seed, 0, 2**63 - 1),
        "label_noise": (spec.label_noise, 0, 1),
        "missing": (spec.missing, 0, 1),
        "stride": (spec.stride, 1, 10_000),
    }
    for name, (value, low, high) in rules.items():
        if not low <= value <= high:
            raise RecipeError(
                "A number for the synthetic faces is out of its range",
                where=name,
                expected=f"{low} to {high}",
                found=value,
            )
