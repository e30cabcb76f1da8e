"""The relief of a face and the light on it: bone, nose and lips by identity; folds, bulges and pits by action unit."""

from dataclasses import dataclass

import numpy as np

from au_dist.synthetic.fields import Field, Projection, bell, edge, rows_between, spot
from au_dist.synthetic.identity import Identity
from au_dist.synthetic.shape import Lines, Shape, lines_in

_EYE_CORNER = 0.275  # where crow's feet begin


@dataclass(frozen=True)
class Light:
    """Light of a scene: direction from the face (x right, y down, z to the camera), strengths and colour."""

    direction: tuple[float, float, float] = (-0.4, -0.5, 0.77)
    ambient: float = 0.45
    diffuse: float = 0.70
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


def _head(who: Identity, x: Field, y: Field) -> Field:
    wide, tall = x * (1.0 / (1.10 * who.face_w)), (y - 0.08) * (1.0 / 0.62)
    r2 = wide * wide + tall * tall
    return np.maximum(who.depth * (1.0 - 0.40 * r2 - 0.60 * r2 * r2), -0.35)


def _nose(who: Identity, across: Field, y: Field) -> Field:
    down = np.clip((y + 0.05) * (1.0 / (who.nose_len + 0.03)), 0.0, 1.05)
    ridge = who.nose_h * (0.12 + 0.88 * down * down) * edge(y + 0.05, 0.08) * edge(who.nose_len + 0.002 - y, 0.035)
    return ridge * np.exp(-((across / (who.bridge_w * (0.75 + 0.55 * down))) ** 2))


def place(who: Identity, grid: Projection) -> tuple[Field, Field]:
    """Return the face coordinates x and y that each pixel sees, float32 [H, W] each.

    The depth that a pixel sees depends on where it looks: two rounds of substitution are enough for 20 degrees.
    """
    x, y = grid.at_x, grid.at_y
    z = _head(who, x, y)
    for turn in range(2):
        x, y = grid.at_x + grid.slope_x * z, grid.at_y + grid.slope_y * z
        if turn == 0:
            z = _head(who, x, y) + _nose(who, np.abs(x), y)
    return x, y


def eye_depth(who: Identity) -> float:
    """Return the depth z of the eye centres."""
    point = np.array([[0.19]], np.float32)
    return float(_head(who, point, point * 0)[0, 0])


@dataclass(frozen=True, eq=False)
class Patch:
    """Some rows of a face in the making: depth and occlusion, changed in place, and where they are; float32 [H, W]."""

    z: Field
    dark: Field
    lines: Lines
    x: Field
    across: Field
    y: Field


def _patch_rows(patch: Patch, rows: slice) -> Patch:
    x, across, y = patch.x[rows], patch.across[rows], patch.y[rows]
    return Patch(patch.z[rows], patch.dark[rows], lines_in(patch.lines, rows), x, across, y)


def _cut(patch: Patch, mask: Field, depth: float, shade: float) -> None:
    """Cut a fold where the mask is 1: so deep as a share of the side, so dark from 0 to 1."""
    np.subtract(patch.z, depth * mask, out=patch.z)
    np.add(patch.dark, shade * mask, out=patch.dark)


def raise_relief(who: Identity, shape: Shape, lines: Lines, x: Field, y: Field) -> tuple[Field, Field]:
    """Return the depth z of the face and how much its folds darken it.

    Args:
        who: The subject.
        shape: The frame's shape.
        lines: The frame's curves.
        x: Face coordinate to the right, float32 [H, W].
        y: Face coordinate downwards, float32 [H, W].

    Returns:
        Depth as a share of the side, and occlusion 0 to 1; float32 [H, W] each.
    """
    au, across = shape.au, np.abs(x)
    z = _head(who, x, y) + _nose(who, across, y)
    dark = np.zeros_like(z)

    patch = Patch(z, dark, lines, x, across, y)

    # Bone and soft tissue of the resting face.
    z += 0.012 * bell(lines.brow - 0.004, 0.035) * edge(0.34 - across, 0.1)
    z -= who.socket * spot(across, y, 0.165, -0.012, 0.10, 0.050)
    dark += 2.5 * who.socket * spot(across, y, 0.085, -0.012, 0.035, 0.045)
    z += who.cheek * spot(across, y, 0.245, 0.15, 0.10, 0.10)
    z += 0.020 * spot(x, y, 0.0, shape.mouth_y, 0.17, 0.10)
    wing_y = who.nose_len - 0.026 - 0.016 * au[9] - 0.011 * au[10]
    wing_x = who.nose_w * 0.72 + 0.008 * au[9] + 0.006 * au[10] + 0.004 * au[12]
    z += 0.036 * spot(across, y, wing_x, wing_y, 0.026, 0.026)
    _cut(patch, bell(across - wing_x - 0.026, 0.012) * bell(y - wing_y - 0.006, 0.026), 0.004, 0.16)
    z -= 0.005 * bell(across, 0.016) * bell(y - 0.5 * (who.nose_len + shape.mouth_y) + 0.02, 0.040)  # philtrum

    for fold, top, bottom in _FOLDS:  # each in its rows only, which halves the time
        fold(who, shape, _patch_rows(patch, rows_between(y, top, bottom)))
    return z, np.minimum(dark, 0.85)


def _brow_folds(who: Identity, shape: Shape, patch: Patch) -> None:
    au, z, across, y = shape.au, patch.z, patch.across, patch.y
    worn = 0.12 * who.age
    for level, height in enumerate((-0.185, -0.222, -0.260)):
        outside = edge(across - 0.14, 0.10)
        lifted = 0.75 * (au[1] + (au[2] - au[1]) * outside)
        wave = y - height + (0.020 * au[1] + 0.020 * au[2]) * (1.0 - level * 0.2) + 0.010 * np.cos(14.0 * across)
        _cut(patch, bell(wave, 0.0085) * edge(0.26 - across, 0.16) * (worn + lifted), 0.0035, 0.22)
    frown = au[4] + 0.4 * au[9]
    if frown > 0:
        z += (0.014 * frown) * spot(across, y, 0.045, who.brow_y + 0.020, 0.035, 0.03)
        furrow = bell(across - 0.026 + 0.05 * (y - who.brow_y), 0.009) * bell(y - who.brow_y - 0.004, 0.050)
        _cut(patch, furrow, 0.007 * frown, 0.42 * frown)
    if au[9] > 0:
        z += (0.012 * au[9]) * spot(across, y, 0.050, 0.075, 0.022, 0.060)
        bands = 0.5 + 0.5 * np.cos((y - 0.02) * (6.2832 / 0.034) - 60.0 * across)
        _cut(patch, bands * spot(across, y, 0.022, 0.030, 0.045, 0.055), 0.005 * au[9], 0.40 * au[9])


def _eye_folds(who: Identity, shape: Shape, patch: Patch) -> None:
    au, z, lines, across, y = shape.au, patch.z, patch.lines, patch.across, patch.y
    within = edge(1.05 - np.abs(lines.eye_t), 0.25)
    lift = 0.014 + 0.006 * (au[1] + au[2]) - 0.008 * au[5] - 0.004 * au[4]
    _cut(
        patch, bell(y - lines.lid_top + max(lift, 0.004), 0.007) * within, 0.002, 0.30 * who.crease * (1 - 0.4 * au[5])
    )
    z += 0.020 * bell(y - 0.5 * (lines.lid_top + lines.lid_bottom), 0.05) * within * bell(lines.eye_t, 0.9)
    pouch = 0.25 * who.age + 0.75 * au[6] + 0.9 * au[7]
    z += (0.010 * pouch) * bell(y - lines.lid_bottom - 0.014, 0.011) * within
    _cut(patch, bell(y - lines.lid_bottom - 0.032 + 0.010 * au[6], 0.009) * within, 0.004 * pouch, 0.05 + 0.28 * pouch)
    feet = 0.15 * who.age + au[6]
    if feet > 0.02:
        far = np.clip((across - _EYE_CORNER) * 20.0, 0.0, 1.0) * edge(0.338 - across, 0.05)
        fan = 0.5 + 0.5 * np.cos((y + 0.005) / (0.030 + 0.30 * np.maximum(across - _EYE_CORNER, 0.0)) * 6.2832)
        _cut(patch, far * fan * bell(y - 0.006, 0.036), 0.0045 * feet, 0.32 * feet)


def _cheek_folds(who: Identity, shape: Shape, patch: Patch) -> None:
    au, z, across, y = shape.au, patch.z, patch.across, patch.y
    if au[6] > 0:
        z += (0.034 * au[6]) * spot(across, y, 0.225, 0.105, 0.075, 0.050)
    if au[12] > 0:
        z += (0.030 * au[12]) * spot(across, y, 0.215, 0.180, 0.070, 0.065)
    if au[26] > 0:  # a dropped jaw hollows the cheeks
        z -= (0.024 * au[26]) * spot(across, y, 0.23, 0.30, 0.07, 0.12)
    # The nasolabial fold runs from the nose wing to beside the mouth corner; the cheek hangs over it.
    top_x, top_y = who.nose_w * 0.72 + 0.030, who.nose_len - 0.050 - 0.018 * au[10] - 0.018 * au[9]
    end_x, end_y = shape.mouth_w + 0.040 + 0.014 * au[12], shape.mouth_y + 0.020 + 0.6 * min(shape.corner, 0.0)
    part = (y - top_y) * (1.0 / (end_y - top_y))
    inside = np.clip(part, 0.0, 1.0)
    off = across - top_x - (end_x - top_x) * (0.35 * inside * inside + 0.65 * inside)
    off -= (0.072 * au[12]) * inside * (1.0 - inside)
    smile, sneer = au[12] + 0.25 * au[6] + 0.25 * au[20], au[10] + 0.8 * au[9]
    deep = who.fold + 0.25 * who.age + 0.72 * smile + sneer * (1.20 - 0.75 * inside) - 0.2 * shape.au[26]
    deep = np.maximum(deep, 0.0) * edge(part + 0.02, 0.30) * edge(0.95 - part, 0.50)
    _cut(patch, bell(off, 0.015) * deep, 0.005, 0.22)
    z += 0.008 * deep * edge(off - 0.012, 0.05) * bell(off, 0.07)


def _mouth_folds(who: Identity, shape: Shape, patch: Patch) -> None:
    au, z, lines, x, across, y = shape.au, patch.z, patch.lines, patch.x, patch.across, patch.y
    mid_up, mid_low = 0.5 * (lines.lip_top + lines.inner_top), 0.5 * (lines.lip_bottom + lines.inner_bottom)
    press = au[24] + 0.5 * au[23]
    z += 0.012 * bell(y - mid_up, shape.lip_up * 0.7 + 0.006) * lines.mouth_q
    z += (0.016 + 0.006 * au[17]) * bell(y - mid_low, shape.lip_low * 0.7 + 0.006) * lines.mouth_q
    if press > 0:
        z += (0.016 * press) * bell(y - lines.lip_top + 0.018, 0.014) * lines.mouth_q
        z += (0.016 * press) * bell(y - lines.lip_bottom - 0.016, 0.014) * lines.mouth_q
    if au[23] > 0:  # fine vertical creases of tightened lips
        pleats = (0.5 + 0.5 * np.cos(across * (6.2832 / 0.026))) * lines.mouth_q
        _cut(patch, pleats * (bell(y - lines.lip_top + 0.014, 0.016) + bell(y - lines.lip_bottom - 0.012, 0.014)),
               0.002 * au[23], 0.20 * au[23])  # fmt: skip
    end_y = shape.mouth_y + shape.corner
    # Corners: a soft pit always, deeper when pulled (12), a round dimple beside it (14), a furrow under it (15).
    _cut(
        patch, spot(across, y, shape.mouth_w + 0.004, end_y, 0.016, 0.014), 0.004, 0.16 + 0.20 * au[12] + 0.12 * au[24]
    )
    if au[14] > 0:
        _cut(patch, spot(across, y, shape.mouth_w + 0.020, end_y - 0.004, 0.014, 0.026), 0.016 * au[14], 0.60 * au[14])
        z += (0.014 * au[14]) * spot(across, y, shape.mouth_w + 0.052, end_y - 0.004, 0.022, 0.045)
    if au[15] > 0:
        slant = across - shape.mouth_w - 0.012 - 0.35 * (y - end_y)
        _cut(patch, bell(slant, 0.011) * bell(y - end_y - 0.030, 0.034), 0.008 * au[15], 0.42 * au[15])
    if au[20] > 0:
        _cut(patch, bell(across - shape.mouth_w - 0.020, 0.013) * bell(y - end_y, 0.055), 0.006 * au[20], 0.30 * au[20])
    under = 0.5 * (who.mouth_y + who.lip_low + who.chin_y - 0.05)
    under += 0.035 * au[26] - 0.012 * au[17]
    _cut(patch, bell(y - under + 0.25 * across * across, 0.017) * bell(across, 0.085), 0.006 + 0.007 * au[17],
           0.08 + 0.26 * au[17])  # fmt: skip
    chin_y = shape.chin_y - 0.055
    z += (0.016 + 0.024 * au[17]) * spot(x, y, 0.0, chin_y, 0.075, 0.050)
    if au[17] > 0:  # the chin boss wrinkles like orange peel
        peel = np.cos(x * (6.2832 / 0.034) + 1.0) * np.cos(y * (6.2832 / 0.030) + 26.0 * x)
        _cut(patch, (0.5 + 0.5 * peel) * spot(x, y, 0.0, chin_y - 0.004, 0.070, 0.042), 0.006 * au[17], 0.42 * au[17])


# What is done in which rows: top and bottom in face coordinates.
_FOLDS = (
    (_brow_folds, -0.36, 0.20),
    (_eye_folds, -0.12, 0.12),
    (_cheek_folds, -0.03, 0.56),
    (_mouth_folds, 0.20, 0.66),
)


def shine(z: Field, x: Field, y: Field, grid: Projection, light: Light) -> tuple[Field, Field]:
    """Return the brightness that light gives to a relief.

    Args:
        z: Depth, share of the side, float32 [H, W].
        x: Face coordinate to the right.
        y: Face coordinate downwards.
        grid: The view.
        light: The scene's light.

    Returns:
        Diffuse brightness (1 is a surface in ordinary light) and highlight strength, float32 [H, W] each.
    """
    pixels = z.shape[0]
    depth = grid.towards[0] * x + grid.towards[1] * y + grid.towards[2] * z
    right, down = np.empty_like(depth), np.empty_like(depth)
    np.subtract(depth[:, 2:], depth[:, :-2], out=right[:, 1:-1])
    right[:, 0], right[:, -1] = right[:, 1], right[:, -2]
    np.subtract(depth[2:], depth[:-2], out=down[1:-1])
    down[0], down[-1] = down[1], down[-2]
    right *= -0.5 * pixels
    down *= -0.5 * pixels
    norm = 1.0 / np.sqrt(1.0 + right * right + down * down)
    lx, ly, lz = light.direction
    facing = (lx * right + ly * down + lz) * norm
    sky = 0.80 - 0.20 * down * norm
    bright = light.ambient * sky + light.diffuse * np.clip((facing + 0.15) * (1.0 / 1.15), 0.0, None)
    # Blinn's half vector between the light and the camera.
    half = np.array([lx, ly, lz + 1.0])
    hx, hy, hz = (float(part) for part in half / np.linalg.norm(half))
    glint = np.clip((hx * right + hy * down + hz) * norm, 0.0, 1.0)
    for _ in range(4):
        glint *= glint
    return bright, glint
