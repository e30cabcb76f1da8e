"""Test subjects choose nothing: thresholds come with the checkpoint, and only test subjects are scored."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from au_dist.core.errors import CheckpointError, ShardError
from au_dist.core.metrics import thresholds
from au_dist.dist.world import World
from au_dist.methods.frames import Frames
from au_dist.methods.learners import aunce, detection
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import make_module, validation_of
from au_dist.runs.context import Context, make_context
from au_dist.runs.host import checkpoint_state
from au_dist.scoring import evaluate as job
from au_dist.scoring.evaluate import Scorer, evaluate
from au_dist.shards.format import read_manifest, read_row_group
from au_dist.storage.store import Store
from au_dist.train import checkpoint

AUS = (12, 1)

#: What a validation has chosen; no frame of the test subjects would.
CHOSEN = [0.9, 0.2]


def recipe(shards: Store, runs: object, **job) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "shards": shards.uri,
            "runs": str(runs),
            "task": "detection",
            "data": {"size": 32, "lanes": 2, "aus": AUS},
            "model": {"embed_dim": 8, "bottleneck_channels": 4},
            "batch": {"clips": 4},
            **job,
        }
    )


@pytest.fixture
def context(shards, tmp_path) -> Context:
    """A detection whose only checkpoint has the thresholds `CHOSEN`."""
    made = make_context(recipe(shards, tmp_path))
    metrics = {"val_auc": 0.5, "val_f1": 0.5, "thresholds": CHOSEN}
    module = make_module(made, World(0, 1, torch.device("cpu")))
    state = checkpoint_state(made, made.plan(1), 1, metrics)
    checkpoint.write(made.run, module.state_dict(), {}, state)
    return made


def table(frames: int, faults: int = 0) -> pa.Table:
    """What a scorer says of frames: labels alternate, and the best threshold of either action unit is near a half."""
    y_NA = np.arange(frames)[:, None] % 2 * np.ones(2)
    score_NA = np.where(y_NA > 0, 0.6, 0.4) + np.linspace(0, 0.05, frames)[:, None]
    said = [f"clip {k} frame 0: no JPEG" if k < faults else None for k in range(frames)]
    return pa.table(
        {
            "score": list(score_NA.astype(np.float32)),
            "y": list(y_NA.astype(np.float32)),
            "valid": list(np.ones((frames, 2), bool)),
            "fault": pa.array(said, pa.string()),
            "scored": np.arange(frames) >= faults,
        }
    )


@pytest.fixture
def asked(context, monkeypatch) -> list[tuple]:
    """What the scorer was asked; it answers with a table of the frames of those subjects."""
    made: list[tuple] = []

    def score(store, manifest, subjects, scorer, arguments, **resources):
        made.append((subjects, arguments))
        return table(sum(manifest.subjects[name].frames for name in subjects))

    monkeypatch.setattr(job, "score", score)
    monkeypatch.setattr(job, "_baseline", lambda *_: (None, "not asked for"))
    return made


def test_thresholds_are_those_that_validation_chose(context, asked):
    report = evaluate("x", runs=context.run.parent)
    assert [row["threshold"] for row in report["aus"]] == CHOSEN
    # Everything is called by the second, nothing by the first: the scores of the test frames would have told.
    assert [row["f1"] for row in report["aus"]] == pytest.approx([0, 2 / 3])
    assert [row["auc"] for row in report["aus"]] == [1, 1]
    answer = table(20)
    labels = [np.stack(answer[name].to_pylist()) for name in ("y", "valid", "score")]
    assert np.abs(thresholds(*labels) - CHOSEN).min() > 0.2
    assert json.loads(context.run.read(job.REPORT))["aus"][0]["threshold"] == CHOSEN[0]


def test_without_validation_the_last_checkpoint_counts_at_one_half(shards, tmp_path, monkeypatch):
    whole = {"size": 32, "lanes": 2, "aus": AUS, "protocol": {"validation": 0}}
    made = make_context(recipe(shards, tmp_path, data=whole))
    module = make_module(made, World(0, 1, torch.device("cpu")))
    metrics = validation_of(made, module, World(0, 1, torch.device("cpu")))()
    assert metrics == {}
    assert made.split.validation == ()
    for step in (1, 2):
        checkpoint.write(made.run, module.state_dict(), {}, checkpoint_state(made, made.plan(1), step, metrics))
    frames = sum(made.manifest.subjects[name].frames for name in made.split.test)
    monkeypatch.setattr(job, "apart", lambda function, workers, *rest: function(*rest))
    beside = table(frames).append_column("baseline", table(frames)["score"])
    monkeypatch.setattr(job, "score", lambda *_, **__: beside)
    report = evaluate("x", runs=made.run.parent)
    assert report["step"] == 2
    assert [row["threshold"] for row in report["aus"]] == [0.5, 0.5]
    assert [row["f1"] for row in report["aus"]] == [row["ridge_f1"] for row in report["aus"]] == [1, 1]
    fixed = "No validation subjects: the last checkpoint, thresholds of 0.5; the 4 test subjects chose nothing."
    assert report["stamp"] == fixed.replace("4", str(len(made.split.test)))


def test_test_subjects_are_scored_and_no_others(context, asked):
    report = evaluate("x", runs=context.run.parent)
    ((subjects, arguments),) = asked
    assert subjects == context.split.test
    assert not {*subjects} & {*context.split.train, *context.split.validation}
    assert report["rows_expected"] == sum(context.manifest.subjects[name].frames for name in context.split.test)
    assert arguments["columns"] == [context.manifest.aus.index(au) for au in AUS]


def test_frames_that_are_missing_or_do_not_decode_are_not_passed_over(context, monkeypatch):
    whole = sum(context.manifest.subjects[name].frames for name in context.split.test)
    for answer, match in ((table(whole - 1), "Not every test frame"), (table(whole, whole // 2), "do not decode")):
        monkeypatch.setattr(job, "score", lambda *_, answer=answer, **__: answer)
        monkeypatch.setattr(job, "_baseline", lambda *_: (None, "not asked for"))
        with pytest.raises(ShardError, match=match):
            evaluate("x", runs=context.run.parent)
        assert not context.run.exists(job.REPORT)


def test_a_checkpoint_without_thresholds_or_of_other_shards_is_refused(context, asked):
    place = context.run.at(checkpoint.folder(1))
    said, tensors = checkpoint.state(place), checkpoint.tensors(place, checkpoint.WEIGHTS)
    changes = ({"thresholds": None}, CheckpointError), ({"manifest": "0" * 64}, ShardError)
    for step, (change, error) in enumerate(changes, start=2):
        checkpoint.write(context.run, tensors, {}, said.model_copy(update={**change, "step": step}))
        with pytest.raises(error):
            evaluate("x", which="last", runs=context.run.parent)
    assert not asked


def test_a_scorer_gives_each_frame_its_own_labels_whatever_the_budget(context):
    """Test subjects keep all of their labels; of a frame that does not decode nothing is known."""
    manifest = read_manifest(context.store)
    rows = read_row_group(context.store, manifest.shards[0], 0)
    columns = [manifest.aus.index(au) for au in AUS]
    scorer = Scorer(context.run.at(checkpoint.folder(1)).uri, columns, 12, manifest.crop_recipe.size)
    found = scorer(rows)
    y_NA = np.concatenate([np.reshape(labels, (-1, 12))[:, columns] for labels in rows["label"].to_pylist()])
    np.testing.assert_array_equal(np.stack(found["y"].to_pylist()), y_NA)
    assert np.stack(found["valid"].to_pylist()).all()
    assert found["scored"].to_numpy().all()
    jpegs = rows["jpeg"].to_pylist()
    jpegs[0][1] = b"nothing"
    damaged = scorer(rows.set_column(rows.column_names.index("jpeg"), "jpeg", pa.array(jpegs)))
    valid_NA = np.stack(damaged["valid"].to_pylist())
    assert np.flatnonzero(~valid_NA.any(1)).tolist() == np.flatnonzero(~damaged["scored"].to_numpy()).tolist() == [1]
    (fault,) = filter(None, damaged["fault"].to_pylist())
    assert fault.startswith(f"{rows['clip_id'][0]} frame 1: ")


@pytest.mark.parametrize("task", [{"task": "detection"}, {"task": None, "method": "aunce"}], ids=["detection", "aunce"])
def test_validation_reads_validation_subjects(shards, tmp_path, monkeypatch, task):
    """What chooses checkpoints and thresholds; a probe is fitted on training subjects."""
    read: list[set[str]] = []

    class Seen(Frames):
        def __init__(self, rows, *arguments, **options):
            super().__init__(rows, *arguments, **options)
            read.append({row["subject"] for row in rows})

    for method in (aunce, detection):
        monkeypatch.setattr(method, "Frames", Seen)
    asked = make_context(recipe(shards, tmp_path, **task))
    world = World(0, 1, torch.device("cpu"))
    metrics = validation_of(asked, make_module(asked, world), world)()
    assert read[0] == set(asked.split.validation)
    assert read[1:] == ([set(asked.split.train)] if "method" in task else [])
    # The thresholds that a checkpoint keeps are those.
    state = checkpoint_state(asked, asked.plan(1), 1, metrics)
    assert list(state.thresholds) == metrics["thresholds"] != []
