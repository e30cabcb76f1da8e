"""The main job on a small set, through Ray: train, resume, change the number of workers, evaluate, pull."""

import importlib.util
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from au_dist.checks.verify_order import verify
from au_dist.core.errors import CheckpointError, RecipeError, TrainError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import make_context
from au_dist.runs.listing import best_run, list_runs, pull
from au_dist.runs.train import train
from au_dist.scoring.evaluate import evaluate
from au_dist.scoring.predict import predict
from au_dist.storage.store import open_store
from au_dist.synthetic.film import write_film
from au_dist.train import checkpoint
from au_dist.train.events import Noted, Stored

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

#: To start a worker takes seconds; what needs two of them has them.
ALONE = {"count": 1, "max_failures": 0}


def recipe(shards, runs, name, **changes) -> Recipe:
    raw = {
        "name": name,
        "shards": shards.uri,
        "runs": str(runs),
        "method": "aunce",
        "data": {"size": 32, "lanes": 2, "shuffle_row_groups": 2, "frames_per_clip": 2},
        "model": {"embed_dim": 8, "bottleneck_channels": 4},
        "batch": {"clips": 4},
        "optim": {"epochs": 2.0, "lr": 1e-3},
        "checkpoint": {"every_steps": 2, "last_k": 9, "ledger": True},
        "workers": {"count": 2, "max_failures": 0},
        **changes,
    }
    return Recipe.model_validate(raw)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def pretrained(ray_here, shards, runs):
    """An undisturbed pretraining on two workers, and the rows that it showed."""
    shown = []
    result = train(recipe(shards, runs, "pretrain"), shown.append)
    return result, shown


@pytest.fixture(scope="module")
def probed(pretrained, shards, runs) -> None:
    """A linear probe of the pretraining."""
    train(recipe(shards, runs, "probe", method=None, task="detection", init={"run": "pretrain"}, workers=ALONE))


def weights(run: Path) -> dict[str, torch.Tensor]:
    place = checkpoint.newest(open_store(run))
    return checkpoint.tensors(place, checkpoint.WEIGHTS)


def cut_back(runs: Path, name: str, step: int) -> None:
    """Leave of a copy of the run what a fault after `step` would have left."""
    shutil.copytree(runs / "pretrain", runs / name)
    (runs / name / "result.json").unlink()
    for found in checkpoint.steps(open_store(runs / name)):
        if found > step:
            (runs / name / checkpoint.folder(found) / checkpoint.COMPLETE).unlink()


def test_a_run_leaves_its_record(pretrained, runs):
    result, shown = pretrained
    lines = [json.loads(line) for line in (runs / "pretrain/metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, result["steps"] + 1))
    assert {"clips_per_s", "step_s", "grad_norm", "lr", "data_wait", "eta_s"} <= steps[0].keys()
    asked = {"val_f1", "val_auc", "val_knn_auc", "val_identity", "val_identity_chance", "val_rank"}
    assert all(asked <= line.keys() for line in lines if "loss" not in line)
    stored = [event for event in shown if isinstance(event, Stored)]
    assert [event.row() for event in shown if not isinstance(event, Stored | Noted)] == lines
    assert [event.step for event in stored] == checkpoint.steps(open_store(runs / "pretrain"))
    assert all(event.bytes > 10_000 for event in stored)
    assert list((runs / "pretrain/tensorboard").glob("events.*"))
    assert result["steps"] == checkpoint.steps(open_store(runs / "pretrain"))[-1]


def test_the_same_call_again_finds_it_done(pretrained, shards, runs):
    assert train(recipe(shards, runs, "pretrain")) == pretrained[0]


def test_another_recipe_under_the_same_name_is_refused(pretrained, shards, runs):
    with pytest.raises(RecipeError, match=r"optim.lr from 0.001 to 0.5"):
        train(recipe(shards, runs, "pretrain", optim={"epochs": 2.0, "lr": 0.5}))


def test_resuming_equals_not_stopping(pretrained, shards, runs):
    cut_back(runs, "resumed", 2)
    train(recipe(shards, runs, "resumed"))
    before, after = weights(runs / "pretrain"), weights(runs / "resumed")
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=0, msg=name)
    rows = [(runs / name / "metrics.jsonl").read_text().splitlines() for name in ("pretrain", "resumed")]
    losses = [[json.loads(line)["loss"] for line in lines if "loss" in line] for lines in rows]
    assert losses[0] == losses[1]
    assert verify(open_store(runs / "pretrain"), open_store(runs / "resumed")).faults == []


def test_a_run_whose_last_word_was_lost_says_it(pretrained, shards, runs):
    cut_back(runs, "last", pretrained[0]["steps"])
    found = train(recipe(shards, runs, "last"))
    assert {**found, "name": "pretrain", "run": pretrained[0]["run"]} == pretrained[0]


def test_resuming_on_one_worker_sees_the_same_batches(pretrained, shards, runs):
    cut_back(runs, "alone", 2)
    for file in (runs / "alone/ledger").iterdir():
        if not file.name.startswith("000000000-"):
            file.unlink()
    train(recipe(shards, runs, "alone", workers=ALONE))
    before, after = weights(runs / "pretrain"), weights(runs / "alone")
    for name, tensor in before.items():
        # Rounded otherwise, which AdamW makes some hundredths of a step of where a gradient is next to nothing; a step
        # with another batch moves weights by 1e-3.
        # Running statistics are of what those weights make: ten times as far apart with torch 2.11.
        atol = 1e-3 if name.endswith(("norm.mean", "norm.variance")) else 1e-4
        torch.testing.assert_close(after[name], tensor, rtol=1e-3, atol=atol, msg=name)
    assert len(list((runs / "alone/ledger").glob("*-0of1.parquet"))) == len(list((runs / "alone/ledger").iterdir())) - 2
    assert verify(open_store(runs / "pretrain"), open_store(runs / "alone")).faults == []


def test_the_ledger_proves_that_every_epoch_saw_each_clip_once(pretrained, shards, runs, tmp_path):
    proof = verify(open_store(runs / "pretrain"))
    context = make_context(recipe(shards, runs, "pretrain"))
    assert proof.faults == []
    assert (proof.sets, proof.clips) == (pretrained[0]["steps"], 4)
    assert proof.epoch_clips == sum(context.manifest.subjects[name].clips for name in context.split.train)
    assert proof.epochs == proof.sets * 4 // proof.epoch_clips >= 1
    size = sum(path.stat().st_size for path in (runs / "pretrain/ledger").iterdir())
    assert size < 20_000

    copy = tmp_path / "copy"
    shutil.copytree(runs / "pretrain", copy)
    first, second = sorted((copy / "ledger").glob("*-0of2.parquet"))[:2]
    second.unlink()
    faults = verify(open_store(copy), open_store(runs / "pretrain")).faults
    assert any("2 clips, not 4" in fault for fault in faults)
    assert any("too seldom" in fault for fault in faults)
    assert any("differ between the runs, the first is 2" in fault for fault in faults)
    table = pq.read_table(first)
    clips = table["clip"].to_pylist()
    clips[0] = clips[-1]
    pq.write_table(table.set_column(4, "clip", pa.array(clips).dictionary_encode()), first)
    assert any("too often" in fault for fault in verify(open_store(copy)).faults)
    shutil.rmtree(copy / "ledger")
    with pytest.raises(TrainError, match=r"no run.*recipe\.yaml"):
        verify(open_store(tmp_path))
    with pytest.raises(TrainError, match=r"no ledger.*checkpoint.ledger=true"):
        verify(open_store(copy))


def test_probe_evaluate_best_and_pull(probed, runs, tmp_path):
    frozen = [weights(runs / name)["network.branches.weight"] for name in ("pretrain", "probe")]
    torch.testing.assert_close(*frozen, rtol=0, atol=0)

    report = evaluate("probe", runs=open_store(runs))
    assert report["rows_scored"] == report["rows_expected"] > 0
    assert 0 <= report["average"]["auc"] <= 1
    assert Path(report["html"]).exists()
    assert (runs / "probe/evaluation/report.json").exists()
    trained = checkpoint.state(checkpoint.newest(open_store(runs / "probe"))).subjects
    assert not set(trained.test) & {*trained.train, *trained.validation}

    rows = {row.name: row for row in list_runs(open_store(runs))}
    assert rows["probe"].status == "complete"
    assert best_run(open_store(runs), kind="detection").name == "probe"
    found = pull(str(runs / "probe"), tmp_path / "model")
    assert set(found["files"]) == {"weights.safetensors", "state.json", "COMPLETE"}
    torch.testing.assert_close(
        checkpoint.tensors(open_store(tmp_path / "model"), checkpoint.WEIGHTS),
        checkpoint.tensors(open_store(found["checkpoint"]), checkpoint.WEIGHTS),
    )


def test_ridge_regression_is_a_run_of_one_step(pretrained, shards, runs, tmp_path):
    asked = {
        "method": None,
        "task": "detection",
        "detection": {"train": "ridge"},
        "init": {"run": str(runs / "pretrain")},
    }
    result = train(recipe(shards, tmp_path, "ridge", **asked))
    assert (result["steps"], result["best_step"]) == (1, 1)
    assert result["best"] == pytest.approx(pretrained[0]["last"]["val_auc"], abs=0.02)
    report = evaluate("ridge", runs=open_store(tmp_path))
    assert [one["baseline"] for one in report["baselines"]][::2] == [
        "ridge regression on `tiny` with random weights, as it began",
        "calling every frame positive",
    ]
    assert (tmp_path / "ridge/evaluation/baseline.safetensors").exists()


def test_the_demo_tries_the_model_of_its_own_store(probed, runs, tmp_path):
    """As `make demo` and then `make demo STORE=s3`, or again after more training: same names, other checkpoints."""
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).parents[2] / "examples/demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    shutil.copytree(runs / "probe", tmp_path / "store/runs/probe")
    store, results = open_store(tmp_path / "store"), tmp_path / "results"
    for _ in range(2):
        best = checkpoint.find("probe", "best", store.at("runs"))
        video, picture = demo.try_best(store, results)
        assert all(path.stat().st_size for path in (video, picture))
        pulled = checkpoint.state(open_store(results / "models/probe"))
        assert pulled.step == checkpoint.state(best).step
        (Path(best.uri) / checkpoint.COMPLETE).unlink()  # another checkpoint is the best now


def clips_recipe(shards, runs, name, **changes) -> Recipe:
    model = {"embed_dim": 8, "bottleneck_channels": 4, "grid": 2}
    return recipe(shards, runs, name, **{"model": model, "workers": ALONE, **changes})


@pytest.fixture(scope="module")
def foreseen(ray_here, shards, runs) -> dict:
    """Predictive coding of clips, their labels not looked at."""
    found = clips_recipe(
        shards, runs, "foreseen", method="predictive", predictive={"blocks": 4, "frames": 1, "steps": 2},
        data={"size": 32, "lanes": 2, "shuffle_row_groups": 2},
    )  # fmt: skip
    return train(found)


def test_intensity_from_few_labels_after_predictive_coding(foreseen, shards, runs, tmp_path):
    assert foreseen["metric"] == "val_accuracy"
    assert 0 <= foreseen["best"] <= 1
    data = {"size": 32, "lanes": 2, "shuffle_row_groups": 2, "frames_per_clip": 4, "labels": {"share": 0.3}}
    found = clips_recipe(
        shards, runs, "few", method=None, task="intensity", data=data, init={"run": "foreseen"},
        optim={"epochs": 3, "lr": 1e-3, "encoder": 0.0},
    )  # fmt: skip
    result = train(found)
    assert result["metric"] == "val_icc"
    # An epoch draws the clips with a label within the budget.
    context = make_context(found)
    assert 0 < context.order().clips < sum(group.clips for group in context.order().groups)
    # What was pretrained is what was started from, and an encoder without a learning rate stays as it is.
    frozen = [weights(runs / name)["network.encoder.stem.0.weight"] for name in ("foreseen", "few")]
    torch.testing.assert_close(*frozen, rtol=0, atol=0)
    moved = [weights(runs / name)["network.memory.update.weight"] for name in ("foreseen", "few")]
    assert (moved[0] != moved[1]).any()

    report = evaluate("few", runs=open_store(runs))
    assert report["rows_scored"] == report["rows_expected"] > 0
    assert {"icc", "pcc", "mse", "mae"} <= report["average"].keys()
    assert all(row["frames"] == report["rows_expected"] for row in report["aus"])  # test subjects keep all labels
    assert "30 %" in report["stamp"]
    assert "ICC(3,1)" in Path(report["html"]).read_text()
    film = tmp_path / "film.mp4"
    write_film(film, seed=1, frames=10)
    table = predict(str(runs / "few"), film, tmp_path / "out").csv.read_text().splitlines()
    assert table[0] == "frame, timestamp, confidence, success, " + ", ".join(
        f"{row['name']}_r" for row in report["aus"]
    )


def test_the_network_to_start_from_must_be_of_the_same_kind(foreseen, shards, runs):
    with pytest.raises(CheckpointError, match="kind of network"):
        train(recipe(shards, runs, "mixed", method=None, task="detection", init={"run": "foreseen"}))


def test_more_frames_than_a_clip_has_are_refused(ray_here, shards, runs):
    found = clips_recipe(shards, runs, "long", method="predictive", data={"size": 32, "lanes": 2})
    with pytest.raises(RecipeError, match=r"at most 4 frames in a row\. Found 40"):
        train(found)


def test_rare_action_units_can_be_drawn_more_often(ray_here, shards, runs):
    data = {"size": 32, "lanes": 2, "shuffle_row_groups": 2, "balance": 1.0}
    context = make_context(recipe(shards, runs, "balanced", data=data))
    even = make_context(recipe(shards, runs, "even", data={**data, "balance": 0.0}))
    copies = context.order().copies(0)
    assert copies.sum() == even.order().clips == context.order().clips
    assert copies.max() > 1


def test_a_pretraining_cannot_be_evaluated(pretrained, runs):
    with pytest.raises(CheckpointError, match="task: detection"):
        evaluate("pretrain", runs=open_store(runs))


def test_a_start_from_leaked_subjects_is_refused(pretrained, shards, runs):
    other = {"size": 32, "lanes": 2, "shuffle_row_groups": 2, "protocol": {"fold": 1}}
    with pytest.raises(CheckpointError, match="trained on subjects that validate or test here"):
        train(
            recipe(shards, runs, "leak", method=None, task="detection", init={"run": "pretrain"}, data=other),
        )
