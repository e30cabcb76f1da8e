"""What is drawn of a clip: frames, crops, flips and colours; every draw belongs to (seed, epoch, clip, view).

Without torch, which the tasks that read do not load: they draw, and the worker's device applies (`au_dist.data.views`),
so the same clip gets the same view on any worker.
"""

from collections.abc import Sequence

import numpy as np

from au_dist.config.sections import Views
from au_dist.core.seeds import uniforms

#: What a view draws, in this order.
DRAWS = ("dy", "dx", "flip", "brightness", "contrast", "saturation", "hue", "grey", "sigma")

#: Those of them that frames of a clip may have of their own; where a face is and which way it looks they share.
COLOURS = [DRAWS.index(name) for name in ("brightness", "contrast", "saturation", "hue", "grey")]

#: Turn of an epoch and name of a clip: what a draw belongs to.
Address = tuple[str, str]


def choose_frames(seed: int, clips: Sequence[Address], among_CT: np.ndarray, count: int) -> np.ndarray:
    """Return the frame indices that are taken of some clips, int [C, F], spread over each.

    Args:
        seed: The run's seed.
        clips: The turn of each clip and its name.
        among_CT: Frames to take from; where there are none, all of the clip's. Where there are fewer than asked for,
            they are repeated.
        count: How many to take; all when not smaller than the clip.
    """
    among_CT = among_CT | ~among_CT.any(1, keepdims=True)
    count = min(count, among_CT.shape[1])
    place_F, count_C1 = np.arange(count), among_CT.sum(1, keepdims=True)
    # One frame from each of `count` equal spans: neighbours in time are near duplicates.
    draw_CF = uniforms(count, ((seed, "frames", *clip) for clip in clips))
    spread_CF = np.minimum(((place_F + draw_CF) * count_C1 / count).astype(int), count_C1 - 1)
    chosen_CF = np.where(count_C1 > count, spread_CF, place_F % count_C1)
    return np.take_along_axis(_first(among_CT), chosen_CF, 1)


def choose_run(seed: int, clips: Sequence[Address], needed_CT: np.ndarray, count: int) -> np.ndarray:
    """Return indices of frames that follow each other, int [C, F], with a needed one among them if there are any.

    Args:
        seed: The run's seed.
        clips: The turn of each clip and its name.
        needed_CT: Frames, one of which, drawn evenly, is taken.
        count: How many to take, at most T.
    """
    which_C, where_C = uniforms(2, ((seed, "run", *clip) for clip in clips)).T
    last, count_C = needed_CT.shape[1] - count, needed_CT.sum(1)
    place_C = np.minimum((which_C * count_C).astype(int), np.maximum(count_C - 1, 0))
    frame_C = _first(needed_CT)[np.arange(len(clips)), place_C]
    first_C = np.where(count_C, np.maximum(0, frame_C - count + 1), 0)
    last_C = np.where(count_C, np.minimum(last, frame_C), last)
    start_C = np.minimum(first_C + (where_C * (last_C - first_C + 1)).astype(int), last_C)
    return start_C[:, None] + np.arange(count)


def _first(chosen_CT: np.ndarray) -> np.ndarray:
    """Return the indices of each row's chosen places, then those of the others."""
    return np.argsort(~chosen_CT, axis=1, kind="stable")


def draw_views(config: Views, seed: int, clips: Sequence[Address], views: int, frames: int) -> np.ndarray:
    """Return the draws of random views of some frames of clips, float32 [C, V, F, P], named by `DRAWS`.

    Offsets are shares of the free play, colour factors multiply, hue is a share of a full turn, sigma in pixels.
    Frames of a clip share them, but for the colours where `config.each_frame` says so.

    Args:
        config: How far views differ.
        seed: The run's seed.
        clips: The turn of each clip and its name.
        views: Number of views, V.
        frames: Frames of each clip, F.
    """
    addresses = [(seed, "view", *clip, view) for clip in clips for view in range(views)]
    draw_CVFP = np.repeat(_draws(config, addresses).reshape(len(clips), views, 1, -1), frames, 2)
    if config.each_frame:
        own = _draws(config, [(*address, frame) for address in addresses for frame in range(frames)])
        draw_CVFP[..., COLOURS] = own.reshape(draw_CVFP.shape)[..., COLOURS]
    return draw_CVFP


def _draws(config: Views, addresses: Sequence[tuple[int | str, ...]]) -> np.ndarray:
    dy, dx, flip, jitter, *factors, hue, grey, sigma = uniforms(len(DRAWS) + 1, addresses).T
    jittered = jitter < config.jitter
    factors = [np.where(jittered, 1 + config.colour * (2 * factor - 1), 1) for factor in factors]
    hue = np.where(jittered, config.hue * (2 * hue - 1), 0)
    columns = (dy, dx, flip < config.flip, *factors, hue, grey < config.grey, config.blur * sigma)
    return np.stack(columns, 1).astype(np.float32)


def no_view() -> np.ndarray:
    """Return the draws of the plain view: centre crop, no flip, no change of colour, no blur."""
    return np.array((0.5, 0.5, 0, 1, 1, 1, 0, 0, 0), np.float32)
