"""Soft masks and coordinate grids: what the synthetic faces are drawn with.

Lengths are shares of the side of the crop; the origin is the middle between the eyes, x to the right and y downwards.
"""

import math
from dataclasses import dataclass

import numpy as np

from au_dist.core.schema import CropRecipe

Field = np.ndarray  # float32 [H, W]


def edge(distance: Field, width: float) -> Field:
    """Return a ramp from 0 to 1 of the given width, 0.5 where the distance is 0."""
    return np.clip(distance * (1.0 / width) + 0.5, 0.0, 1.0)


def bell(distance: Field, width: float) -> Field:
    """Return ``exp(-(distance / width)^2)``."""
    scaled = distance * (1.0 / width)
    scaled *= scaled
    np.negative(scaled, out=scaled)
    return np.exp(scaled, out=scaled)


def spot(x: Field, y: Field, cx: float, cy: float, sx: float, sy: float) -> Field:
    """Return a Gaussian blob of height 1 at (cx, cy)."""
    dx, dy = (x - cx) * (1.0 / sx), (y - cy) * (1.0 / sy)
    dx *= dx
    dy *= dy
    dx += dy
    np.negative(dx, out=dx)
    return np.exp(dx, out=dx)


def over(rgb: np.ndarray, mask: Field, colour: np.ndarray) -> None:
    """Paint a colour over an image in place.

    Args:
        rgb: Image, float32 [3, H, W].
        mask: Opacity, float32 [H, W].
        colour: Colour, float32 [3, 1, 1] or [3, H, W].
    """
    for plane, paint in zip(rgb, colour, strict=True):  # plane by plane: the work stays in the cache
        step = paint - plane
        step *= mask
        plane += step


def rows_between(y: Field, top: float, bottom: float) -> slice:
    """Return the rows of a grid in which some y lies between top and bottom."""
    ends = np.stack([y[:, 0], y[:, y.shape[1] // 2], y[:, -1]])
    inside = np.flatnonzero((ends.max(axis=0) > top) & (ends.min(axis=0) < bottom))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def linear(red: float, green: float, blue: float) -> np.ndarray:
    """Return a display colour (0 to 255) as linear light, float32 [3, 1, 1]."""
    return ((np.array([red, green, blue], np.float32) / 255.0) ** 2.2).reshape(3, 1, 1)


@dataclass(frozen=True)
class View:
    """How the head sits in the crop, for one frame.

    Attributes:
        yaw: Turn to the side in radians.
        pitch: Nod in radians, positive when the chin goes down.
        roll: What alignment left of the tilt, in radians.
        dx: Alignment error to the right, as a share of the side.
        dy: Alignment error downwards.
        zoom: Alignment error of the scale, 1 for none.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0


@dataclass(frozen=True, eq=False)
class Projection:
    """The view as linear maps between face coordinates (x, y, z) and pixels.

    ``x = at_x + slope_x * z`` and ``y = at_y + slope_y * z`` are the face coordinates of each pixel when the depth
    there is ``z``; ``towards`` (3) gives the depth along the optical axis, ``spin`` (3, 3) turns face into camera.
    """

    at_x: Field
    at_y: Field
    slope_x: float
    slope_y: float
    towards: tuple[float, float, float]
    spin: np.ndarray


def project(view: View, recipe: CropRecipe, pixels: int, eye_depth: float) -> Projection:
    """Put the eye centres of a turned head where the crop recipe wants them.

    Args:
        view: Pose and alignment error.
        recipe: Crop recipe; ``eye_y`` and ``eye_distance`` are used.
        pixels: Side of the square grid.
        eye_depth: Depth z of the eye centres, which sit at x = ±eye_distance / 2 and y = 0.
    """
    cy, sy, cp, sp = math.cos(view.yaw), math.sin(view.yaw), math.cos(view.pitch), math.sin(view.pitch)
    turn = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    nod = np.array([[1.0, 0.0, 0.0], [0.0, cp, sp], [0.0, -sp, cp]])
    spin = turn @ nod
    half = recipe.eye_distance / 2
    left, right = (complex(*(spin @ np.array([side * half, 0.0, eye_depth]))[:2]) for side in (-1, 1))
    target = half * view.zoom * complex(math.cos(view.roll), math.sin(view.roll))
    scale = 2 * target / (right - left)
    offset = complex(view.dx, view.dy) - scale * (left + right) / 2
    similarity = np.array([[scale.real, -scale.imag], [scale.imag, scale.real]])
    forward = similarity @ spin[:2]
    back = np.linalg.inv(forward[:, :2])
    slope = -(back @ forward[:, 2])
    column = (np.arange(pixels) + 0.5) / pixels - 0.5 - offset.real
    row = (np.arange(pixels) + 0.5) / pixels - recipe.eye_y - offset.imag
    at_x = np.add.outer(back[0, 1] * row, back[0, 0] * column).astype(np.float32)
    at_y = np.add.outer(back[1, 1] * row, back[1, 0] * column).astype(np.float32)
    towards = tuple(float(part) for part in abs(scale) * spin[2])
    return Projection(at_x, at_y, float(slope[0]), float(slope[1]), (towards[0], towards[1], towards[2]), spin)
