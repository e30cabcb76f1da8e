"""A folder with the user's own `cluster.py`, `tuning.py`, `numpy.py` and `ray.py` breaks nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

NAMES = ("cluster", "tuning", "numpy", "ray", "torch", "random_module")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the user\\'s own {name}.py was imported')\n")
    return tmp_path


def run(folder, *arguments, module=False):
    script = [sys.executable, "-m", "au_dist"] if module else [str(Path(sys.executable).with_name("au-dist"))]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, cwd=folder, env=environment)
    assert "was imported" not in done.stdout + done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", [False, True])
def test_help_answers(folder, module):
    assert "Distributed training" in run(folder, "--help", module=module)


@pytest.fixture
def recipe(folder, shards):
    """A recipe whose folders are relative to this one, which is not that of the workers."""
    shutil.copytree(shards.uri, folder / "shards")
    return {
        "task": "detection",
        "shards": "shards",
        "data": {"size": 32, "lanes": 2},
        "batch": {"clips": 4},
        "optim": {"epochs": 1},
        "workers": {"count": 1},
        "model": {"embed_dim": 8, "num_neighbors": 2, "bottleneck_channels": 0},
    }


@pytest.mark.slow
@pytest.mark.ray
def test_training_runs_with_relative_folders(folder, recipe):
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": "a", "runs": "runs", **recipe}))
    assert "best val_auc" in run(folder, "train", "recipe.yaml")
    assert (folder / "runs/a/result.json").exists()


@pytest.mark.slow
@pytest.mark.ray
def test_campaigns_run_on_a_ray_that_is_there(folder, recipe, joined):
    campaign = {"name": "c", "campaigns": "found", "recipe": recipe, "trials": 1}
    campaign["space"] = {"optim.lr": {"log": [0.001, 0.01]}}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    assert "1 finished" in run(folder, "tune", "run", "campaign.yaml", module=True)
