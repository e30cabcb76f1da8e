"""A campaign whose driver is killed twice comes to the same end as one that nothing happened to, and leaves nothing.

    python benchmarks/campaign_faults.py [--trials 50] [--storage folder s3 postgres]
    python benchmarks/campaign_faults.py --tiny       two trials in a folder, killed once

One trial at a time, stopped early by successive halving, on two CPUs of one Ray that outlives the drivers. With S3 the
runs and the journal are in a bucket, with PostgreSQL the study is in a database, which is away for a minute once. Of
each: trials by state, those whose values or validations differ from the undisturbed campaign's, minutes, and what is
left of it in Ray afterwards.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from postgres_server import PASSWORD, server

from au_dist.cluster.local_s3 import server as s3
from au_dist.ingest.synthetic import ingest_synthetic
from au_dist.storage.store import open_store
from au_dist.synthetic.clips import SynthSpec
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.record import trials_of

RECIPE: dict[str, Any] = {
    "method": "aunce",
    "data": {"size": 32, "lanes": 2, "frames_per_clip": 1, "cpus": 0.2, "protocol": {"folds": 2}},
    "model": {"embed_dim": 8, "num_neighbors": 2, "bottleneck_channels": 4},
    "batch": {"clips": 16},
    "optim": {"epochs": 4},
    "workers": {"count": 1, "cpus": 0.5},
}
SPACE = {
    "aunce.temperature": {"log": [0.05, 1.0]},
    "aunce.beta_majority": {"uniform": [0.2, 1.2]},
    "aunce.positive_weights": {"weights": ["highest", "mean", "view"]},
}

#: Seconds that a database is away; seconds for which leftovers may take to go.
AWAY_S, GO_S = 60.0, 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of a campaign.

    Attributes:
        minutes: From its first command to the end of its last.
        trials: State, values and validations of each trial, in order.
        left: What is left of it in Ray, in words.
    """

    minutes: float
    trials: list[tuple[str, str, str]]
    left: str


def run(file: Path, killed_at: list[int], away: tuple[int, Callable[[], object]] | None = None) -> Outcome:
    """Run a campaign by its command, again and again until it has ended.

    Args:
        file: Its file.
        killed_at: Trials a moment after whose first validation the driver is killed.
        away: A trial at whose start something is done, and what.
    """
    begun, kills = time.monotonic(), list(killed_at)
    while True:
        command = [sys.executable, "-m", "au_dist", "tune", "run", str(file)]
        driver = subprocess.Popen(command, text=True, start_new_session=True, stdout=subprocess.PIPE)
        assert driver.stdout is not None
        for line in driver.stdout:
            if away and line.startswith(f"trial {away[0]}  start"):
                threading.Thread(target=away[1]).start()
                away = None
            if "database" in line:
                sys.stderr.write(line)
            if kills and line.startswith(f"trial {kills[0]}  validation 1"):
                kills.pop(0)
                os.killpg(driver.pid, signal.SIGKILL)
        if driver.wait() == 0:
            break
        if driver.returncode != -signal.SIGKILL:
            sys.exit(f"the campaign ended with {driver.returncode}")
    campaign = load_campaign(file)
    trials = [
        (one.state, json.dumps(one.values), json.dumps({str(key): value for key, value in one.history.items()}))
        for one in trials_of(campaign)
    ]
    return Outcome((time.monotonic() - begun) / 60, trials, _left())


def _left() -> str:
    """Return what of other jobs than this one is left in Ray."""
    import ray
    from ray.util import placement_group_table

    def found() -> list[str]:
        groups = sum(group["state"] != "REMOVED" for group in placement_group_table().values())
        taken = ray.cluster_resources().get("CPU", 0) - ray.available_resources().get("CPU", 0)
        names = [entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True)]
        actors = sum(name.startswith("au-dist") for name in names)  # Ray Data keeps one of its own
        counts = {"placement groups": groups, "CPU taken": taken, "named actors": actors}
        return [f"{count:g} {name}" for name, count in counts.items() if count]

    until = time.monotonic() + GO_S
    while found() and time.monotonic() < until:
        time.sleep(1)
    return ", ".join(found()) or "nothing"


def write(folder: Path, name: str, trials: int, **keys: Any) -> Path:
    """Write a campaign's file."""
    raw = {
        "name": name,
        "campaigns": str(folder / "campaigns"),
        "trials": trials,
        "concurrent": 1,
        "space": SPACE,
        "recipe": {**RECIPE, "shards": str(folder / "shards")},
        **keys,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@contextlib.contextmanager
def storage(kind: str, folder: Path) -> Iterator[tuple[dict[str, Any], Callable[[], object] | None]]:
    """Yield what a campaign's file says of a kind of storage, and what makes it go away for a while."""
    if kind == "folder":
        yield {}, None
    elif kind == "s3":
        place = folder / "s3"
        s3.up(place)
        try:
            environment = s3.environment(place)
            os.environ.update(environment)
            s3.make_bucket(environment, "campaigns")
            yield {"campaigns": "s3://campaigns/all"}, None
        finally:
            s3.down(place, kill=True)
    else:
        os.environ["PGPASSWORD"] = PASSWORD
        with server() as database:

            def away() -> None:
                database.stop()
                time.sleep(AWAY_S)
                database.start()

            yield {"storage": database.address}, away


def row(name: str, found: Outcome, plain: Outcome) -> str:
    """Return an outcome as a row of the table."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(one[0] for one in found.trials).items()))
    pairs = list(zip(found.trials, plain.trials, strict=True))
    for number, (one, other) in enumerate(pairs):
        if one != other:
            print(f"trial {number}: {one}\n  undisturbed: {other}", file=sys.stderr, flush=True)
    values, whole = (sum(one[part] != other[part] for one, other in pairs) for part in (1, 2))
    cells = (name, states, f"{values} and {whole}", f"{found.minutes:.1f}", found.left)
    return f"| {' | '.join(cells)} |"


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    from au_dist.runs.session import ray_session

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--storage", nargs="+", choices=("folder", "s3", "postgres"), default=["folder"])
    parser.add_argument("--tiny", action="store_true", help="two trials in a folder, killed once")
    options = parser.parse_args(argv)
    trials, kills = (2, [0]) if options.tiny else (options.trials, [options.trials // 3, 2 * options.trials // 3])
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        # Before Ray, whose processes find the store by their environment.
        stores = {kind: stack.enter_context(storage(kind, folder)) for kind in options.storage}
        stack.enter_context(ray_session())
        import ray

        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        ingest_synthetic(SynthSpec(12, 1, 40, 1, size=32, stride=10), open_store(folder / "shards"))
        plain = run(write(folder, "undisturbed", trials), [])
        head = "| campaign | trials | other values, other validations | minutes | left in Ray |"
        print(f"{head}\n|---|---|---|---|---|\n{row('undisturbed', plain, plain)}", flush=True)
        for kind, (keys, goes) in stores.items():
            away = None if goes is None else (trials // 2, goes)
            found = run(write(folder, kind, trials, **keys), kills, away)
            print(row(f"{kind}, driver killed {len(kills)} times", found, plain), flush=True)


if __name__ == "__main__":
    main()
