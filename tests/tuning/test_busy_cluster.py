"""A campaign on a cluster that something else fills."""

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from campaign_files import RECIPE, write_campaign

from au_dist.core.errors import NoRoomError
from au_dist.runs.train import train
from au_dist.storage.store import Store
from au_dist.train.events import Event, Waiting
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.presence import Standing, present
from au_dist.tuning.record import TrialState, read_study
from au_dist.tuning.report import CampaignResult
from au_dist.tuning.run import run_campaign

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_it_waits_says_why_and_draws_nothing_meanwhile(tmp_path: Path, shards: Store, ray_here: None) -> None:
    import ray
    import ray.train
    import ray.tune  # neither may be imported while a thread imports the other: they need each other

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
        roomless = roomless.model_copy(
            update={"workers": roomless.workers.model_copy(update={"start_timeout_s": 15.0})}
        )
        events: list[Event] = []
        with pytest.raises(NoRoomError, match=r"no room for the workers(?s:.)*room for 1 x 0.5 CPU") as refused:
            train(roomless, events.append)
        assert refused.value.exit_code == 75
        # Why is said meanwhile, and at the end.
        why = r"it needs 1 × \(0.5 CPU \+ 0.5 CPU for data\); 0.25 of [0-9]+ CPU are free"
        waits = [event.words for event in events if isinstance(event, Waiting)]
        assert waits
        assert all(re.match(rf"for room: {why}", words) for words in waits), waits
        assert re.search(why, str(refused.value)), refused.value
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


def test_of_campaigns_that_would_begin_a_trial_at_once_one_does(ray_here: None) -> None:
    never = threading.Event()
    with present(never) as a, present(never) as b:
        first, second = sorted((a, b), key=lambda presence: presence.name)
        assert first.claim(Standing())
        assert not second.claim(Standing())
        first.tell(Standing(1))
        assert second.claim(Standing())
        assert not first.claim(Standing())  # however much it comes first: the other may have begun
        told = threading.Timer(0.3, second.tell, [Standing(1)])
        told.start()
        assert first.claim(Standing())
        told.join()


def test_two_campaigns_share_a_cluster_that_holds_one_trial(tmp_path: Path, shards: Store, ray_here: None) -> None:
    import ray

    cpus = 0.6 * sum(node["Resources"]["CPU"] for node in ray.nodes())
    reached = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    texts = {name: tmp_path / f"{name}.txt" for name in ("one", "other")}

    campaigns = {}

    def begin(name: str, trials: int) -> "subprocess.Popen[bytes]":
        folder = tmp_path / name
        folder.mkdir()
        recipe = {
            "optim": {"epochs": 1},
            "workers": {"count": 1, "cpus": cpus},
            "data": {**RECIPE["data"], "cpus": 0.2},
        }
        path = write_campaign(folder, shards.uri, name=name, recipe=recipe, trials=trials)
        campaigns[name] = load_campaign(path)
        command = [sys.executable, "-u", "-m", "au_dist", "tune", "run", str(path)]
        with texts[name].open("wb") as out:
            return subprocess.Popen(command, env=reached, stdout=out, stderr=subprocess.STDOUT)

    def trials_of(name: str) -> list[TrialState]:
        with read_study(campaigns[name]) as study:
            return study.trials()

    # One holds the room before the other asks for it, and has trials for longer than the other needs to come.
    one = begin("one", trials=12)
    while "trial 0  start" not in texts["one"].read_text() and one.poll() is None:
        time.sleep(0.1)
    other = begin("other", trials=2)
    codes = [process.wait(timeout=500) for process in (other, one)]
    said = {name: text.read_text() for name, text in texts.items()}
    assert codes == [0, 0], said
    assert ("12 trials: 12 finished" in said["one"], "2 trials: 2 finished" in said["other"]) == (True, True), said
    trials = [(trial.begun, trial.ended, name) for name in campaigns for trial in trials_of(name)]
    order = sorted((begun, ended, name) for begun, ended, name in trials if begun and ended)
    assert all(ended <= begun for (_, ended, _), (begun, _, _) in itertools.pairwise(order)), order
    # Each lets the other in after a trial; what it lets go, it does not take again itself.
    names = [name for _, _, name in order]
    first = names.index("other")
    assert names[first : first + 4] == ["other", "one", "other", "one"], (names, said)
