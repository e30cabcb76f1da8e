"""What action units do to a face: intensities become positions of brows, lids, nose wings, lips, corners and chin.

The meanings are those of the Facial Action Coding System (FACS): 1 inner brow raiser, 2 outer brow raiser, 4 brow
lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener, 9 nose wrinkler, 10 upper lip raiser, 12 lip corner
puller, 14 dimpler, 15 lip corner depressor, 17 chin raiser, 20 lip stretcher, 23 lip tightener, 24 lip pressor,
25 lips part, 26 jaw drop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from au_dist.synthetic.fields import Field, bell, edge
from au_dist.synthetic.identity import Identity

#: Action units that the renderer knows.
DRAWN_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)
EYE_X = 0.19  # half of CropRecipe.eye_distance: the eye centres of every face


@dataclass(frozen=True)
class Shape:
    """Positions that one frame of one face takes, as shares of the side of the crop.

    ``au`` holds how far each action unit is on its way, 0 to 1, indexed by its number (28 values).
    """

    au: tuple[float, ...]
    chin_y: float
    mouth_y: float
    mouth_w: float
    corner: float
    gap_up: float
    gap_low: float
    lip_up: float
    lip_low: float
    lid_up: float
    lid_low: float
    open: float
    gaze_x: float
    gaze_y: float


def shape_face(
    who: Identity, intensity: Mapping[int, float], lids: float = 1.0, gaze: tuple[float, float] = (0.0, 0.0)
) -> Shape:
    """Return the shape of a face under action units.

    Args:
        who: The subject.
        intensity: Intensity 0 to 5 by action unit number; absent means 0.
        lids: Opening of the eyes that blinking leaves, 1 open, 0 shut.
        gaze: Shift of the irises to the right and downwards, as shares of the side.
    """
    # Slightly concave: level 2 must be visible at 64 pixels while level 5 stays a human face.
    au = [0.0] * 28
    for number, value in intensity.items():
        au[number] = min(max(value, 0.0) / 5.0, 1.0) ** 0.85
    drop = au[26]
    part = au[25] + 0.16 * drop
    thin = 1.0 - 0.50 * au[23] - 0.55 * au[24] - 0.22 * au[20]
    stretch = 0.042 * au[12] + 0.040 * au[20] + 0.010 * au[14]
    narrow = 1.0 - 0.20 * au[23] - 0.05 * au[24] - 0.05 * au[17] - 0.05 * drop
    return Shape(
        au=tuple(au),
        chin_y=who.chin_y + 0.060 * drop - 0.014 * au[17],
        mouth_y=who.mouth_y + 0.022 * drop - 0.003 * au[12] - 0.010 * au[9],
        mouth_w=who.mouth_w * narrow + stretch,
        corner=who.corner - 0.062 * au[12] + 0.044 * au[15] + 0.008 * au[20] - 0.006 * au[14] + 0.004 * au[17],
        gap_up=part * (0.010 + 0.006 * au[12] + 0.006 * au[10]),
        gap_low=part * (0.022 + 0.010 * au[12] + 0.052 * drop),
        lip_up=who.lip_up * max(0.25, thin - 0.20 * au[12] + 0.20 * au[10] - 0.08 * drop),
        lip_low=who.lip_low * max(0.25, thin - 0.15 * au[12] + 0.18 * au[17] - 0.05 * drop),
        lid_up=max(
            0.004,
            who.eye_up
            + 0.019 * au[5]
            + 0.003 * (au[1] + au[2])
            - 0.007 * au[7]
            - 0.004 * au[6]
            - 0.005 * au[4]
            - 0.005 * au[9],
        )
        * lids,
        lid_low=who.eye_low - 0.014 * au[7] - 0.008 * au[6] - 0.005 * au[9] + 0.002 * au[5],
        open=lids,
        gaze_x=gaze[0],
        gaze_y=gaze[1],
    )


@dataclass(frozen=True, eq=False)
class Lines:
    """The curves of a face at every pixel, float32 [H, W]: heights y of brows, lids and lips, and where they end."""

    brow: Field  # distance from the middle of the brow, downwards
    brow_half: Field  # half of its thickness
    brow_along: Field  # 0 at the inner end, 1 at the outer end
    eye_t: Field  # -1 at the inner corner, 1 at the outer one
    lid_top: Field
    lid_bottom: Field
    mouth_t: Field  # 0 in the middle, 1 at the corner
    mouth_q: Field  # 1 in the middle, 0 at the corner and outside
    seam: Field
    lip_top: Field
    inner_top: Field
    inner_bottom: Field
    lip_bottom: Field


def lines_in(lines: Lines, rows: slice) -> Lines:
    """Return the curves in some rows of the grid only."""
    return Lines(*(getattr(lines, part.name)[rows] for part in fields(Lines)))


def _lean(who: Identity, side: Field, au: int) -> Field:
    return 1.0 + who.lean[au] * side


def trace(who: Identity, shape: Shape, x: Field, y: Field) -> Lines:
    """Return the curves of a face on a grid.

    Args:
        who: The subject.
        shape: The frame's shape.
        x: Face coordinate to the right, float32 [H, W].
        y: Face coordinate downwards, float32 [H, W].
    """
    au, across, side = shape.au, np.abs(x), np.clip(x * 12.0, -1.0, 1.0)

    inner = who.brow_inner - 0.020 * au[4] - 0.006 * au[9]
    along = (across - inner) * (1.0 / (who.brow_outer - inner))
    rise = 1.0 - ((along - 0.62) * (1.0 / 0.62)) ** 2
    brow_y = who.brow_y + who.brow_tilt * (0.5 - along) - who.brow_arch * rise
    brow_y -= 0.052 * au[1] * _lean(who, side, 1) * bell(across - 0.075, 0.11)
    brow_y -= 0.048 * au[2] * _lean(who, side, 2) * bell(across - 0.27, 0.105)
    brow_y += 0.036 * au[4] * _lean(who, side, 4) * bell(across - 0.06, 0.130)
    brow_y += (0.018 * au[9]) * bell(across - 0.06, 0.10) + (0.010 * au[6]) * bell(across - 0.30, 0.08)
    brow_half = who.brow_thick * (0.80 - 0.75 * np.clip(along - 0.35, 0.0, 0.65))

    eye_t = (across - EYE_X) * (1.0 / who.eye_w)
    arc = np.clip(1.0 - eye_t * eye_t, 0.0, 1.0)
    axis = -who.eye_tilt * eye_t
    lid_top = axis - shape.lid_up * (0.45 * arc + 0.55 * np.sqrt(arc)) + 0.010 * (1.0 - shape.open)
    lid_bottom = axis + shape.lid_low * arc * (1.0 + (0.4 * au[7] + 0.2 * au[6]) * (arc - 0.8))

    t = across * (1.0 / shape.mouth_w)
    q = np.clip(1.0 - t * t, 0.0, 1.0)
    root = np.sqrt(q)
    reach = np.minimum(t, 1.25)
    corner = shape.corner + side * (-0.062 * au[12] * who.lean[12] + 0.044 * au[15] * who.lean[15])
    # AU15 turns down only the ends, AU12 lifts the whole line.
    bend = reach * reach * (1.0 - 0.5 * au[15] * (1.0 - reach))
    seam = shape.mouth_y + corner * bend + 0.004 * bell(t, 0.22) - (0.022 * au[17]) * q - (0.009 * au[10]) * root
    seam -= (0.006 * au[24]) * q
    fill = 0.65 * root + 0.35 * q
    inner_top = seam - shape.gap_up * fill
    inner_bottom = seam + shape.gap_low * fill
    bow = 1.0 + 0.16 * bell(t - 0.32, 0.2) - 0.16 * bell(t, 0.12)
    lip_top = inner_top - (shape.lip_up * fill * bow + (0.017 * au[10]) * fill * bell(t - 0.5, 0.45))
    lip_bottom = inner_bottom + shape.lip_low * (0.35 * root + 0.65 * q)
    return Lines(
        y - brow_y, brow_half, along, eye_t, lid_top, lid_bottom, t, q, seam, lip_top, inner_top, inner_bottom,
        lip_bottom,
    )  # fmt: skip


def brow_ends(along: Field) -> Field:
    """Return 1 along the brow and 0 beyond its ends, float32 [H, W]."""
    return edge(along - 0.03, 0.12) * edge(0.97 - along, 0.10)
