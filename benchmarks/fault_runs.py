"""Runs for `faults.py`: started in processes of their own, watched, started again; and small clusters for them."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from resume import kill_all

from au_dist.cluster import local, nodes, record
from au_dist.storage.store import Store
from au_dist.train import checkpoint

if TYPE_CHECKING:
    from au_dist.train.events import Event

RECIPE = """
name: {name}
shards: {shards}
runs: {runs}
{job}
data: {{size: 32, lanes: 4, shuffle_row_groups: 4, cpus: 0.2, frames_per_clip: {frames}}}
model: {{embed_dim: 16, bottleneck_channels: 4}}
batch: {{clips: 16}}
optim: {{epochs: {epochs}, lr: 0.001}}
checkpoint: {{every_steps: {every}, last_k: 3, keep_multiples_of: 10, ledger: true}}
workers: {{count: {count}, cpus: {cpus}, max_failures: 2}}
"""


class Run:
    """A run in a process of its own, started as often as it takes.

    Args:
        place: A folder for its recipe and what it shows.
        name: Its name.
        shards: Where its clips are.
        runs: Where it is stored.
        environment: How to reach storage and cluster.
        job: What it trains.
        frames: Frames of a clip.
        count: Workers.
        cpus: CPUs of each.
        epochs: How long it is.
        every: Steps between checkpoints.
    """

    def __init__(
        self,
        place: Path,
        name: str,
        shards: Store,
        runs: Store,
        environment: dict[str, str],
        *,
        job: str = "method: aunce",
        frames: int = 1,
        count: str = "2",
        cpus: float = 0.4,
        epochs: int = 3,
        every: int = 10,
    ) -> None:
        self.recipe, self.events = place / f"{name}.yaml", place / f"{name}.jsonl"
        places = {"name": name, "shards": shards.uri, "runs": runs.uri}
        text = RECIPE.format(**places, job=job, frames=frames, count=count, cpus=cpus, epochs=epochs, every=every)
        self.recipe.write_text(text)
        self.events.touch()
        self.log = self.events.with_suffix(".log")
        self.store, self.environment, self.starts = runs.at(name), environment, 0

    def start(self) -> "Run":
        """Give the command."""
        self.starts += 1
        command = [sys.executable, __file__, str(self.recipe), str(self.events)]
        with self.log.open("a") as log:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log)
        return self

    def rows(self) -> list[dict[str, Any]]:
        """Return what the run has shown so far."""
        return [json.loads(line) for line in self.events.read_text().splitlines()]

    def step(self) -> int:
        """Return the newest step that is known to be done."""
        return max((row["step"] for row in self.rows() if "lr" in row), default=0)

    def reach(self, step: int) -> None:
        """Wait until a step is done."""
        begun = time.monotonic()
        while self.step() < step:
            if self.process.poll() is not None or time.monotonic() - begun > 180:
                sys.exit(f"step {step} is not reached: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the training workers, those away from a cluster's head last."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if "RayTrainWorker" in " ".join(process.info["cmdline"] or ()) and self._is_mine(process):
                found.append(process)
        return sorted(found, key=lambda process: "--head" in raylet(process).cmdline(), reverse=True)

    def _is_mine(self, process: psutil.Process) -> bool:
        """Return whether a worker is below the driver, or below a node of the run's cluster."""
        try:
            if head := {**os.environ, **self.environment}.get("RAY_ADDRESS"):
                port = head.rpartition(":")[2]
                return any(re.fullmatch(f"--gcs-address=.*:{port}", part) for part in raylet(process).cmdline())
            return psutil.Process(self.process.pid) in process.parents()
        except (psutil.NoSuchProcess, StopIteration):  # it has ended, or its node has: it was another Ray's
            return False

    def begin_at(self, step: int, other: "Run") -> "Run":
        """Take over another run's checkpoint of a step."""
        for path in other.store.list(checkpoint.folder(step), recursive=True):
            self.store.write(path, other.store.read(path))
        return self

    def kill(self) -> None:
        """Kill the driver and all below it."""
        kill_all(self.process.pid)

    def finish(self) -> "Run":
        """Wait for the end; where the command ended otherwise, give it again."""
        while self.process.wait() and self.starts < 4:
            self.start()
        return self


def raylet(process: psutil.Process) -> psutil.Process:
    """Return the raylet that a process belongs to."""
    return next(parent for parent in process.parents() if "raylet" in parent.name())


class Nodes:
    """A cluster of several nodes on this machine.

    Args:
        folder: Where its record is.
        cluster: The cluster.
    """

    def __init__(self, folder: Path, cluster: local.LocalCluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.environment = local.environment(cluster)

    def add(self) -> None:
        """Add a node of the same shape."""
        known = record.read(self.folder)
        assert known is not None
        temp = Path(known.temp) / str(len(known.leaders))
        temp.mkdir()
        shape = known.shape
        command = nodes.start_command(
            head=False,
            ports=nodes.Ports(int(known.address.rpartition(":")[2]), 0, 0),
            dashboard_host=shape.dashboard_host,
            cpus=shape.cpus_per_node,
            gpus=0,
            memory_mb=nodes.memory_mb(1, shape.object_store_mb, nodes.free_memory()),
            object_store_mb=shape.object_store_mb,
            temp=temp,
        )
        variables = nodes.node_environment(
            os.environ, cluster_id=known.cluster_id, token_path=self.cluster.token_path, devices=None
        )
        leader = nodes.spawn(command, variables, folder=temp, log=temp.with_suffix(".log"))
        record.write(replace(known, leaders=(*known.leaders, leader)), self.folder)

    def drain(self, node: psutil.Process, seconds: int) -> None:
        """Give notice that a node is to go."""
        name = next(part.partition("=")[2] for part in node.cmdline() if part.startswith("--node_id="))
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.cluster.address),
            *("--node-id", name, "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
            *("--reason-message", "reclaimed", "--deadline-remaining-seconds", str(seconds)),
        ]
        subprocess.run(command, env={**os.environ, **self.environment}, check=True, capture_output=True)


@contextlib.contextmanager
def cluster_of(count: int, folder: Path) -> Iterator[Nodes]:
    """Run a cluster for the length of a block."""
    folder.mkdir()
    try:
        yield Nodes(folder, local.up(nodes=count, cpus_per_node=2, directory=folder, object_store_mb=120))
    finally:
        local.down(folder)


def line(event: "Event") -> dict[str, Any]:
    """Return what is written of an event: numbers of steps and validations by name, otherwise what was said."""
    from au_dist.train import events

    match event:
        case events.StepDone() | events.Validated():
            return event.row()
        case events.Noted():
            return {"noted": event.words}
        case events.Resumed():
            return {"resumed": True, "step": event.step}
        case events.Stored():
            return {"stored": True, "step": event.step}
        case events.CheckpointDamaged():
            return {"damaged": event.fault}
        case events.Waiting():
            return {"late": event.words}
        case events.NodesDraining():
            return {"draining": event.words}
        case events.WorkersLost():
            return {"lost": event.words}


def child(recipe: str, events: str) -> None:
    """Train, and write what is shown with its time."""
    from au_dist.cli.terminal import asked_to_stop
    from au_dist.core.errors import AuDistError
    from au_dist.recipes.files import load_recipe
    from au_dist.runs.session import ray_session
    from au_dist.runs.train import train

    def show(event: "Event") -> None:
        write(line(event))

    def write(entry: dict[str, Any]) -> None:
        with Path(events).open("a") as file:
            file.write(json.dumps({"time": time.time(), **entry}) + "\n")

    with ray_session(), asked_to_stop() as stop:
        try:
            train(load_recipe(Path(recipe), []), show, stop=stop)
        except AuDistError as error:
            write({"error": str(error)})
            print(error, flush=True)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    child(*sys.argv[1:])
