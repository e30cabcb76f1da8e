"""The baseline of every evaluation: what the encoder knew before anything was learnt here, and who may be asked."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_evaluate import AUS, context, recipe  # noqa: F401 - a fixture

from au_dist.config.sections import Model
from au_dist.core.errors import CheckpointError
from au_dist.core.metrics import auc, thresholds
from au_dist.data.jpeg import pixels
from au_dist.data.labels import known
from au_dist.data.views import plain_views
from au_dist.dist.world import World
from au_dist.methods import METHODS
from au_dist.methods.detection import DETECTION
from au_dist.methods.intensity import INTENSITY
from au_dist.runs import assembly
from au_dist.runs.assembly import make_module
from au_dist.runs.context import make_context
from au_dist.runs.host import checkpoint_state
from au_dist.scoring import baseline as rooms
from au_dist.scoring import evaluate as job
from au_dist.scoring.baseline import FrozenScorer, Start, comparisons, features, fit_baseline, start_of
from au_dist.scoring.evaluate import Scorer, evaluate
from au_dist.shards.format import read_row_group
from au_dist.train import checkpoint

CPU = torch.device("cpu")


def stored(shards, runs, **job):
    """A run with one checkpoint; its module and what the checkpoint says."""
    made = make_context(recipe(shards, runs, **job))
    module = make_module(made, World(0, 1, CPU))
    metrics = {"val_auc": 0.5, "val_icc": 0.5, "thresholds": [0.5, 0.5]}
    state = checkpoint_state(made, made.plan(1), 1, metrics)
    checkpoint.write(made.run, module.state_dict(), {}, state)
    return module, state


def frames_of(subjects, made):
    """Pixels and labels of some subjects' frames, as they are stored."""
    rows = assembly.read_rows(made.store, made.manifest, subjects, World(0, 1, CPU), None)
    frames = np.stack([pixels(jpeg, 32) for row in rows for jpeg in row["jpeg"]])
    y_NA = np.concatenate([known(row, made.columns, 12, made.recipe.data.labels)[0] for row in rows])
    return frames, y_NA


def test_the_encoder_is_as_the_run_began(shards, tmp_path):
    module, state = stored(shards, tmp_path, seed=3)
    began = start_of(state.run_recipe).encoder(CPU)
    for name, tensor in module.network.encoder.state_dict().items():
        torch.testing.assert_close(began.state_dict()[name], tensor, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in began.parameters())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({}, "`tiny` with random weights"),
        ({"encoder": "lite0", "weights": "package", "norm": "frozen"}, "`lite0` with ImageNet's weights"),
        ({"encoder": "swin_t", "weights": "torchvision"}, "`swin_t` with ImageNet's weights"),
        (
            {"encoder": "mini_xception", "weights": "package", "norm": "frozen"},
            "`mini_xception` with weights that know expressions",
        ),
        ({"weights": "mine.safetensors"}, "`tiny` with the weights mine.safetensors"),
    ],
)
def test_what_an_encoder_began_with_is_said(model, words):
    assert Start(Model(**model), 0).words == words


def test_a_run_from_another_has_the_start_of_that_one(shards, tmp_path):
    stored(shards, tmp_path, name="first", seed=7, task=None, method="aunce")
    stored(shards, tmp_path, name="second", seed=8, init={"run": "first"})
    _, state = stored(shards, tmp_path, name="third", seed=9, init={"run": "second"})
    assert start_of(state.run_recipe).seed == 7
    for path in (tmp_path / "first").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(CheckpointError):
        fit_baseline(state, DETECTION.scoring, CPU)


@pytest.mark.parametrize(("tokens", "cells"), [(49, 16), (16, 16), (4, 4)])
def test_tokens_become_at_most_sixteen_cells(tokens, cells):
    grid = torch.arange(2 * tokens * 3).float().reshape(2, tokens, 3)
    found = features(lambda x: grid, torch.zeros(2, 3, 8, 8))
    assert found.shape == (2, 3 * cells)
    # Cells of unequal size overlap where the grid is not divisible: means stay near the whole mean.
    if tokens in (16, 4):
        torch.testing.assert_close(found.unflatten(1, (3, cells)).mean(2), grid.mean(1))


def test_it_is_ridge_on_the_frames_of_training_subjects(shards, tmp_path):
    """Of every frame, in few clips; so it equals the regression of all of them."""
    _, state = stored(shards, tmp_path)
    made = make_context(state.run_recipe)
    found = fit_baseline(state, DETECTION.scoring, CPU)
    frames, y_NA = frames_of(made.split.train, made)
    taken = np.arange(len(frames)).reshape(-1, 4)[:, [1, 3]].ravel()  # two of the four frames of a clip
    encoder = start_of(state.run_recipe).encoder(CPU)
    x_ND = features(encoder, plain_views(frames[taken], 32, CPU)).double().numpy()
    weight_DA, bias_A, strength_A = by_hand(x_ND, y_NA[taken], found.strength_A)
    np.testing.assert_allclose(found.bias_A, bias_A, rtol=1e-5)
    np.testing.assert_allclose(x_ND @ found.weight_DA, x_ND @ weight_DA, atol=1e-5)
    assert strength_A is found.strength_A


def by_hand(x_ND, y_NA, strength_A):
    weights, biases = [], []
    x, gram = x_ND - x_ND.mean(0), np.cov(x_ND.T, bias=True) * len(x_ND)
    for y_N, strength in zip(y_NA.T, strength_A, strict=True):
        penalty = strength * np.trace(gram) / len(gram) * np.eye(len(gram))
        weights.append(np.linalg.solve(gram + penalty, x.T @ (y_N - y_N.mean())))
        biases.append(y_N.mean() - x_ND.mean(0) @ weights[-1])
    return np.stack(weights, 1), np.array(biases), strength_A


def test_training_subjects_teach_validation_subjects_choose_and_nobody_else_is_read(shards, tmp_path, monkeypatch):
    read = []

    def noting(store, manifest, subjects, *rest):
        read.append(subjects)
        return assembly.read_rows(store, manifest, subjects, *rest)

    monkeypatch.setattr(rooms, "read_rows", noting)
    _, state = stored(shards, tmp_path)
    found = fit_baseline(state, DETECTION.scoring, CPU)
    assert read == [state.subjects.train, state.subjects.validation]
    made = make_context(state.run_recipe)
    frames, y_NA = frames_of(made.split.validation, made)
    taken = np.arange(len(frames)).reshape(-1, 4)[:, [1, 3]].ravel()
    score_NA = FrozenScorer(found, CPU)(frames[taken], 5)
    chosen = thresholds(y_NA[taken], np.ones((len(taken), 2), bool), score_NA)
    np.testing.assert_allclose(found.threshold_A, chosen, atol=1e-6)


def test_a_scorer_scores_the_baseline_beside_the_model(context, shards):  # noqa: F811
    place = context.run.at(checkpoint.folder(1))
    found = fit_baseline(checkpoint.state(place), DETECTION.scoring, CPU)
    rows = read_row_group(context.store, context.manifest.shards[0], 0)
    columns = [context.manifest.aus.index(au) for au in AUS]
    both = Scorer(place.uri, columns, 12, 32, found.write(context.run.at("evaluation")))(rows)
    alone = Scorer(place.uri, columns, 12, 32)(rows)
    assert both.drop_columns("baseline") == alone
    frames = np.stack([pixels(jpeg, 32) for clip in rows["jpeg"].to_pylist() for jpeg in clip])
    np.testing.assert_allclose(np.stack(both["baseline"].to_pylist()), FrozenScorer(found, CPU)(frames, 3), atol=1e-6)


def here(monkeypatch):
    """Evaluate in this process, without Ray: one scorer, all clips at once."""

    def score(store, manifest, subjects, scorer, arguments, **_):
        one = scorer(**arguments)
        groups = [
            (shard, k)
            for shard in manifest.shards
            for k, group in enumerate(shard.row_groups)
            if group.subject in subjects
        ]
        return pa.concat_tables(one(read_row_group(store, shard, k)) for shard, k in groups)

    monkeypatch.setattr(job, "score", score)
    monkeypatch.setattr(job, "apart", lambda function, workers, *arguments: function(*arguments))


@pytest.mark.parametrize("task", ["detection", "intensity"])
def test_every_report_has_the_baselines(shards, tmp_path, monkeypatch, task):
    here(monkeypatch)
    clips = {"data": {"size": 32, "lanes": 2, "aus": AUS, "frames_per_clip": 4}} if task == "intensity" else {}
    stored(shards, tmp_path, task=task, **clips)
    report = json.loads(json.dumps(evaluate("x", runs=make_context(recipe(shards, tmp_path)).run.parent)))
    assert report["no_baseline"] is None
    scoring = DETECTION.scoring if task == "detection" else INTENSITY.scoring
    first, last = report["baselines"][0], report["baselines"][-1]
    assert first["baseline"] == "ridge regression on `tiny` with random weights, as it began"
    assert len(report["baselines"]) == len(scoring.beside) + 1
    key = next(iter(scoring.beside))
    assert first["its"] == pytest.approx(np.mean([row[f"ridge_{key}"] for row in report["aus"]]))
    assert first["this"] == pytest.approx(report["average"][key])
    assert first["beaten"] == (first["this"] > first["its"])
    assert last["its"] == pytest.approx(report["average"][scoring.knowing_nothing[1]])
    page = (tmp_path / "x/evaluation/report.html").read_text()
    assert "ridge regression on tiny with random weights" in page
    assert f"{first['its']:.3f}" in page


def test_a_run_whose_start_is_gone_says_so(shards, tmp_path, monkeypatch):
    here(monkeypatch)
    stored(shards, tmp_path, name="first")
    stored(shards, tmp_path, init={"run": "first"})
    for path in (tmp_path / "first").rglob("*"):
        if path.is_file():
            path.unlink()
    report = evaluate("x", runs=make_context(recipe(shards, tmp_path)).run.parent)
    assert "first" in report["no_baseline"]
    assert [one["measure"] for one in report["baselines"]] == ["F1"]
    assert "No ridge regression" in (tmp_path / "x/evaluation/report.html").read_text()


@pytest.mark.parametrize(
    ("scoring", "values", "beaten"),
    [
        (DETECTION.scoring, {"auc": 0.7, "ridge_auc": 0.6, "f1": 0.4, "ridge_f1": 0.4, "all_positive_f1": 0.5},
         [True, False, False]),
        (INTENSITY.scoring, {"icc": 0.1, "ridge_icc": 0.2, "mse": 0.3, "ridge_mse": 0.4, "constant_mse": 0.2},
         [False, True, False]),
        (DETECTION.scoring, {"auc": float("nan"), "ridge_auc": 0.6, "f1": 0.4, "ridge_f1": float("nan"),
                             "all_positive_f1": 0.5}, [None, None, False]),
    ],
)  # fmt: skip
def test_who_is_better(shards, tmp_path, scoring, values, beaten):
    found = fit_baseline(stored(shards, tmp_path)[1], DETECTION.scoring, CPU)
    assert [one["beaten"] for one in comparisons(values, scoring, found)] == beaten
    assert [one["beaten"] for one in comparisons(values, scoring, None)] == beaten[2:]


def test_every_method_that_scores_can_be_compared():
    for method in METHODS:
        if method.scoring:
            assert {*method.scoring.beside, *method.scoring.knowing_nothing[:1]} <= set(method.scoring.measures)


def test_a_face_that_its_pixels_tell_apart_is_told_apart(shards, tmp_path):
    """On training subjects, so not a matter of luck: the scores follow the labels."""
    _, state = stored(shards, tmp_path)
    made = make_context(state.run_recipe)
    frames, y_NA = frames_of(made.split.train, made)
    score_NA = FrozenScorer(fit_baseline(state, DETECTION.scoring, CPU), CPU)(frames, 64)
    assert min(auc(y_NA[:, k] > 0, score_NA[:, k]) for k in range(2)) > 0.6
