"""Crops of a video are scored once each, in the order they come, with the past that a model may remember."""

import numpy as np
import pytest
import torch

from au_dist.config.sections import Model as ModelConfig
from au_dist.core.schema import CropRecipe
from au_dist.dist.world import World
from au_dist.methods.intensity import INTENSITY
from au_dist.methods.learners.intensity import IntensityTask
from au_dist.model.clip_network import ClipNetwork
from au_dist.scoring import score_video
from au_dist.scoring.model import TrainedModel
from au_dist.scoring.score_video import _Scoring

T, SIZE = 6, 32


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ModelConfig(embed_dim=8, bottleneck_channels=4, grid=2)
    task = IntensityTask(ClipNetwork(config, SIZE), config, 3, 1, World(0, 1, torch.device("cpu")))
    task.train()
    for _ in range(20):  # statistics of normalisation that are of these pictures
        task((torch.randn(T, 3, SIZE, SIZE),), torch.zeros(T, 3), torch.ones(T, 3, dtype=torch.bool), 0)
    task.heads.out.bias_A.data.fill_(2.0)
    return TrainedModel(
        task=task.eval(), scoring=INTENSITY.scoring, aus=(1, 2, 4), threshold_A=np.zeros(0), clip_frames=T,
        crop=CropRecipe(), size=SIZE, uri="", state={}, device=torch.device("cpu"),
    )  # fmt: skip


def crops(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8))


def scored(model, frames):
    """Score frames, each a dict of track -> (crop, whether it was seen)."""
    scoring = _Scoring(model)
    for frame in frames:
        for track, (crop, seen) in frame.items():
            scoring.add(track, crop, seen)
        scoring.end_frame(set(frame))
    scoring.end_frame(set())
    return scoring.scores()


def windows(model, some):
    """The definition: windows that overlap by half, each frame's score out of the first that has it."""
    found = {}
    start = 0
    while len(found) < len(some):
        part = some[start : start + T]
        for offset, row in enumerate(model.scores(np.stack(part), len(part))):
            found.setdefault(start + offset, row)
        start += T - T // 2
    return np.array([found[index] for index in range(len(some))])


@pytest.mark.parametrize("count", [1, T - 1, T, T + 1, 3 * T, 20])
def test_one_face(model, count, monkeypatch):
    monkeypatch.setattr(score_video, "CHUNK", 2 * T)
    some = crops(count)
    found = scored(model, [{7: (crop, True)} for crop in some])
    np.testing.assert_allclose(found, windows(model, some), atol=1e-5)
    assert found.std() > 1e-3


def test_faces_do_not_meet(model):
    one, two = crops(9, 1), crops(9, 2)
    together = scored(model, [{0: (a, True), 5: (b, True)} for a, b in zip(one, two, strict=True)])
    np.testing.assert_allclose(together[0::2], windows(model, one), atol=1e-5)
    np.testing.assert_allclose(together[1::2], windows(model, two), atol=1e-5)


def test_places_that_nobody_saw_are_read_and_not_scored(model):
    some = crops(9)
    found = scored(model, [{0: (crop, index not in (3, 4))} for index, crop in enumerate(some)])
    assert len(found) == 7
    np.testing.assert_allclose(found, np.delete(windows(model, some), (3, 4), axis=0), atol=1e-5)


def test_a_face_that_was_lost_is_forgotten(model):
    some = crops(10)
    frames = [{0: (crop, True)} for crop in some]
    frames.insert(4, {})
    expected = np.concatenate([windows(model, some[:4]), windows(model, some[4:])])
    np.testing.assert_allclose(scored(model, frames), expected, atol=1e-5)
