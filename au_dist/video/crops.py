"""One face, cut out so that its eyes lie where the crop recipe wants them; and its JPEG."""

import math

import numpy as np
from PIL import Image

from au_dist.core.errors import IngestError
from au_dist.core.schema import CropRecipe

#: On a face seen from the front the eyes are as far apart as the mouth is below them; as the head turns, the eyes come
#: together and the other stays. Below the first share the eyes are taken to be no closer than it says, lest the crop
#: zoom in on an ear; from there to the second, the upright of the head increasingly comes from the line to the mouth,
#: since the line through two near points is noise.
TURNED, PROFILE = 0.65, 0.3

#: The crop is drawn this many times finer and then averaged, so that neither turning nor shrinking aliases.
FINER = 2


def eye_frame(landmarks_52: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a face is and how large and turned.

    Args:
        landmarks_52: x and y of left eye, right eye, nose, left and right corner of the mouth (left in the picture).

    Returns:
        The middle between the eyes, (2,), and the vector from the left to the right eye, (2,), in pixels; the vector
        is corrected for heads turned so far that the eyes no longer tell (see ``TURNED``).
    """
    points = np.asarray(landmarks_52, np.float64)
    middle, across = points[:2].mean(0), points[1] - points[0]
    down = points[3:].mean(0) - middle
    height, apart = float(np.hypot(*down)), float(np.hypot(*across))
    if height == 0.0:
        return middle, across
    level = np.array([down[1], -down[0]])
    trust = min(max((apart / height - PROFILE) / (TURNED - PROFILE), 0.0), 1.0)
    blended = trust * across + (1 - trust) * level
    length = max(apart, TURNED * height)
    return middle, blended * (length / max(float(np.hypot(*blended)), 1e-9))


def similarity(landmarks_52: np.ndarray, recipe: CropRecipe) -> np.ndarray:
    """Return the map from crop to frame that puts the eyes in place.

    Both sides count in pixels from the outer corner of the first pixel, so that pixel i covers [i, i + 1).

    Args:
        landmarks_52: The five points in the frame.
        recipe: Size of the crop, height and distance of the eyes in it.

    Returns:
        Affine matrix, float64 (2, 3): frame = matrix @ (x, y, 1).
    """
    middle, across = eye_frame(landmarks_52)
    a, b = across / (recipe.eye_distance * recipe.size)
    turn = np.array([[a, -b], [b, a]])
    anchor = np.array([recipe.size / 2, recipe.eye_y * recipe.size])
    return np.column_stack([turn, middle - turn @ anchor])


def crop(rgb_HWC: np.ndarray, landmarks_52: np.ndarray, recipe: CropRecipe) -> np.ndarray:
    """Cut a face out of a frame.

    What lies outside the frame is black. With ``alignment: none`` the whole frame is resized and the landmarks are
    not looked at.

    Args:
        rgb_HWC: The frame, uint8.
        landmarks_52: The five points in its pixels.
        recipe: What the crop is to be.

    Returns:
        The crop, uint8 (size, size, 3).

    Raises:
        IngestError: The landmarks are not finite, or are all in one place.
    """
    if recipe.alignment == "none":
        return _resized(rgb_HWC, recipe.size)
    if not np.isfinite(landmarks_52).all():
        raise IngestError("A face has no landmarks to align it by", expected="five points", found="NaN")
    matrix = similarity(landmarks_52, recipe)
    scale = math.hypot(*matrix[:, 0])
    if scale == 0.0:
        raise IngestError("A face has no size", expected="eyes and mouth apart", found="all points in one place")
    side = recipe.size
    height, width = rgb_HWC.shape[:2]
    corners = matrix @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    margin = math.ceil(4 * scale) + 2
    x0, y0 = np.clip(np.floor(corners.min(1)) - margin, 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(1)) + margin, 0, (width, height)).astype(int)
    if x0 >= x1 or y0 >= y1:
        return np.zeros((side, side, 3), np.uint8)
    part = Image.fromarray(np.ascontiguousarray(rgb_HWC[y0:y1, x0:x1]))
    # Whole-number averaging first: interpolation alone looks at 4 x 4 pixels, however many one crop pixel covers.
    factor = max(1, int(scale))
    if factor > 1:
        part = part.reduce(factor)
    matrix = (matrix - [[0, 0, x0], [0, 0, y0]]) / factor
    matrix[:, :2] /= FINER
    fine = part.transform(
        (side * FINER, side * FINER), Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BICUBIC
    )
    return np.asarray(fine.reduce(FINER))


def _resized(rgb_HWC: np.ndarray, side: int) -> np.ndarray:
    if rgb_HWC.shape[:2] == (side, side):
        return rgb_HWC
    # Pillow's resize widens its kernel when it shrinks, so this does not alias.
    return np.asarray(Image.fromarray(rgb_HWC).resize((side, side), Image.Resampling.BICUBIC))


def encode(crop_SSC: np.ndarray, quality: int) -> bytes:
    """Return a crop, uint8 (S, S, 3) RGB, as JPEG with colour at half resolution."""
    import simplejpeg

    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(crop_SSC), quality=quality, colorspace="RGB", colorsubsampling="420"
        )
    )
