"""A campaign on a cluster that something else fills."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from campaign_files import RECIPE, write_campaign

from au_dist.core.errors import ClusterError
from au_dist.runs.train import train
from au_dist.storage.store import Store
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.presence import Standing, present
from au_dist.tuning.record import read_study
from au_dist.tuning.report import CampaignResult
from au_dist.tuning.run import run_campaign

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_it_waits_says_why_and_draws_nothing_meanwhile(tmp_path: Path, shards: Store, ray_here: None) -> None:
    import ray

    def nodes() -> list[dict[str, float]]:
        return [node["Resources"] for node in ray.nodes()]

    class Hog:
        def here(self) -> None:
            pass

    hog = ray.remote(Hog).options(num_cpus=sum(node["CPU"] for node in nodes()) - 0.25).remote()
    ray.get(hog.here.remote(), timeout=60)
    shown: list[str] = []
    found: list[CampaignResult] = []
    path = write_campaign(tmp_path, shards.uri, trials=1, recipe={"optim": {"epochs": 1}})
    campaign = load_campaign(path)
    thread = threading.Thread(target=lambda: found.append(run_campaign(path, [], nodes, shown.append)), daemon=True)
    thread.start()
    try:
        roomless = campaign.base().model_copy(update={"name": "alone", "runs": str(tmp_path / "runs")})
        roomless = roomless.model_copy(update={"workers": roomless.workers.model_copy(update={"start_timeout_s": 3.0})})
        with pytest.raises(ClusterError, match=r"no room for the workers(?s:.)*room for 1 x 0.5 CPU"):
            train(roomless)
        ends = time.monotonic() + 60
        while len(shown) < 2 and time.monotonic() < ends:
            time.sleep(0.1)
        with present(threading.Event()) as other:
            assert other.others() == [Standing(0, waiting=True)]
            assert other.claim(Standing())  # the campaign claims nothing while it waits
        with read_study(campaign) as study:
            assert study.trials() == []
    finally:
        ray.kill(hog)
        thread.join(timeout=120)
    assert not thread.is_alive()
    assert shown[0] == "1 trial, 1 left to run, 1 at once"
    assert shown[1].startswith(
        "waiting for room, 0 under way: a trial needs 1 × (0.5 CPU + 0.5 CPU for data); 0.25 of "
    )
    assert shown[2].startswith("there is room again, after ")
    assert [trial.state for trial in found[0].trials] == ["finished"]


def test_two_campaigns_share_a_cluster_that_holds_one_trial(tmp_path: Path, shards: Store, ray_here: None) -> None:
    import ray

    cpus = 0.6 * sum(node["Resources"]["CPU"] for node in ray.nodes())
    commands = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        recipe = {
            "optim": {"epochs": 1},
            "workers": {"count": 1, "cpus": cpus},
            "data": {**RECIPE["data"], "cpus": 0.2},
        }
        path = write_campaign(folder, shards.uri, name=name, recipe=recipe)
        commands.append([sys.executable, "-m", "au_dist", "tune", "run", str(path)])
    reached = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    both = [
        subprocess.Popen(command, env=reached, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for command in commands
    ]
    texts = [one.communicate(timeout=500)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], texts
    assert all("2 trials: 2 finished" in text for text in texts), texts
    # One began; the other was told by whom the room was held, and drew nothing meanwhile.
    assert any("waiting for room, 0 under way" in text and "another campaign" in text for text in texts), texts
