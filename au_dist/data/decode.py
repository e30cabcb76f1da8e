"""Tensors from the bytes of frames: decoded in threads of the process, on its GPU, or before they came."""

import itertools
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

import numpy as np
import torch

from au_dist.data.jpeg import pixels, stack

#: Maps the bytes of frames to uint8 [B, 3, S, S], grey where a frame does not decode, and says which these are and why.
Decode = Callable[[list[bytes]], tuple[torch.Tensor, dict[int, str]]]


def in_threads(pool: Executor, threads: int, size: int) -> Decode:
    """Return what decodes JPEGs in threads, each its share of them at once.

    Args:
        pool: The threads.
        threads: How many they are.
        size: Side of every frame in pixels, S.
    """

    def some(jpegs: list[bytes]) -> list[np.ndarray | str]:
        return [pixels(data, size) for data in jpegs]

    def decode_all(jpegs: list[bytes]) -> tuple[torch.Tensor, dict[int, str]]:
        if threads == 1:
            return _tensors(some(jpegs), size)
        shares = [jpegs[k * len(jpegs) // threads : (k + 1) * len(jpegs) // threads] for k in range(threads)]
        return _tensors(itertools.chain.from_iterable(pool.map(some, shares)), size)

    return decode_all


def already(size: int) -> Decode:
    """Return what takes frames that a reading task has decoded; those that it could not are still JPEGs."""

    def one(data: bytes) -> np.ndarray | str:
        if len(data) == 3 * size * size:
            return np.frombuffer(data, np.uint8).reshape(size, size, 3)
        return pixels(data, size)

    return lambda jpegs: _tensors(map(one, jpegs), size)


def on_gpu(device: torch.device, size: int) -> Decode:
    """Return what decodes JPEGs on a GPU (nvJPEG); pixels differ from a CPU's by rounding."""
    from torchvision.io import ImageReadMode, decode_jpeg

    # Deprecated since 0.29 for torchcodec, which needs an FFmpeg that wheels do not bring.
    warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)

    def decoded(data: list[bytes]) -> list[torch.Tensor]:
        raw = [torch.frombuffer(bytearray(jpeg), dtype=torch.uint8) for jpeg in data]
        return decode_jpeg(raw, mode=ImageReadMode.RGB, device=device)

    def decode_all(jpegs: list[bytes]) -> tuple[torch.Tensor, dict[int, str]]:
        try:
            tensors = decoded(jpegs)
            if all(frame.shape == (3, size, size) for frame in tensors):
                return torch.stack(tensors), {}
        except (RuntimeError, ValueError):
            pass  # which of them it is, a CPU says
        frame_BCHW, faults = _tensors((pixels(data, size) for data in jpegs), size)
        return frame_BCHW.to(device), faults

    return decode_all


def _tensors(decoded: Iterable[np.ndarray | str], size: int) -> tuple[torch.Tensor, dict[int, str]]:
    frame_BHWC, faults = stack(decoded, size)
    return torch.from_numpy(frame_BHWC).permute(0, 3, 1, 2), faults
