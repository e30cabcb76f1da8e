"""Who a synthetic face is: proportions, skin, hair, glasses, habits of movement."""

from dataclasses import dataclass

import numpy as np

from au_dist.synthetic.fields import linear

_SKIN = np.array(
    [(250, 222, 204), (240, 201, 176), (226, 180, 148), (202, 150, 114), (172, 120, 86), (136, 92, 66), (104, 69, 52)],
    np.float64,
)
_HAIR = ((24, 20, 20), (45, 32, 26), (80, 54, 36), (122, 84, 52), (178, 138, 86), (140, 66, 34), (150, 148, 146))
_HAIR_SHARE = (0.26, 0.24, 0.18, 0.10, 0.09, 0.05, 0.08)
_IRIS = ((58, 38, 26), (92, 62, 38), (84, 112, 140), (96, 122, 92), (112, 118, 124))
_FRAMES = ((22, 22, 24), (70, 44, 28), (120, 30, 34), (150, 150, 155), (32, 42, 80))


@dataclass(frozen=True, eq=False)
class Identity:
    """What does not change between the frames of one subject. Lengths are shares of the side of the crop.

    Colours are linear light, float32 [3, 1, 1]; ``lean`` is the share by which an action unit is stronger on the
    right-hand side of the picture, indexed by its number.
    """

    face_w: float
    jaw: float
    chin_square: float
    chin_y: float
    depth: float
    brow_y: float
    brow_thick: float
    brow_arch: float
    brow_tilt: float
    brow_inner: float
    brow_outer: float
    brow_density: float
    eye_w: float
    eye_up: float
    eye_low: float
    eye_tilt: float
    socket: float
    crease: float
    iris_r: float
    lashes: float
    nose_len: float
    nose_w: float
    nose_h: float
    bridge_w: float
    mouth_y: float
    mouth_w: float
    lip_up: float
    lip_low: float
    corner: float
    cheek: float
    fold: float
    age: float
    gloss: float
    beard: float
    moustache: float
    hair_y: float
    hair_drop: float
    hair_power: int
    hair_long: float
    hair_volume: float
    bald: bool
    parting: float
    ear: float
    glasses: bool
    glasses_w: float
    glasses_h: float
    glasses_round: float
    glasses_rim: float
    glasses_tint: float
    skin: np.ndarray
    lip: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    iris: np.ndarray
    rim: np.ndarray
    shirt: np.ndarray
    moles: tuple[tuple[float, float, float], ...]
    phase: tuple[float, ...]
    lean: tuple[float, ...]


def draw_identity(draw: np.random.Generator) -> Identity:
    """Draw a subject.

    Args:
        draw: The generator of the subject's address; the same one gives the same subject.
    """

    def between(low: float, high: float) -> float:
        return float(draw.uniform(low, high))

    def chance(share: float) -> bool:
        return bool(draw.random() < share)

    tone = between(0.0, len(_SKIN) - 1.001)
    low = int(tone)
    skin_srgb = _SKIN[low] + (tone - low) * (_SKIN[low + 1] - _SKIN[low]) + draw.normal(0.0, 3.0, 3)
    dark = tone / (len(_SKIN) - 1)
    shares = np.array(_HAIR_SHARE)
    if dark > 0.45:  # fair hair and dark skin are rare together
        shares = shares * np.array([1, 1, 0.4, 0.05, 0.02, 0.02, 0.5])
    hair_srgb = np.array(_HAIR[int(draw.choice(len(_HAIR), p=shares / shares.sum()))]) * between(0.8, 1.2)
    iris_srgb = np.array(_IRIS[int(draw.integers(2 if dark > 0.5 else len(_IRIS)))]) * between(0.85, 1.2)
    painted = chance(0.3)
    lip_srgb = skin_srgb * np.array([0.86, 0.58, 0.58]) + np.array([16, 0, 4])
    if painted:
        lip_srgb = 0.5 * lip_srgb + 0.5 * np.array([165, 48, 62])
    bearded = not painted and chance(0.42)
    style = int(draw.choice(4, p=(0.45, 0.33, 0.12, 0.10)))  # short, long, fringe, bald
    style = 0 if style == 1 and bearded and chance(0.8) else style
    skin, lip = linear(*np.clip(skin_srgb, 20, 252)), linear(*np.clip(lip_srgb, 20, 235))
    hair = linear(*np.clip(hair_srgb, 10, 235))
    return Identity(
        face_w=between(0.350, 0.408),
        jaw=between(0.22, 0.50),
        chin_square=between(0.2, 0.8),
        chin_y=between(0.515, 0.575),
        depth=between(0.28, 0.36),
        brow_y=between(-0.122, -0.092),
        brow_thick=between(0.013, 0.026),
        brow_arch=between(0.002, 0.024),
        brow_tilt=between(-0.018, 0.016),
        brow_inner=between(0.062, 0.092),
        brow_outer=between(0.285, 0.325),
        brow_density=between(0.55, 0.95),
        eye_w=between(0.080, 0.098),
        eye_up=between(0.029, 0.041),
        eye_low=between(0.017, 0.025),
        eye_tilt=between(-0.006, 0.014),
        socket=between(0.012, 0.040),
        crease=between(0.1, 0.8),
        iris_r=between(0.031, 0.037),
        lashes=between(0.35, 1.0) if painted else between(0.2, 0.6),
        nose_len=between(0.205, 0.250),
        nose_w=between(0.066, 0.100),
        nose_h=between(0.075, 0.125),
        bridge_w=between(0.026, 0.040),
        mouth_y=between(0.342, 0.382),
        mouth_w=between(0.116, 0.148),
        lip_up=between(0.015, 0.030),
        lip_low=between(0.022, 0.036),
        corner=between(-0.008, 0.008),
        cheek=between(0.006, 0.026),
        fold=between(0.0, 0.30),
        age=between(0.0, 1.0) ** 1.5,
        gloss=between(0.03, 0.14) + 0.05 * dark,
        beard=between(0.12, 0.9) if bearded else 0.0,
        moustache=between(0.1, 0.85) if bearded else 0.0,
        hair_y=between(-0.345, -0.255) if style != 2 else between(-0.215, -0.180),
        hair_drop=between(0.22, 0.38),
        hair_power=int(draw.choice((1, 2, 3))),
        hair_long=1.0 if style == 1 or (style == 2 and chance(0.6)) else 0.0,
        hair_volume=between(0.02, 0.10),
        bald=style == 3,
        parting=between(-0.25, 0.25),
        ear=between(0.7, 1.15),
        glasses=chance(0.28),
        glasses_w=between(0.115, 0.150),
        glasses_h=between(0.070, 0.115),
        glasses_round=between(0.0, 1.0),
        glasses_rim=between(0.004, 0.013),
        glasses_tint=between(0.0, 0.12),
        skin=skin,
        lip=lip,
        hair=hair,
        brow=0.60 * hair + 0.04 * skin,
        iris=linear(*np.clip(iris_srgb, 10, 220)),
        rim=linear(*_FRAMES[int(draw.integers(len(_FRAMES)))]),
        shirt=linear(*draw.uniform(20, 220, 3)),
        moles=tuple((between(-0.3, 0.3), between(-0.25, 0.45), between(0.005, 0.010)) for _ in range(draw.poisson(1))),
        phase=tuple(between(0.0, 6.28) for _ in range(8)),
        lean=tuple(float(value) for value in np.clip(draw.normal(0.0, 0.07, 28), -0.2, 0.2)),
    )
