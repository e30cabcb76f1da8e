"""Validation of clips does not depend on which of them go through the network together."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from au_dist.config.sections import Labels, Model
from au_dist.core.errors import TrainError
from au_dist.dist.world import World
from au_dist.methods import clips as clips_module
from au_dist.methods.clips import Clips
from au_dist.methods.frames import unreadable
from au_dist.methods.learners.intensity import IntensityTask, judge_intensity
from au_dist.methods.learners.predictive import PredictiveTask, judge_foresight
from au_dist.methods.predictive import Predictive
from au_dist.model.clip_network import ClipNetwork
from au_dist.shards.format import read_manifest, read_row_group

ALONE = World(0, 1, torch.device("cpu"))
CONFIG = Model(embed_dim=8, bottleneck_channels=4, grid=2)


@pytest.fixture
def rows(shards):
    manifest = read_manifest(shards)
    return [row for group in range(4) for row in read_row_group(shards, manifest.shards[0], group).to_pylist()]


@pytest.mark.parametrize("chunk", [4, 12, 1000])
def test_chunks_do_not_matter(rows, chunk, monkeypatch):
    torch.manual_seed(0)
    reader = ClipNetwork(CONFIG, 32)
    foresight = PredictiveTask(reader, Predictive(blocks=4, frames=1, steps=2), ALONE).eval()
    regressor = IntensityTask(reader, CONFIG, 2, 4, ALONE).eval()
    expected = (
        judge_foresight(foresight, Clips(rows, [], 12, Labels(), 32, 4), 32, ALONE).metrics,
        judge_intensity(regressor, Clips(rows, [0, 3], 12, Labels(), 32, 4), 32, ALONE).metrics,
    )
    monkeypatch.setattr(clips_module, "CHUNK", chunk)
    found = (
        judge_foresight(foresight, Clips(rows, [], 12, Labels(), 32, 4), 32, ALONE).metrics,
        judge_intensity(regressor, Clips(rows, [0, 3], 12, Labels(), 32, 4), 32, ALONE).metrics,
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert found[0]["val_chance"] == pytest.approx(1 / 8)  # two steps of four cells


def test_a_perfect_prediction_is_always_right(rows, monkeypatch):
    module = PredictiveTask(ClipNetwork(CONFIG, 32), Predictive(blocks=4, frames=1, steps=2), ALONE).eval()
    monkeypatch.setattr(module, "pairs", lambda x: (PredictiveTask.pairs(module, x)[1],) * 2)
    assert judge_foresight(module, Clips(rows, [], 12, Labels(), 32, 4), 32, ALONE).metrics["val_accuracy"] == 1


def test_a_change_has_nothing_of_what_stays_the_same():
    """One picture over a whole clip: there is no change to find, and a prediction is compared with that."""
    torch.manual_seed(0)
    config = Predictive(blocks=4, frames=1, steps=2, target="change", negatives="clip", views=2)
    module = PredictiveTask(ClipNetwork(CONFIG, 32), config, ALONE).eval()
    still, other = (torch.rand(1, 3, 32, 32).expand(4, -1, -1, -1) for _ in range(2))
    query_QC, key_QC = module.pairs(still, other)
    torch.testing.assert_close(key_QC, torch.zeros_like(key_QC), atol=1e-5, rtol=0)
    # What is to be found is of the other view, what is seen of the first.
    moved = torch.cat([other[:3], torch.rand(1, 3, 32, 32)])
    again, found = module.pairs(still, moved)
    torch.testing.assert_close(again, query_QC)
    assert (found[4:] - key_QC[4:]).abs().max() > 0.1
    torch.testing.assert_close(found[:4], key_QC[:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("negatives", ["clip", "set"])
def test_a_clip_in_which_nothing_moves_does_not_decide_the_step(negatives):
    torch.manual_seed(0)
    config = Predictive(blocks=4, frames=1, steps=2, target="change", negatives=negatives)
    module = PredictiveTask(ClipNetwork(CONFIG, 32), config, ALONE)
    moving = torch.rand(32, 3, 32, 32)
    still = moving.clone()
    still[:4] = moving[:1]
    norms = []
    for x_BCHW in (moving, still):
        module.zero_grad()
        module((x_BCHW,), torch.ones(32, 1), torch.ones(32, 1, dtype=torch.bool), 0).backward()
        norms.append(float(torch.cat([p.grad.flatten() for p in module.parameters()]).norm()))
    assert norms[1] < 3 * norms[0]


def test_what_was_foreseen_and_who_was_seen_belong_to_their_clips(rows, monkeypatch):
    """Of clip k the first k + 1 of eight cells are foreseen; whose it is shows in all of them. The third is damaged."""
    config = Model(embed_dim=16, bottleneck_channels=4, grid=2)
    module = PredictiveTask(ClipNetwork(config, 32), Predictive(blocks=4, frames=1, steps=2), ALONE).eval()
    damaged = [{**row, "jpeg": list(row["jpeg"])} for row in rows]
    damaged[2]["jpeg"][3] = b"nothing"
    names = [row["subject"] for row in rows]
    faces, numbers = sorted(set(names)), itertools.count()
    assert len(faces) > 1

    def pairs(x_BCHW):
        query, key = [], []
        for _ in range(len(x_BCHW) // 4):
            number = next(numbers)
            face = F.one_hot(torch.tensor(faces.index(names[number])), 8).expand(8, 8)
            foreseen, cells = _foreseen(number), torch.cat([torch.eye(8), 3.0 * face], 1)
            query.append(torch.cat([cells[:foreseen], cells[foreseen:].roll(1, 0)]))
            key.append(cells)
        return torch.cat(query), torch.cat(key)

    monkeypatch.setattr(module, "pairs", pairs)
    found = judge_foresight(module, Clips(damaged, [], 12, Labels(), 32, 4), 32, ALONE)
    whole = [number for number in range(len(rows)) if number != 2]
    assert found.subject_N.tolist() == [names[number] for number in whole]
    assert found.metrics["val_identity"] == 1
    assert found.metrics["val_identity_chance"] < 1
    assert found.metrics["val_accuracy"] == pytest.approx(np.mean([_foreseen(number) for number in whole]) / 8)
    for name, metrics in found.without().items():
        kept = [_foreseen(number) for number in whole if names[number] != name]
        assert metrics["val_accuracy"] == pytest.approx(np.mean(kept) / 8)
    alone = replace(found, subject_N=np.array(["one"] * len(whole)))
    assert np.isnan(alone.without()["one"]["val_accuracy"])


def _foreseen(number):
    """Return how many of eight cells; one that is wrong takes another with it."""
    return (1, 2, 3, 4, 5, 6, 8)[number % 7]


def test_clips_without_a_label_are_not_read_and_none_at_all_is_said(rows):
    few = Clips(rows, [0], 12, Labels(share=0.1, seed=2), 32, 4)
    assert 0 < len(few.rows) < len(rows)
    assert few.y_NA.shape == few.valid_NA.shape == (4 * len(few.rows), 1)
    assert few.valid_NA.any()
    nothing = [{**row, "intensity": np.full(48, np.nan, np.float32)} for row in rows]
    module = IntensityTask(ClipNetwork(CONFIG, 32), CONFIG, 1, 4, ALONE).eval()
    with pytest.raises(TrainError, match=r"data.labels"):
        judge_intensity(module, Clips(nothing, [0], 12, Labels(), 32, 4), 32, ALONE)


def test_a_clip_that_does_not_decode_is_left_out_counted_and_listed(rows):
    torch.manual_seed(0)
    reader = ClipNetwork(CONFIG, 32)
    foresight = PredictiveTask(reader, Predictive(blocks=4, frames=1, steps=2), ALONE).eval()
    regressor = IntensityTask(reader, CONFIG, 2, 4, ALONE).eval()
    damaged = [{**row, "jpeg": list(row["jpeg"])} for row in rows]
    damaged[2]["jpeg"][3] = b"nothing"
    without = rows[:2] + rows[3:]
    for columns, judge, module in (([], judge_foresight, foresight), ([0, 3], judge_intensity, regressor)):
        clips = Clips(damaged, columns, 12, Labels(), 32, 4)
        whole = judge(module, Clips(without, columns, 12, Labels(), 32, 4), 32, ALONE)
        assert judge(module, clips, 32, ALONE).metrics == pytest.approx(whole.metrics, rel=1e-4, abs=1e-6)
    with pytest.raises(TrainError, match=rf"at most 0.01 .*data.unreadable.*1 of {4 * len(rows)}.*frame 3: "):
        unreadable([clips], 0.01, ALONE)
    found = unreadable([clips], 0.5, ALONE)
    assert found["val_unreadable"] == 1
    assert found["unreadable"][0].startswith(f"{rows[2]['clip_id']} frame 3: ")
    assert unreadable([Clips(rows, [0], 12, Labels(), 32, 4)], 0, ALONE) == {}
