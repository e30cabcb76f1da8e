"""Where and how a synthetic video is taken: background, light, camera; and how the head moves in it."""

from dataclasses import dataclass

import numpy as np

from au_dist.synthetic.face import Camera
from au_dist.synthetic.fields import View
from au_dist.synthetic.relief import Light

_POSE_LIMIT = 0.26  # radians, 15 degrees


@dataclass(frozen=True, eq=False)
class Scene:
    """One video: what stays and what moves, T frames.

    ``backdrop`` is linear light, float32 [3, size, size]; ``lids_T`` is 1 for open eyes and 0 for shut ones.
    """

    backdrop: np.ndarray
    light: Light
    camera: Camera
    view_T: tuple[View, ...]
    lids_T: np.ndarray
    gaze_T2: np.ndarray


def smooth_noise(draw: np.random.Generator, frames: int, scale: float) -> np.ndarray:
    """Return unit-variance noise that is smooth over about ``scale`` frames, float64 [frames]."""
    reach = max(1, int(4 * scale))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(scale, 1e-6)) ** 2)
    kernel /= np.sqrt(np.sum(kernel**2))
    return np.convolve(draw.standard_normal(frames + 2 * reach), kernel, mode="valid")


def _enlarge(coarse: np.ndarray, size: int) -> np.ndarray:
    """Return a picture [3, n, n] stretched to [3, size, size] with soft transitions."""
    at = np.linspace(0, coarse.shape[1] - 1, size)
    low = np.minimum(at.astype(int), coarse.shape[1] - 2)
    part = (at - low).astype(np.float32)
    rows = coarse[:, low] * (1 - part)[:, None] + coarse[:, low + 1] * part[:, None]
    return rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part


def draw_scene(draw: np.random.Generator, frames: int, fps: float, size: int) -> Scene:
    """Draw a video's scene.

    Args:
        draw: The generator of the video's address.
        frames: Number of frames, T.
        fps: Frames per second.
        size: Side of the crop in pixels.
    """
    base = draw.uniform(0.02, 0.6) * np.exp(draw.normal(0.0, 0.25, 3))
    texture = draw.uniform(0.05, 0.6) * (draw.normal(0.0, 1.0, (1, 5, 5)) + 0.25 * draw.normal(0.0, 1.0, (3, 5, 5)))
    coarse = np.clip(base[:, None, None] * np.exp(texture), 0.0, 1.0)
    azimuth, height = draw.uniform(-1.2, 1.2), draw.uniform(0.1, 1.0)
    direction = (np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height))
    ambient = draw.uniform(0.35, 0.75)
    warmth = draw.normal(0.0, 0.09)
    light = Light(
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        ambient=float(ambient),
        diffuse=float(1.15 - ambient),
        tint=(float(1.0 + warmth), 1.0, float(1.0 - warmth)),
    )
    camera = Camera(
        exposure=float(np.exp(np.clip(draw.normal(0.0, 0.20), -0.45, 0.35))),
        gamma=float(draw.uniform(1.9, 2.5)),
        blur=float(draw.uniform(0.0, 0.16)),
        noise=float(draw.uniform(0.004, 0.026)),
    )
    slow, quick = 0.9 * fps, 0.25 * fps
    sway = draw.uniform(0.02, 0.08)
    yaw = np.clip(draw.normal(0.0, 0.11) + sway * smooth_noise(draw, frames, slow), -_POSE_LIMIT, _POSE_LIMIT)
    pitch = np.clip(draw.normal(0.0, 0.08) + 0.8 * sway * smooth_noise(draw, frames, slow), -_POSE_LIMIT, _POSE_LIMIT)
    # What a landmark detector leaves behind: a slow error and a small jitter of every frame.
    roll = 0.02 * smooth_noise(draw, frames, slow) + draw.normal(0.0, 0.006, frames)
    shift = [0.006 * smooth_noise(draw, frames, slow) + draw.normal(0.0, 0.0025, frames) for _ in range(2)]
    zoom = np.exp(0.015 * smooth_noise(draw, frames, slow) + draw.normal(0.0, 0.004, frames))
    views = tuple(
        View(float(yaw[t]), float(pitch[t]), float(roll[t]), float(shift[0][t]), float(shift[1][t]), float(zoom[t]))
        for t in range(frames)
    )
    gaze = np.stack(
        [np.clip(0.006 * smooth_noise(draw, frames, quick) + draw.normal(0.0, 0.004), -0.02, 0.02) for _ in range(2)],
        -1,
    )
    gaze[:, 1] *= 0.5
    return Scene(_enlarge(coarse.astype(np.float32), size), light, camera, views, _blinks(draw, frames, fps), gaze)


def _blinks(draw: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """Return the opening of the eyes: 15 blinks a minute, a third of a second each; float64 [frames]."""
    lids = np.ones(frames)
    time = np.arange(frames) / fps
    for start in draw.uniform(-0.4, frames / fps, draw.poisson(0.25 * (frames / fps + 0.4))):
        lids = np.minimum(lids, np.clip(np.abs(time - start - 0.16) / 0.12 - 0.15, 0.05, 1.0))
    return lids
