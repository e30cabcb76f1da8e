"""Where the eyes land, that shrinking does not alias, and that turned heads do not zoom in."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from au_dist.core.errors import IngestError
from au_dist.core.schema import CropRecipe
from au_dist.video.crops import crop, encode, eye_frame, similarity

RECIPE = CropRecipe(size=64)
UPRIGHT = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.6], [-0.4, 1.0], [0.4, 1.0]])


def landmarks(x: float, y: float, distance: float, degrees: float) -> np.ndarray:
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (UPRIGHT * distance) @ matrix.T + [x, y]


def dots(points: np.ndarray, radius: float, height: int = 700, width: int = 800) -> np.ndarray:
    """Black discs around points, in pixels whose first covers [0, 1)."""
    y, x = np.mgrid[:height, :width] + 0.5
    picture = np.full((height, width, 3), 255, np.uint8)
    for px, py in points:
        picture[np.hypot(x - px, y - py) < radius] = 0
    return picture


@given(
    st.floats(100, 400),
    st.floats(100, 300),
    st.floats(20, 200),
    st.floats(-45, 45),
)
def test_similarity_sends_the_eyes_to_their_places(x, y, distance, degrees):
    points = landmarks(x, y, distance, degrees)
    matrix = similarity(points, RECIPE)
    places = np.array([[0.31 * 64, 0.69 * 64], [0.4 * 64, 0.4 * 64], [1, 1]])
    np.testing.assert_allclose(matrix @ places, points[:2].T, atol=1e-6)


@pytest.mark.parametrize(("distance", "degrees"), [(12, 0), (24.32, 0), (40, 20), (75, -30), (150, 10)])
def test_eyes_land_where_the_recipe_says(distance, degrees):
    points = landmarks(400, 300, distance, degrees)
    rgb = dots(points[:2], radius=max(1.5, distance * 0.12))
    dark = 255.0 - crop(rgb, points, RECIPE)[..., 0].astype(float)
    y, x = np.mgrid[:64, :64] + 0.5
    for half, place in ((x < 32, 0.31), (x >= 32, 0.69)):
        weight = dark * half
        found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        np.testing.assert_allclose(found, [place * 64, 0.4 * 64], atol=0.25)


def test_shrinking_averages_instead_of_picking_pixels():
    coordinator = np.indices((800, 800)).sum(0) % 2 * 255
    rgb = np.repeat(coordinator[..., None], 3, 2).astype(np.uint8)
    for distance in (60.0, 90.0, 123.0, 300.0):
        cut = crop(rgb, landmarks(400, 350, distance, 7.0), RECIPE).astype(float)
        inner = cut[16:48, 16:48]
        assert inner.std() < 6, distance
        assert abs(inner.mean() - 127.5) < 3


def test_outside_the_frame_is_black():
    rgb = np.full((100, 100, 3), 200, np.uint8)
    cut = crop(rgb, landmarks(0, 50, 24.32, 0), RECIPE)
    assert cut[:, :28].max() == 0
    assert cut[:, 36:].min() == 200
    assert crop(rgb, landmarks(5000, 50, 24.32, 0), RECIPE).max() == 0


def test_turned_heads_do_not_zoom_in():
    front = landmarks(100, 100, 50, 0)
    for squeeze in (0.6, 0.3, 0.1, 0.0):
        turned = front.copy()
        turned[:, 0] = 100 + (turned[:, 0] - 100) * squeeze
        _, across = eye_frame(turned)
        assert np.hypot(*across) >= 0.6 * 50 - 1e-6
        assert abs(across[1]) < 1e-6
    # In profile the line through the eyes is noise: swapped eyes must not turn the crop upside down.
    profile = front.copy()
    profile[:, 0] = 100
    profile[0, 0], profile[1, 0] = 101, 99
    _, across = eye_frame(profile)
    assert across[0] > 0


def test_eye_frame_is_the_eyes_for_faces_from_the_front():
    points = landmarks(100, 100, 50, 12)
    middle, across = eye_frame(points)
    np.testing.assert_allclose(middle, [100, 100])
    np.testing.assert_allclose(across, points[1] - points[0])


def test_crops_as_they_are():
    recipe = CropRecipe(size=32, alignment="none")
    nowhere = np.full((5, 2), np.nan)
    same = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop(same, nowhere, recipe), same)
    assert crop(np.zeros((64, 50, 3), np.uint8), nowhere, recipe).shape == (32, 32, 3)


def test_landmarks_that_cannot_align():
    rgb = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(IngestError, match="no landmarks"):
        crop(rgb, np.full((5, 2), np.nan), RECIPE)
    with pytest.raises(IngestError, match="no size"):
        crop(rgb, np.ones((5, 2)), RECIPE)


def test_jpeg_keeps_the_picture():
    y, x = np.mgrid[:64, :64]
    picture = np.stack([2 * x, 2 * y, x + y], 2).astype(np.uint8)
    read = np.asarray(Image.open(io.BytesIO(encode(picture, 92))))
    assert np.abs(read.astype(int) - picture).mean() < 3
    assert len(encode(picture, 50)) < len(encode(picture, 95))
