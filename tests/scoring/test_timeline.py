"""The timeline: its arithmetic, and that its colours mean what the legend says."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from au_dist.scoring.timeline import ABSENT, NOBODY, PRESENT, FaceLine, draw_timeline, edges, spans, thin


def share_of(png, colour):
    """Share of the pixels of the rows' area that have a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    height, width = pixels.shape[:2]
    area = pixels[int(0.485 * height) : int(0.76 * height), int(0.22 * width) : int(0.92 * width)].astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(area - wanted).max(-1) <= 2).mean())


def draw(score_TA, thumbnails=()):
    face = FaceLine("", np.arange(len(score_TA)) / 25, np.asarray(score_TA, np.float32), thumbnails)
    return draw_timeline([face], aus=[1, 12], threshold_A=np.array([0.5, 0.5]), title="a $title_ $b.mp4")


@pytest.mark.slow
def test_colours_follow_presence_and_absence_of_faces():
    high, low, nobody = (np.full((40, 2), value) for value in (0.98, 0.48, np.nan))
    assert share_of(draw(high), PRESENT) > 0.8
    assert share_of(draw(low), PRESENT) < 0.05
    assert share_of(draw(low), ABSENT) > 0.35
    assert share_of(draw(nobody), NOBODY) > 0.9
    assert share_of(draw(high), NOBODY) == 0
    half = draw(np.concatenate([high[:20], nobody[:20]]))
    assert share_of(half, PRESENT) == pytest.approx(0.45, abs=0.06)
    assert share_of(half, NOBODY) == pytest.approx(0.5, abs=0.05)


def test_faces_are_along_the_top():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    pixels = np.asarray(Image.open(io.BytesIO(draw(np.full((40, 2), 0.2), [(0.2, red), (1.4, red)]))).convert("RGB"))
    rows, columns = np.nonzero((pixels == [255, 0, 0]).all(-1))
    assert rows.max() < 0.5 * len(pixels)
    assert np.unique(columns).size == pytest.approx(2 * 0.0568 * pixels.shape[1], rel=0.1)


def test_one_frame_and_none_seen_are_drawn():
    assert share_of(draw([[0.9, 0.1]]), PRESENT) > 0.05
    assert share_of(draw([[np.nan, np.nan]]), PRESENT) == 0


def test_spans_are_the_missing_stretches():
    edge = np.array([0.0, 1, 2, 4, 5, 7])
    assert spans(np.array([True, False, True, True, False]), edge) == [(0.0, 1.0), (2.0, 5.0)]
    assert spans(np.array([False] * 4 + [True]), edge) == [(5.0, 7.0)]
    assert spans(np.zeros(5, bool), edge) == []
    np.testing.assert_allclose(edges(np.array([0.0, 0.1, 0.4, 0.5])), [0, 0.1, 0.4, 0.5, 0.6])


@settings(max_examples=50)
@given(st.integers(2, 200), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_thinning_keeps_means_and_gaps(frames, points, seed):
    random = np.random.default_rng(seed)
    score = random.random((frames, 3))
    score[random.random(frames) < 0.4] = np.nan
    time, thinned = thin(np.arange(frames) / 25, score, points)
    assert len(time) == len(thinned) <= max(points, 2)
    assert np.all(np.diff(time) > 0)
    each = -(-frames // points)
    for index, row in enumerate(thinned):
        part = score[index * each : (index + 1) * each]
        known = part[~np.isnan(part).any(1)]
        np.testing.assert_allclose(row, known.mean(0) if len(known) else [np.nan] * 3)
