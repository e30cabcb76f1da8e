"""Frames from JPEGs, without torch: the tasks that read do not load it."""

from collections.abc import Iterable

import numpy as np
import simplejpeg

from au_dist.core.errors import ShardError

#: What stands for a frame that does not decode.
GREY = 128


def decode(jpeg: bytes, where: str) -> np.ndarray:
    """Return a JPEG as RGB, uint8 [H, W, 3].

    Raises:
        ShardError: The bytes are not a JPEG.
    """
    try:
        return simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    except ValueError as error:
        raise ShardError("A frame does not decode", where=where, found=str(error)) from error


def pixels(data: bytes, size: int) -> np.ndarray | str:
    """Return a JPEG as RGB, uint8 [S, S, 3], or why it is none."""
    try:
        # A damaged size would ask for any amount of memory.
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (height, width) != (size, size):
            return f"{width} x {height} pixels, not {size} x {size}"
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        return str(error)


def stack(decoded: Iterable[np.ndarray | str], size: int) -> tuple[np.ndarray, dict[int, str]]:
    """Return frames as uint8 [B, S, S, 3], grey in the place of those that do not decode, and why these do not."""
    frames = list(decoded)
    frame_BHWC = np.empty((len(frames), size, size, 3), np.uint8)
    faults = {}
    for place, frame in enumerate(frames):
        if isinstance(frame, str):
            faults[place] = frame
        frame_BHWC[place] = GREY if isinstance(frame, str) else frame
    return frame_BHWC, faults
