"""Colour of the parts of a face: skin, brows, eyes, lips, hair, beard, ears, neck, glasses. All paint in place."""

import numpy as np

from au_dist.synthetic.fields import Field, bell, edge, linear, over, spot
from au_dist.synthetic.identity import Identity
from au_dist.synthetic.shape import EYE_X, Lines, Shape, brow_ends

_WHITE = linear(236, 224, 212)
_DARK = linear(26, 16, 16)
_CAVITY = linear(58, 18, 20)
_TEETH = linear(250, 240, 220)
_TONGUE = linear(168, 82, 84)


def face_mask(who: Identity, shape: Shape, x: Field, y: Field, soft: float) -> Field:
    """Return where the face is in front of ears, neck and background, float32 [H, W].

    Args:
        who: The subject.
        shape: The frame's shape.
        x: Face coordinate to the right.
        y: Face coordinate downwards.
        soft: Width of the outline, share of the side.
    """
    below = np.maximum(y - 0.10, 0.0) * (1.0 / (shape.chin_y - 0.10))
    above = np.maximum(0.10 - y, 0.0) * (1.0 / 0.62)
    t2 = below * below
    wide = who.face_w * (1.0 - who.jaw * t2 * (0.6 + 0.4 * below))
    ratio = x / np.maximum(wide, 0.05)
    inside = ratio * ratio + t2 * (who.chin_square * t2 + 1.0 - who.chin_square) + above * above
    return edge((1.0 - inside) * (0.45 * who.face_w), soft)


def skin_colour(who: Identity, x: Field, y: Field) -> np.ndarray:
    """Return the bare skin, float32 [3, H, W]: blood in cheeks, nose and chin, blotches, moles."""
    across, p = np.abs(x), who.phase
    red = 0.10 * spot(across, y, 0.23, 0.15, 0.10, 0.09) + 0.10 * spot(x, y, 0.0, who.nose_len - 0.03, 0.07, 0.05)
    blotch = np.sin(19.0 * x + p[0]) * np.sin(17.0 * y + p[1])
    blotch += np.sin(41.0 * x + p[2] + 9.0 * y) * np.sin(37.0 * y + p[3])
    tone = 1.0 + 0.025 * blotch
    rgb = np.stack([tone * (1.0 + red), tone * (1.0 - red), tone * (1.0 - 0.8 * red)]).astype(np.float32)
    rgb *= who.skin
    for cx, cy, radius in who.moles:
        over(rgb, 0.7 * spot(x, y, cx, cy, radius, radius), 0.25 * who.skin)
    return rgb


def strands(who: Identity, x: Field, y: Field) -> Field:
    """Return streaks of hair around 1, float32 [H, W]."""
    p = who.phase
    flow = 70.0 * (x - who.parting) + 24.0 * np.sin(3.0 * y + p[4]) + 9.0 * np.sin(11.0 * x + p[5])
    return 1.0 + 0.24 * np.sin(flow) * np.sin(0.37 * flow + 6.0 * y + p[6])


def paint_back(rgb: np.ndarray, who: Identity, x: Field, y: Field, key: float, soft: float) -> None:
    """Paint what is behind the face: long hair, neck, shirt, ears.

    Args:
        rgb: Image in linear light, float32 [3, H, W].
        who: The subject.
        x: Coordinate to the right on a plane behind the face.
        y: Coordinate downwards on that plane.
        key: Where the light comes from, -1 left to 1 right.
        soft: Width of outlines.
    """
    across = np.abs(x)
    lit = 0.72 + 0.30 * np.clip(key * x * 3.0, -1.0, 1.0)
    if who.hair_long:
        reach = who.face_w + 0.35 * who.hair_volume + 0.035 + 0.015 * np.sin(5 * y + who.phase[7])
        over(rgb, edge(reach - across, soft * 2), who.hair * (0.55 * lit * strands(who, x, y)))
    shade = 0.34 + 0.30 * np.clip((y - 0.50) * 6.0, 0.0, 1.0)
    neck = edge(0.235 + 0.5 * np.maximum(y - 0.55, 0.0) - across, soft * 2) * edge(y - 0.25, 0.1)
    over(rgb, neck, who.skin * (shade * lit))
    over(rgb, edge(y - 0.66 + 0.12 * across, soft * 2), who.shirt * (0.8 * lit))
    if not who.hair_long:
        dx, dy = (across - who.face_w - 0.008) * (1.0 / (0.048 * who.ear)), (y - 0.065) * (1.0 / 0.105)
        ring = dx * dx + dy * dy
        over(rgb, edge(1.0 - ring, soft * 30), who.skin * (0.80 * lit))
        over(rgb, 0.5 * bell(ring - 0.35, 0.30) * edge(1.0 - ring, 0.3), who.skin * 0.35)


def paint_skin_hair(rgb: np.ndarray, who: Identity, shape: Shape, lines: Lines, x: Field, y: Field) -> None:
    """Paint beard, moustache and brows on bare skin."""
    across = np.abs(x)
    if who.beard:
        s = across * (1.0 / who.face_w)
        line = 0.345 - 0.30 * s * s * s
        grain = 0.88 + 0.12 * np.sin(97 * x + 9 * np.sin(31 * y)) * np.sin(83 * y + 7 * np.sin(37 * x))
        jaw = edge(y - line, 0.10) * edge(across + 0.9 * np.abs(y - shape.mouth_y) - 0.115, 0.07)
        lip = bell(y - 0.55 * lines.lip_top - 0.45 * who.nose_len - 0.004, 0.028)
        lip = lip * edge(shape.mouth_w + 0.03 - across, 0.06)
        over(rgb, np.maximum(who.beard * jaw, who.moustache * lip) * grain, who.hair * 0.9 + 0.04 * who.skin)
    half = lines.brow_half
    mask = edge(half - np.abs(lines.brow), 0.010) * brow_ends(lines.brow_along)
    streak = 0.92 + 0.08 * np.sin(230.0 * across + 120.0 * y)
    over(rgb, mask * streak * who.brow_density, who.brow)


def paint_eyes(rgb: np.ndarray, who: Identity, shape: Shape, lines: Lines, x: Field, y: Field, soft: float) -> None:
    """Paint whites, irises, pupils, catch lights, lashes."""
    opening = edge(y - lines.lid_top, soft) * edge(lines.lid_bottom - y, soft) * edge(1.0 - np.abs(lines.eye_t), 0.06)
    dx = x - np.where(x < 0, -EYE_X, EYE_X).astype(np.float32) - shape.gaze_x
    dy = y + 0.004 - shape.gaze_y
    ball = 1.0 - 0.30 * np.abs(lines.eye_t) - 0.45 * bell(y - lines.lid_top, 0.012)
    over(rgb, opening, _WHITE * ball)
    radius = np.sqrt(dx * dx + dy * dy)
    iris = edge(who.iris_r - radius, soft) * opening
    over(rgb, iris, who.iris * (0.6 + 0.6 * np.clip(radius * (1.0 / who.iris_r), 0, 0.8)))
    over(rgb, iris * bell(radius - who.iris_r, 0.007) * 0.6, _DARK)
    over(rgb, edge(0.45 * who.iris_r - radius, soft) * opening, _DARK * 0.5)
    over(rgb, 0.9 * spot(dx, dy, -0.010, -0.012, 0.008, 0.008) * opening, np.ones((3, 1, 1), np.float32))
    along = edge(1.06 - np.abs(lines.eye_t), 0.16)
    over(rgb, (0.45 + 0.5 * who.lashes) * bell(y - lines.lid_top + 0.001, 0.0075) * along, _DARK)
    over(rgb, (0.15 + 0.25 * who.lashes) * bell(y - lines.lid_bottom, 0.0055) * along, _DARK + 0.1 * who.skin)


def paint_mouth(rgb: np.ndarray, who: Identity, shape: Shape, lines: Lines, x: Field, y: Field, soft: float) -> Field:
    """Paint lips, seam, teeth and what is between them; return where the lips are, float32 [H, W]."""
    au = shape.au
    inside = edge(1.0 - lines.mouth_t, 0.06)
    upper = edge(y - lines.lip_top, soft) * edge(lines.inner_top + 0.002 - y, soft) * inside
    lower = edge(y - lines.inner_bottom + 0.002, soft) * edge(lines.lip_bottom - y, soft) * inside
    pale = 1.0 + 0.10 * au[24]
    over(rgb, 0.85 * upper, who.lip * (0.80 * pale))
    over(rgb, 0.85 * lower, who.lip * pale)
    if shape.gap_low > 0.003:
        gap = edge(y - lines.inner_top, soft) * edge(lines.inner_bottom - y, soft) * inside
        over(rgb, gap, _CAVITY * 0.35)
        tongue = spot(x, y, 0.0, shape.mouth_y + shape.gap_low, 0.09, 0.018)
        over(rgb, gap * tongue * (0.7 * min(1.0, 2 * au[26])), _TONGUE)
        reach = shape.gap_up + 0.012 + 0.016 * max(au[12], au[10], au[20])
        band = edge(lines.inner_top + reach - y, soft * 1.5) * edge(0.85 - lines.mouth_t, 0.25)
        over(rgb, gap * band, _TEETH * (1.15 - 0.5 * np.minimum(lines.mouth_t, 1.0)))
    thin = 0.0055 + 0.002 * au[24]
    shut = 1.0 if shape.gap_low <= 0.003 else 0.3
    seam = bell(y - lines.seam, thin) * edge(1.06 - lines.mouth_t, 0.10)
    over(rgb, min(1.0, (0.72 + 0.25 * au[24] + 0.1 * au[12])) * shut * seam, _DARK + 0.12 * who.lip)
    return np.maximum(upper, lower)


def paint_nostrils(rgb: np.ndarray, who: Identity, shape: Shape, x: Field, y: Field) -> None:
    """Paint nostrils and the shadow under the nose."""
    across, lift = np.abs(x), 0.012 * shape.au[9] + 0.007 * shape.au[10]
    wide = 0.40 * who.nose_w + 0.006 * shape.au[9] + 0.003 * shape.au[10]
    over(rgb, 0.80 * spot(across, y, wide, who.nose_len - 0.002 - lift, 0.018, 0.0095), _DARK + 0.08 * who.skin)
    over(rgb, 0.22 * bell(y - who.nose_len - 0.012, 0.016) * bell(x, 0.085), 0.2 * who.skin)


def hair_mask(who: Identity, x: Field, y: Field, soft: float) -> Field:
    """Return where hair lies over the forehead and the temples, float32 [H, W]."""
    across = np.abs(x) * (1.0 / who.face_w)
    ratio = across * across
    curve = ratio
    for _ in range(who.hair_power - 1):
        curve = curve * ratio
    shift = 0.018 * np.sin(6.0 * (x - who.parting) + who.phase[4])
    line = who.hair_y + shift + who.hair_drop * curve * np.minimum(1.0, 1.15 - 0.15 * ratio)
    if who.bald:
        return 0.8 * edge(across - 0.90, 0.10) * edge(1.07 - across, 0.05) * edge(0.05 - y, 0.06) * edge(y + 0.20, 0.14)
    ragged = 0.004 * np.sin(61.0 * x + who.phase[5]) * np.sin(23.0 * x + who.phase[6])
    if not who.hair_long:  # short hair ends above the ear
        line = np.minimum(line, 0.035 - 0.05 * (across - 0.9))
    outline = 1.0 + who.hair_volume * 2.2 - across - 0.25 * np.maximum(y, 0.0)
    return edge(line + ragged - y, 0.018 + soft) * edge(outline, 0.06)


def paint_glasses(rgb: np.ndarray, who: Identity, x: Field, y: Field, key: float, soft: float) -> None:
    """Paint glasses over everything, tint and glare included."""
    across = np.abs(x)
    dx, dy = (across - EYE_X) * (1.0 / who.glasses_w), (y - 0.012) * (1.0 / who.glasses_h)
    dx2, dy2 = dx * dx, dy * dy
    square = dx2 * dx2 + dy2 * dy2
    radius = who.glasses_round * np.sqrt(dx2 + dy2) + (1.0 - who.glasses_round) * np.sqrt(np.sqrt(square))
    away = (radius - 1.0) * (0.5 * (who.glasses_w + who.glasses_h))
    lens = edge(-away, soft)
    over(rgb, who.glasses_tint * lens, 0.3 * who.rim)
    over(rgb, 0.10 * lens * bell(dx * (1 if key < 0 else -1) + dy + 0.5, 0.35), np.ones((3, 1, 1), np.float32))
    rim = edge(who.glasses_rim - np.abs(away), soft)
    bridge = edge(who.glasses_rim * 0.9 - np.abs(y + 0.010 - 0.6 * across * across), soft)
    bridge = bridge * edge(EYE_X - who.glasses_w - across, soft)
    temple = edge(who.glasses_rim * 0.8 - np.abs(y + 0.020), soft) * edge(across - EYE_X - who.glasses_w, soft)
    over(rgb, np.maximum(np.maximum(rim, bridge), temple * edge(who.face_w - across, soft)), who.rim)
