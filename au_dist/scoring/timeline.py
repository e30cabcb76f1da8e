"""The timeline picture: one row an action unit, faces along the top, grey where nobody was seen."""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from au_dist.core.facs import NAMES
from au_dist.core.metrics import UNCHOSEN
from au_dist.core.schema import au_name
from au_dist.storage.pictures import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: One hue, dark for present and light for absent, tells the same to every eye; orange (of Okabe and Ito's palette,
#: made for colour-blind readers) marks the threshold.
PRESENT, ABSENT, LIMIT, NOBODY, INK, QUIET = "#0072B2", "#BFD9EA", "#D55E00", "#ECEAE6", "#1F2328", "#6B7280"

WIDTH, ROW, FACES, DPI = 12.0, 0.44, 0.85, 120

#: Where the rows begin and end, as shares of the width.
LEFT, RIGHT = 0.212, 0.925

#: Points that are drawn of a row; longer videos are averaged over equal spans.
POINTS = 2400

THUMBNAILS = 12


@dataclass(frozen=True, eq=False)
class FaceLine:
    """What is drawn of one face.

    Attributes:
        label: Stands above the block of its rows; empty for none.
        time_T: Seconds, increasing.
        score_TA: Probabilities, or intensities over 5; NaN in frames where the face was not seen.
        thumbnails: Time → crop, uint8 (S, S, 3).
    """

    label: str
    time_T: np.ndarray
    score_TA: np.ndarray
    thumbnails: Sequence[tuple[float, np.ndarray]] = field(default_factory=tuple)


def draw_timeline(
    faces: Sequence[FaceLine],
    *,
    aus: Sequence[int],
    threshold_A: np.ndarray,
    title: str,
    note: str = "",
    intensities: bool = False,
    chosen: bool = True,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """Return the picture as PNG.

    Args:
        faces: At least one; a block of rows each.
        aus: Action units.
        threshold_A: Presence is a score of at least this.
        title: Usually the video's name.
        note: Small print beside it.
        intensities: Scores and thresholds are intensities over 5.
        chosen: Validation subjects chose the thresholds.
        texts: What the file says of itself beside the picture, by keyword.
    """
    from matplotlib.figure import Figure

    heights = [height for _ in faces for height in (FACES, *[ROW] * len(aus))]
    top, bottom, between = 0.62, 0.72, 0.42 * (len(faces) - 1)
    total = top + sum(heights) + between + bottom
    figure = Figure(figsize=(WIDTH, total), dpi=DPI, facecolor="white")
    figure.text(0.012, 1 - 0.2 / total, title, va="top", size=14, weight="bold", color=INK, parse_math=False)
    figure.text(0.988, 1 - 0.26 / total, note, va="top", ha="right", size=9, color=QUIET, parse_math=False)
    still = len(faces[0].time_T) < 2
    at = total - top
    for face in faces:
        if still:
            _still(figure, face, aus, threshold_A, at, total, 5 if intensities else 1)
        else:
            _block(figure, face, aus, threshold_A, at, total)
        at -= FACES + ROW * len(aus) + 0.42
    _legend(figure, total, still, intensities, chosen)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A title in letters that the font lacks is drawn as boxes; the file's name says it.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="png", metadata={**SOFTWARE, **(texts or {})})
    return file.getvalue()


def spans(missing_T: np.ndarray, edge_T: np.ndarray) -> list[tuple[float, float]]:
    """Return the stretches of time in which something is missing.

    Args:
        missing_T: Whether it is, bool.
        edge_T: Where each frame begins, and behind them where the last one ends; [T + 1].
    """
    change = np.diff(np.concatenate([[0], missing_T.astype(np.int8), [0]]))
    begins, ends = np.nonzero(change == 1)[0], np.nonzero(change == -1)[0]
    return [(float(edge_T[begin]), float(edge_T[end])) for begin, end in zip(begins, ends, strict=True)]


def thin(time_T: np.ndarray, score_TA: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `points` frames: means over equal numbers of frames, NaN where no frame of a span has a score."""
    each = -(-len(time_T) // points)
    if each <= 1:
        return time_T, score_TA
    starts = np.arange(0, len(time_T), each)
    seen_TA = ~np.isnan(score_TA)
    sums = np.add.reduceat(np.where(seen_TA, score_TA, 0), starts, axis=0)
    counts = np.add.reduceat(seen_TA, starts, axis=0, dtype=np.int64)
    return time_T[starts], np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def edges(time_T: np.ndarray) -> np.ndarray:
    """Return where frames begin and the last one ends, [T + 1]: a frame lasts until the next."""
    return np.append(time_T, time_T[-1] + np.median(np.diff(time_T)))


def _place(figure: "Figure", top: float, height: float, total: float) -> "Axes":
    return figure.add_axes((LEFT, (top - height) / total, RIGHT - LEFT, height / total))


def _block(
    figure: "Figure", face: FaceLine, aus: Sequence[int], threshold_A: np.ndarray, top: float, total: float
) -> None:
    time_T, score_TA = thin(face.time_T, face.score_TA, POINTS)
    edge_T = edges(time_T)
    limits = (float(edge_T[0]), float(edge_T[-1]))
    _strip(_place(figure, top, FACES, total), face, limits)
    share_A = _share(face.score_TA, threshold_A)
    gone = spans(np.isnan(score_TA).any(1), edge_T)
    # Each frame holds its score until the next one: a line from point to point would cross the gaps.
    held_2T, held_2TA = np.repeat(edge_T, 2)[1:-1], np.repeat(score_TA, 2, axis=0)
    for row, au in enumerate(aus):
        axes = _place(figure, top - FACES - row * ROW, ROW, total)
        _row(axes, held_2T, held_2TA[:, row], float(threshold_A[row]), gone, limits)
        _row_texts(axes, au, share_A[row], "–" if np.isnan(share_A[row]) else f"{share_A[row]:.0%}")
    _time_axis(axes, limits[1])


def _row(
    axes: "Axes",
    time_2T: np.ndarray,
    score_2T: np.ndarray,
    threshold: float,
    gone: Sequence[tuple[float, float]],
    limits: tuple[float, float],
) -> None:
    for begin, end in gone:
        axes.axvspan(begin, end, color=NOBODY, lw=0, zorder=0)
    present_2T = np.nan_to_num(score_2T, nan=-1.0) >= threshold
    axes.fill_between(time_2T, 0, score_2T, where=~np.isnan(score_2T), color=ABSENT, lw=0, zorder=1)
    axes.fill_between(time_2T, 0, score_2T, where=present_2T, color=PRESENT, lw=0, zorder=2)
    axes.plot(time_2T, score_2T, color=PRESENT, lw=0.7, zorder=3)
    axes.axhline(threshold, color=LIMIT, lw=0.9, ls=(0, (4, 3)), zorder=4)
    axes.set(xlim=limits, ylim=(0, 1.06), xticks=[], yticks=[])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#C9CDD2")


def _row_texts(axes: "Axes", au: int, share: float, text: str) -> None:
    quiet: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "size": 9.5}
    axes.text(-0.285, 0.42, au_name(au), weight="bold", color=INK, **quiet)
    axes.text(-0.218, 0.42, NAMES.get(au, ""), color=INK, **quiet)
    axes.text(1.092, 0.42, text, ha="right", color=INK if share > 0 else QUIET, **quiet)


def _strip(axes: "Axes", face: FaceLine, limits: tuple[float, float]) -> None:
    """Faces in the middle of equal stretches of time, as far as there are any, under the block's label."""
    axes.set(xlim=limits, ylim=(0, 1), xticks=[], yticks=[])
    axes.set_frame_on(False)
    axes.text(-0.285, 0.5, face.label, transform=axes.transAxes, va="center", size=11.5, weight="bold", color=INK)
    axes.text(1.092, 0.12, "present", transform=axes.transAxes, ha="right", va="center", size=8.5, color=QUIET)
    # A face must stand near its time, or it would stand above a gap; in a film of few frames they are far between.
    reach = 1 / 3 if len(face.time_T) >= 3 * THUMBNAILS else 1 / 2
    for begin, end in pairwise(np.linspace(*limits, THUMBNAILS + 1)):
        inside = [(abs(time - (begin + end) / 2), at) for at, (time, _) in enumerate(face.thumbnails)]
        nearest = min(inside, default=(np.inf, -1))
        if nearest[0] <= reach * (end - begin):
            time, crop = face.thumbnails[nearest[1]]
            _picture(axes, crop, (begin + end) / 2, limits)
            axes.plot([time, time], [0.0, 0.12], color=QUIET, lw=0.8, clip_on=False)
    axes.set(xlim=limits, ylim=(0, 1))


def _picture(axes: "Axes", crop: np.ndarray, middle: float, limits: tuple[float, float]) -> None:
    half = 0.4 * FACES / ((RIGHT - LEFT) * WIDTH) * (limits[1] - limits[0])
    axes.imshow(crop, extent=(middle - half, middle + half, 0.15, 0.95), aspect="auto", interpolation="antialiased")


def _time_axis(axes: "Axes", end: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    minutes = end >= 120
    if minutes:
        step = next((step for step in (15, 30, 60, 120, 300, 600, 1800) if end / step <= 12), 3600)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="x", labelsize=9, colors=QUIET, length=3)
    axes.text(1.012, -0.28, "min:s" if minutes else "s", transform=axes.transAxes, va="top", size=9, color=QUIET)


def _still(
    figure: "Figure",
    face: FaceLine,
    aus: Sequence[int],
    threshold_A: np.ndarray,
    top: float,
    total: float,
    scale: float,
) -> None:
    """One frame: a bar an action unit; scores are written times a scale."""
    seen = len(face.score_TA) > 0 and not np.isnan(face.score_TA).any()
    strip = _place(figure, top, FACES, total)
    strip.set_frame_on(False)
    if face.thumbnails:
        _picture(strip, face.thumbnails[0][1], 0.4 * FACES / ((RIGHT - LEFT) * WIDTH), (0.0, 1.0))
    strip.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    strip.text(-0.285, 0.5, face.label, transform=strip.transAxes, va="center", size=11.5, weight="bold", color=INK)
    if not seen:
        strip.text(0, 0.5, "no face seen", transform=strip.transAxes, va="center", size=11, color=QUIET)
    for row, au in enumerate(aus):
        axes = _place(figure, top - FACES - row * ROW, ROW, total)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.set_frame_on(False)
        axes.barh(0.42, 1, 0.56, color=NOBODY)
        share = float("nan")
        if seen:
            score, share = float(face.score_TA[0, row]), float(face.score_TA[0, row] >= threshold_A[row])
            axes.barh(0.42, score, 0.56, color=PRESENT if share else ABSENT)
        axes.plot([threshold_A[row]] * 2, [0.06, 0.78], color=LIMIT, lw=1.4)
        _row_texts(axes, au, share, f"{scale * score:.2f}" if seen else "–")


def _share(score_TA: np.ndarray, threshold_A: np.ndarray) -> np.ndarray:
    """Return the share of frames with the face in which each action unit is present; NaN without such frames."""
    known = score_TA[~np.isnan(score_TA).any(1)]
    return (known >= threshold_A).mean(0) if len(known) else np.full(score_TA.shape[1], np.nan)


def _legend(figure: "Figure", total: float, still: bool, intensities: bool, chosen: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present, absent, limit = (
        ("intensity 0 to 5, present", "intensity, below 1", "intensity 1")
        if intensities
        else (
            "probability, present",
            "probability, below threshold",
            f"threshold ({'validation subjects' if chosen else UNCHOSEN})",
        )
    )
    entries = [
        Patch(color=PRESENT, label=present),
        Patch(color=ABSENT, label=absent),
        Line2D([], [], color=LIMIT, lw=1.2, ls="-" if still else (0, (4, 3)), label=limit),
        *([] if still else [Patch(color=NOBODY, label="face not seen")]),
    ]
    figure.legend(
        handles=entries, loc="lower left", bbox_to_anchor=(LEFT - 0.007, 0.06 / total), ncols=4, frameon=False,
        fontsize=9, handlelength=1.6, columnspacing=1.8, labelcolor=QUIET,
    )  # fmt: skip
