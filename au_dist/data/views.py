"""Views of a frame: random crops, flips and colours whose every draw belongs to (seed, epoch, clip, view).

Drawing (numpy, one small vector a view) is apart from applying (torch, a batch at once, on any device), so the same
clip gets the same view on any worker.
"""

from collections.abc import Sequence

import numpy as np
import torch

from au_dist.config.sections import Views
from au_dist.core.seeds import uniforms

#: What a view draws, in this order.
DRAWS = ("dy", "dx", "flip", "brightness", "contrast", "saturation", "hue", "grey", "sigma")

#: Those of them that frames of a clip may have of their own; where a face is and which way it looks they share.
COLOURS = [DRAWS.index(name) for name in ("brightness", "contrast", "saturation", "hue", "grey")]

MEAN_C = (0.485, 0.456, 0.406)
STD_C = (0.229, 0.224, 0.225)

#: Images that are worked on at once on a CPU: more do not stay in its cache (docs/decisions/0007).
IN_CACHE = 16


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


def plain_views(frame_BHWC: np.ndarray, size: int, device: torch.device) -> torch.Tensor:
    """Return frames, uint8 RGB, in their plain view as normalised network input on a device."""
    frame_BCHW = torch.from_numpy(frame_BHWC).permute(0, 3, 1, 2).to(device)
    return apply_views(frame_BCHW, torch.from_numpy(no_view()).to(device).expand(len(frame_BHWC), -1), size)


def apply_views(frame_BCHW: torch.Tensor, draw_BP: torch.Tensor, size: int) -> torch.Tensor:
    """Return the views as normalised network input.

    Args:
        frame_BCHW: RGB frames, uint8 [B, 3, H, W].
        draw_BP: Draws, float32 [B, P], on the same device.
        size: Side of the result in pixels, at most H and W.

    Returns:
        float32 [B, 3, size, size], ImageNet mean and deviation.
    """
    if frame_BCHW.device.type != "cpu":
        return _views(frame_BCHW, draw_BP, size)
    parts = zip(frame_BCHW.split(IN_CACHE), draw_BP.split(IN_CACHE), strict=True)
    return torch.cat([_views(frames, draws, size) for frames, draws in parts])


def _views(frame_BCHW: torch.Tensor, draw_BP: torch.Tensor, size: int) -> torch.Tensor:
    dy, dx, flip, *factors, hue, grey, sigma = draw_BP.unbind(1)
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in factors)
    x = _crop(frame_BCHW, dy, dx, flip > 0.5, size).float()
    x.mul_(brightness / 255).clamp_(0, 1)
    x = _away(x, _luma(x).mean((2, 3), keepdim=True), contrast)
    x = _away(x, _luma(x), saturation)
    x = _turn_hue(x, hue).clamp_(0, 1)
    x = torch.where(grey[:, None, None, None] > 0.5, _luma(x), x)
    x = _blur(_blur(x, sigma, 2), sigma, 3)
    mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (MEAN_C, STD_C))
    return x.sub_(mean).div_(std)


def _crop(frame_BCHW: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor, flip: torch.Tensor, size: int) -> torch.Tensor:
    """Cut a window of `size` at a share of the free play, mirrored where `flip`."""
    height, width = frame_BCHW.shape[-2:]
    row_B, column_B = ((share * (side - size)).round().long() for share, side in ((dy, height), (dx, width)))
    windows = frame_BCHW.unfold(2, size, 1).unfold(3, size, 1)
    crop = windows[torch.arange(len(row_B), device=row_B.device), :, row_B, column_B]
    return torch.where(flip[:, None, None, None], crop.flip(3), crop)


def _away(x_BCHW: torch.Tensor, from_B1HW: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Multiply in place how far images are from others."""
    return x_BCHW.mul_(factor).add_(from_B1HW * (1 - factor)).clamp_(0, 1)


def _luma(x_BCHW: torch.Tensor) -> torch.Tensor:
    red, green, blue = x_BCHW.unbind(1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None]


def _turn_hue(x_BCHW: torch.Tensor, hue_B: torch.Tensor) -> torch.Tensor:
    """Rotate colours about the grey axis by `hue_B` turns (Rodrigues' formula)."""
    angle = hue_B * (2 * torch.pi)
    axis = 3**-0.5
    cross_CC = torch.tensor([[0.0, -axis, axis], [axis, 0.0, -axis], [-axis, axis, 0.0]], device=x_BCHW.device)
    third_CC = torch.full((3, 3), 1 / 3, device=x_BCHW.device)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    turn_BCC = cos * torch.eye(3, device=x_BCHW.device) + sin * cross_CC + (1 - cos) * third_CC
    return torch.bmm(turn_BCC, x_BCHW.flatten(2)).view_as(x_BCHW)


def _blur(x_BCHW: torch.Tensor, sigma_B: torch.Tensor, dim: int) -> torch.Tensor:
    """Blur each image along one side with its own 3-tap Gaussian; a sigma of 0 leaves it as it is."""
    side_B = torch.exp(-0.5 / sigma_B.clamp(min=1e-3) ** 2)
    centre, side = ((weight / (1 + 2 * side_B))[:, None, None, None] for weight in (torch.ones_like(side_B), side_B))
    blurred, shifted, last = x_BCHW * centre, x_BCHW * side, x_BCHW.shape[dim] - 1
    for here, there in ((1, 0), (0, 1)):
        blurred.narrow(dim, here, last).add_(shifted.narrow(dim, there, last))
    for border in (0, last):
        # Beyond the border lies what is at the border.
        blurred.narrow(dim, border, 1).add_(shifted.narrow(dim, border, 1))
    return blurred
