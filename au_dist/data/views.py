"""Views of frames, as they were drawn (`au_dist.data.draws`): crops, flips and colours of a batch, on any device."""

import numpy as np
import torch

from au_dist.core.colours import MEAN_C, STD_C
from au_dist.data.draws import no_view

#: Images that are worked on at once on a CPU: more do not stay in its cache (docs/decisions/0007).
IN_CACHE = 16


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
