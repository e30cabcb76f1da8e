"""What embeddings are asked during a pretraining: labels, neighbours, and who is seen."""

import math

import numpy as np
import pytest

from au_dist.core.errors import TrainError
from au_dist.methods.probe import _check_finite, effective_rank, identity, nearest


def unit(*shape, seed=0):
    z = np.random.default_rng(seed).standard_normal(shape)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def faces(subjects=6, videos=2, clips=2, frames=3):
    names = [
        (f"S{s}", f"S{s}/V{v}", f"S{s}/V{v}/{c}")
        for s in range(subjects)
        for v in range(videos)
        for c in range(clips)
        for _ in range(frames)
    ]
    return [list(column) for column in zip(*names, strict=True)]


def test_the_nearest_frames_vote():
    x = unit(50, 4)
    y = (x[:, 0] > 0).astype(np.float32)
    new = unit(40, 4, seed=1)
    best = np.argsort(-(new @ x.T), axis=1)[:, :7]
    np.testing.assert_allclose(nearest(x, y, new, 7), y[best].mean(1))
    np.testing.assert_allclose(nearest(x, y, new, 500), np.full(40, y.mean()), rtol=1e-6)


def test_embeddings_that_are_no_numbers_end_the_run_with_words():
    with pytest.raises(TrainError, match=r"not finite(?s:.)*optim.lr"):
        _check_finite(np.array([0.0, np.nan]))


def test_the_rank_is_how_many_directions_are_used():
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.standard_normal((16, 16)))[0]
    for used in (1, 4, 16):
        sides = np.eye(16)[:used].repeat(10, 0)
        assert effective_rank(sides @ turn) == pytest.approx(used, rel=1e-6)
    # Two directions, one of them three times as strong: entropy of the shares 3/4 and 1/4.
    uneven = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert effective_rank(uneven) == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    assert effective_rank(np.ones((50, 8))) == pytest.approx(1, abs=1e-4)


def test_embeddings_of_who_are_found_out_and_random_ones_are_not():
    subjects, videos, clips = faces()
    centre = {name: vector for name, vector in zip(sorted(set(subjects)), unit(6, 32), strict=True)}
    telling = np.stack([centre[name] for name in subjects]) + 0.1 * unit(len(subjects), 32, seed=2)
    share, chance = identity(telling, subjects, videos, clips)
    assert share == 1
    assert chance == pytest.approx(6 / 66)  # the other video's 6 frames among 11 videos' 66
    found = [identity(unit(len(subjects), 32, seed=seed), subjects, videos, clips)[0] for seed in range(20)]
    assert abs(np.mean(found) - chance) < 0.05


def test_light_and_background_of_a_video_do_not_answer():
    subjects, videos, clips = faces()
    place = {name: vector for name, vector in zip(sorted(set(videos)), unit(12, 32), strict=True)}
    scene = np.stack([place[name] for name in videos])
    share, chance = identity(scene, subjects, videos, clips)
    assert share < 3 * chance


def test_where_a_subject_has_one_video_other_clips_are_asked():
    subjects, videos, clips = faces(videos=1)
    share, chance = identity(unit(len(subjects), 8), subjects, videos, clips)
    assert 0 <= share <= 1
    assert chance == pytest.approx(3 / 33)


def test_without_anyone_else_there_is_no_answer():
    assert all(math.isnan(number) for number in identity(unit(3, 4), ["a"] * 3, ["a/v"] * 3, ["a/v/0"] * 3))
