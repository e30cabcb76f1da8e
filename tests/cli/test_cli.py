"""Nonsense at the front door: one paragraph, exit code 2, nothing half-written."""

import io
import os
import shutil
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from au_dist.cli import main
from au_dist.cli.sender import SENT_BY

ROOT = Path(__file__).resolve().parents[2]


def au_dist(*arguments):
    """Run a verb in this process: to start one of its own takes longer than most of them."""
    said, complained = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(complained):
        patch.setattr(sys, "argv", ["au-dist", *map(str, arguments)])
        with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as end:
            main()
    return SimpleNamespace(returncode=end.value.code, stdout=said.getvalue(), stderr=complained.getvalue())


def process(*arguments, timeout=120, cwd=ROOT, **environment):
    """The same in a process of its own, with an environment of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "au_dist", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def refused(run, *parts):
    """Assert that a run ended with one paragraph that holds all parts."""
    assert run.returncode == 2, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    paragraph = run.stderr.strip().splitlines()[-1]
    assert paragraph.startswith("error: ")
    for part in parts:
        assert part in paragraph


@pytest.fixture
def recipe(tmp_path, shards):
    """A small valid recipe file, changed by nested keys."""

    def write(**changes):
        raw = {
            "name": "x",
            "shards": shards.uri,
            "runs": str(tmp_path / "runs"),
            "task": "detection",
            "data": {"size": 32, "lanes": 2},
            "batch": {"clips": 4},
            **changes,
        }
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(raw))
        return file

    return write


def test_a_misspelt_key_names_the_nearest(recipe):
    refused(au_dist("train", recipe(optim={"lerning_rate": 1})), "optim.lerning_rate", "optim")
    refused(au_dist("train", recipe(bach={"clips": 4})), "Unknown key `bach`", "Did you mean `batch`?")


def test_a_job_that_another_version_sent_is_refused(monkeypatch):
    monkeypatch.setenv(SENT_BY, "0.0.1")
    refused(au_dist("--version"), "another au-dist", "au-dist 0.0.1", f"au-dist {version('au-dist')}")
    monkeypatch.setenv(SENT_BY, version("au-dist"))
    assert au_dist("--version").returncode == 0
    assert SENT_BY not in os.environ


def test_a_recipe_that_is_not_there():
    refused(au_dist("train", "nowhere.yaml"), "no such file", "nowhere.yaml")


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(au_dist("ingest", "video", tmp_path / "empty", "--out", tmp_path / "out"), "no videos", "an empty folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_a_video_that_is_a_text_file(tmp_path, ray_here):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "film.mp4").write_text("this is not a video")
    refused(au_dist("ingest", "video", tmp_path / "in", "--out", tmp_path / "out"), "film.mp4")
    assert not (tmp_path / "out").exists() or not any(tmp_path.joinpath("out").rglob("*.*"))


def test_a_store_that_is_not_there():
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    refused(process("doctor", "s3://bucket/x", **nowhere), "cannot be reached", "AWS_ENDPOINT_URL")


@pytest.mark.s3
def test_wrong_credentials(s3_store, recipe, tmp_path):
    """Wherever a store is named: what is read, and what is written."""
    wrong = {**s3_store.environment, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    address = f"s3://{s3_store.bucket}/x"
    for arguments in (("doctor", address), ("synth", "--out", address), ("train", recipe(), f"runs={address}")):
        run = process(*arguments, **wrong)
        refused(run, "refused the credentials", "AWS_ACCESS_KEY_ID")
        assert "not-the-secret" not in run.stdout + run.stderr


def test_a_folder_without_shards(tmp_path):
    refused(au_dist("doctor", tmp_path), "no shards here", "manifest.json")


def test_a_truncated_shard_and_a_changed_manifest(tmp_path, shards):
    copy = tmp_path / "copy"
    shutil.copytree(shards.uri, copy)
    shard = next((copy / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-9])
    refused(au_dist("doctor", copy), "1 faults")
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"clip_frames": 4', '"clip_frames": 5'))
    refused(au_dist("doctor", copy), "hash does not match")


def test_a_checkpoint_without_complete(tmp_path):
    (tmp_path / "run/checkpoints/step-00000004").mkdir(parents=True)
    (tmp_path / "run/checkpoints/step-00000004/weights.safetensors").write_bytes(b"half")
    refused(au_dist("pull", tmp_path / "run", "--to", tmp_path / "model"), "not complete", "COMPLETE")
    assert not (tmp_path / "model").exists()


def test_no_runs(tmp_path):
    refused(au_dist("best", tmp_path), "No run here")
    refused(au_dist("runs"), "AU_DIST_RUNS")


def test_the_list_of_runs_has_a_column_for_each_value_that_differs(recipe, tmp_path):
    def listed():
        return [" ".join(line.split()) for line in au_dist("runs", tmp_path / "store").stdout.splitlines()]

    def put(name, **changes):
        folder = tmp_path / "store" / name
        folder.mkdir(parents=True)
        shutil.copy(recipe(name=name, **changes), folder / "recipe.yaml")

    put("a", aunce={"temperature": 0.25}, workers={"count": 2})
    assert listed()[0] == "run kind status steps best metric at step"
    put("b", aunce={"positive_weights": [1, 0, 0, 0]}, workers={"count": 1})
    head, _, first, second = listed()
    assert head == "run kind status steps best metric at step aunce.temperature aunce.positive_weights"
    assert first == "a detection started 0 – val_auc – 0.25 0.20 0.60 0.20 0.00"
    assert second == "b detection started 0 – val_auc – 0.5 1.00 0.00 0.00 0.00"
    many = {"lr": 0.5, "epochs": 2.0, "weight_decay": 0.5, "warmup": 0.3, "grad_clip": 3.0, "layer_decay": 0.5}
    put("c", optim=many, seed=4)
    head, *_, words = listed()
    assert head.endswith("at step")
    assert words.startswith("The recipes differ in 9 values: seed, aunce.temperature, ")


def test_a_healthy_set(shards):
    run = au_dist("doctor", shards.uri)
    assert run.returncode == 0, run.stderr
    assert "no fault" in run.stdout
    assert "AU12" in run.stdout


@pytest.mark.ray
def test_more_workers_than_the_cluster_has(recipe, tmp_path, ray_here):
    many = recipe(workers={"count": 64}, data={"size": 32, "lanes": 64})
    refused(au_dist("train", many), "does not fit", "64 workers")
    assert not (tmp_path / "runs").exists()
