"""Whole campaigns: real trials, a killed driver, trials that cannot be trained."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from campaign_files import write_campaign

from au_dist.cli.verbs import app
from au_dist.core.errors import ClusterError, RecipeError, ShardError, TrainError
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.report import REPORT
from au_dist.tuning.run import run_campaign
from au_dist.tuning.study import open_study
from au_dist.tuning.trial import BEGUN


def four_cpus() -> list[dict[str, float]]:
    return [{"CPU": 4.0}]


def test_nothing_starts_when_it_could_not_end_well(tmp_path: Path, shards: Store) -> None:
    path = write_campaign(tmp_path, shards.uri)
    with pytest.raises(ClusterError, match="Not even one trial"):
        run_campaign(path, [], lambda: [{"CPU": 0.5}])
    with pytest.raises(ShardError, match="no shards"):
        run_campaign(path, [f"recipe.shards={tmp_path}/elsewhere"], four_cpus)
    with pytest.raises(RecipeError, match="fewer clips than one step takes"):
        run_campaign(path, ["space={batch.clips: {choice: [4, 4096]}}"], four_cpus)
    with pytest.raises(RecipeError, match="larger than the stored crops"):
        run_campaign(path, ["space={data.size: {choice: [32, 64]}}"], four_cpus)
    with pytest.raises(RecipeError, match=r"cannot move so far(?s:.)*less than the 4 frames"):
        run_campaign(path, ["recipe.data.labels={shifted: 2, coder: 2}"], four_cpus)
    with pytest.raises(RecipeError, match="No action unit can be"):
        run_campaign(path, ["recipe.data.labels={share: 0.001, seed: 2}"], four_cpus)
    assert not (tmp_path / "campaigns").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_a_campaign_from_its_file_to_its_best_checkpoint(tmp_path: Path, shards: Store, ray_here: None) -> None:
    path = write_campaign(tmp_path, shards.uri)
    shown: list[str] = []
    found = run_campaign(path, [], four_cpus, shown.append)

    assert shown[0] == "2 trials, 2 left to run, 2 at once"
    assert [trial.number for trial in sorted(found.trials, key=lambda trial: trial.number)] == [0, 1]
    assert found.trials[0].metric == max(trial.metric or 0 for trial in found.trials) <= found.best.reported
    assert found.columns[3:] == [
        "val_auc",
        "aunce.temperature",
        "aunce.beta_majority",
        "aunce.beta_minority",
        "aunce.positive_weights",
    ]
    assert [len(row) for row in found.rows] == [len(found.columns)] * 2

    # The best was scored from the stored weights; with another process's ranks, so to 1e-6.
    place = open_store(found.best.checkpoint)
    assert found.best.rescored == pytest.approx(checkpoint.state(place).metrics["val_auc"], abs=1e-6)
    recipe = checkpoint.state(place).recipe
    assert recipe["aunce"]["temperature"] == found.best.values["aunce.temperature"]
    assert recipe["aunce"]["positive_weights"] == pytest.approx(found.best.values["aunce.positive_weights"])
    assert f"au-dist pull {place.uri}" in found.summary
    app(["pull", found.place, "--to", str(tmp_path / "pulled")], standalone_mode=False)
    assert (tmp_path / "pulled/weights.safetensors").read_bytes() == place.read(checkpoint.WEIGHTS)
    assert open_store(found.place).read("report.html").startswith(b"<!doctype html>")

    campaign = load_campaign(path)
    with open_study(campaign) as study:
        for trial, row in zip(study.trials(), sorted(found.trials, key=lambda row: row.number), strict=True):
            assert (trial.state, trial.values, len(trial.history)) == (row.state, row.values, row.validations)
            run = open_store(row.run)
            # One that is stopped early may have come further, even to its end, before it heard so.
            assert run.exists("result.json") or row.state == "stopped early"
            recorded = [json.loads(line) for line in run.read("metrics.jsonl").splitlines()]
            measured = [line["val_auc"] for line in recorded if "val_auc" in line]
            assert list(trial.history.values()) == measured[: len(trial.history)]
    assert json.loads(campaign.place.read(REPORT))["best"] == dataclasses.asdict(found.best)

    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "campaigns").rglob("*") if "runs" in file.parts}
    shown.clear()
    assert run_campaign(path, [], four_cpus, shown.append) == found
    assert shown == ["2 trials, 0 left to run, 2 at once"]
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_that_is_stopped_lets_go_of_its_workers_and_can_be_taken_up(
    tmp_path: Path, shards: Store, ray_here: None
) -> None:
    import ray
    from ray.util import placement_group_table

    from au_dist.tuning.trial import Training

    def states() -> set[str]:
        return {group["state"] for group in placement_group_table().values()}

    # Long enough not to be over before it is stopped: nothing waits for its validations to be taken.
    epochs = 15
    recipe = load_campaign(write_campaign(tmp_path, shards.uri, recipe={"optim": {"epochs": epochs}})).trial(0, {})
    process = ray.remote(num_cpus=0)(Training)
    training = process.remote(recipe)
    assert ray.get(training.next.remote()) == {BEGUN: True}
    first = ray.get(training.next.remote())
    assert (first["validation"], first["rung"]) == (1, 1)
    assert "CREATED" in states()
    ray.get(training.stop.remote())
    assert states() == {"REMOVED"}

    again = process.remote(recipe)
    messages = []
    while "outcome" not in (messages[-1] if messages else {}):
        messages.append(ray.get(again.next.remote()))
    assert {key: messages[0][key] for key in ("step", "val_auc", "validation")} == {
        key: first[key] for key in ("step", "val_auc", "validation")
    }
    messages.remove({BEGUN: True})  # after those of the past
    assert [message.get("validation") for message in messages] == [*range(1, epochs + 1), None]
    assert "rung" not in messages[-2]
    assert messages[-1] == {"outcome": "finished", "val_auc": max(message["val_auc"] for message in messages[:-1])}


@pytest.mark.ray
@pytest.mark.slow
def test_trials_that_fail_are_counted_and_do_not_end_the_campaign(
    tmp_path: Path, shards: Store, ray_here: None
) -> None:
    """At such learning rates nothing is a number after the first step."""
    lost = {"optim.lr": {"uniform": [1e30, 1e31]}}
    path = write_campaign(tmp_path, shards.uri, recipe={"optim": {"clip": 0, "epochs": 3}}, space=lost, trials=1)
    with pytest.raises(TrainError, match="No trial of the campaign came to a result") as caught:
        run_campaign(path, [], four_cpus)
    said = r"1 failed; trial 0: The (network gives no numbers|gradient is not finite)"
    assert re.search(said, str(caught.value)), str(caught.value)

    campaign = load_campaign(path)
    with open_study(campaign) as study:
        assert [trial.state for trial in study.trials()] == ["failed"]


@pytest.mark.ray
@pytest.mark.slow
def test_a_campaign_no_trial_of_which_could_begin_leaves_its_name(
    tmp_path: Path, shards: Store, ray_here: None
) -> None:
    path = write_campaign(tmp_path, shards.uri, trials=1)
    campaign = load_campaign(path)
    with open_study(campaign) as study:
        study.fail(study.ask(), "The weights are torn.")
    with pytest.raises(TrainError, match=r"1 failed; trial 0: The weights are torn"):
        run_campaign(path, [], four_cpus)
    assert not campaign.place.list()


def tune(folder: Path) -> subprocess.Popen[str]:
    """Start a campaign from the folder of its file, in a process group of its own."""
    command = [sys.executable, "-m", "au_dist", "tune", "run", "campaign.yaml"]
    return subprocess.Popen(command, text=True, start_new_session=True, cwd=folder, stdout=subprocess.PIPE)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_campaign_that_is_asked_to_stop_goes_on(own_folder: Path, joined: None) -> None:
    """A trial has been validated, but not finished, when its driver is asked to stop; the next one comes to the end."""
    longer = {"optim": {"epochs": 24}}
    path = write_campaign(own_folder, "shards", recipe=longer, early_stopping=None, trials=1)
    first = tune(own_folder)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("trial 0  validation 1"):
            break
    first.send_signal(signal.SIGTERM)
    text, _ = first.communicate(timeout=240)
    assert first.returncode == 75, text
    assert "was imported" not in text
    assert re.search(r"trial 0  interrupted  .*The run was asked to stop.* of 72, stored", text), text
    campaign = load_campaign(path)
    with open_study(campaign) as study:
        (before,) = study.trials()
    assert before.state == "unfinished"
    assert f"step {checkpoint.steps(campaign.place.at('runs/trial-00000'))[-1]} of 72, stored" in text

    again = tune(own_folder)
    text, _ = again.communicate(timeout=240)
    assert again.returncode == 0, text
    assert "1 trial, 1 left to run, 1 at once" in text
    assert "trial 0  validation 1 " not in text
    with open_study(campaign) as study:
        (after,) = study.trials()
    assert after.state == "finished"
    assert after.values == before.values
    assert list(after.history) == list(range(1, longer["optim"]["epochs"] + 1))
    assert before.history.items() <= after.history.items()
