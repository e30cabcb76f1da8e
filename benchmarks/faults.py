"""Break a run in the ways that clusters break, and compare what comes of it with the same run left in peace.

    python benchmarks/faults.py [--only "a worker is killed" ...]

Two workers on this machine, a checkpoint every 10 steps. Each fault happens after step `AT`. Whatever ends the command,
it is given again. Printed: what happened, the seconds until a step was done that had not been done before, the steps
that were done again, and whether the final weights (bit for bit) and the ledger are those of the undisturbed run.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from au_dist import checkpoint
from au_dist.ingest.synthetic import SynthSpec
from au_dist.jobs.ingest import ingest_synthetic
from au_dist.jobs.verify_order import verify
from au_dist.storage import Store, open_store
from cluster import s3, s3_faults

STEPS, AT = 90, 25

RECIPE = """
name: {name}
shards: {shards}
runs: {runs}
method: aunce
data: {{size: 32, lanes: 4, mix: 4, cpus: 0.2}}
model: {{width: 16, squeeze: 4}}
batch: {{clips: 16}}
optim: {{epochs: 3, lr: 0.001}}
keep: {{every: 10, last: 3, ledger: true}}
workers: {{count: 2, cpus: 0.4, max_failures: 2}}
"""


class Run:
    """A run in a process of its own, started as often as it takes.

    Args:
        place: A folder for its recipe and what it shows.
        name: Its name.
        base: Where shards and runs are.
        environment: How to reach them.
    """

    def __init__(self, place: Path, name: str, base: Store, environment: dict[str, str]) -> None:
        self.recipe, self.events = place / f"{name}.yaml", place / f"{name}.jsonl"
        self.recipe.write_text(RECIPE.format(name=name, shards=base.at("shards").uri, runs=base.at("runs").uri))
        self.events.touch()
        self.store, self.environment, self.starts = base.at("runs", name), environment, 0

    def start(self) -> "Run":
        """Give the command."""
        self.starts += 1
        command = [sys.executable, __file__, "--child", str(self.recipe), str(self.events)]
        with self.events.with_suffix(".log").open("a") as log:
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
                sys.exit(f"step {step} is not reached: {self.events.with_suffix('.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the training workers."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in below if "RayTrainWorker" in " ".join(process.cmdline())]

    def kill(self) -> None:
        """Kill the driver and all below it."""
        driver = psutil.Process(self.process.pid)
        for process in [*driver.children(recursive=True), driver]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def finish(self) -> "Run":
        """Wait for the end; where the command ended otherwise, give it again."""
        while self.process.wait() and self.starts < 4:
            self.start()
        return self


# --- faults -----------------------------------------------------------------------------------------------------------


def kill_worker(run: Run, faults: s3_faults.Faults) -> None:
    """SIGKILL of a worker."""
    run.workers()[-1].kill()


def freeze_worker(run: Run, faults: s3_faults.Faults) -> None:
    """SIGSTOP of a worker."""
    run.workers()[-1].suspend()


def kill_driver(run: Run, faults: s3_faults.Faults) -> None:
    """SIGKILL of the driver, at once the same command: Ray's processes may live on for a while."""
    run.process.kill()


def ask_to_stop(run: Run, faults: s3_faults.Faults) -> None:
    """SIGTERM."""
    run.process.send_signal(signal.SIGTERM)


def cut_upload(run: Run, faults: s3_faults.Faults) -> None:
    """SIGKILL of everything while a checkpoint is being written."""
    faults.delay_s = 0.5
    whole = run.store.list("checkpoints", recursive=True)
    while set(run.store.list("checkpoints", recursive=True)) <= set(whole):
        time.sleep(0.02)
    run.kill()
    faults.delay_s = 0.0


def truncate(run: Run, faults: s3_faults.Faults) -> None:
    """Everything is killed, and the newest checkpoint loses its end."""
    run.kill()
    place = checkpoint.newest(run.store)
    assert place is not None
    place.write(checkpoint.OPTIMIZER, place.read(checkpoint.OPTIMIZER)[:-100])


def refuse(run: Run, faults: s3_faults.Faults) -> None:
    """A fifth of the requests is answered 503, to the end."""
    faults.refused = 0.2


def stall(run: Run, faults: s3_faults.Faults) -> None:
    """Every request waits for 30 s, for 30 s."""
    faults.delay_s = 30.0
    time.sleep(30)
    faults.delay_s = 0.0


def away(run: Run, faults: s3_faults.Faults) -> None:
    """The store is down for 60 s."""
    faults.away = True
    time.sleep(60)
    faults.away = False


#: What happens → what does it.
CASES: dict[str, Callable[[Run, s3_faults.Faults], None]] = {
    "a worker is killed": kill_worker,
    "a worker freezes (SIGSTOP)": freeze_worker,
    "the driver is killed": kill_driver,
    "the driver gets SIGTERM": ask_to_stop,
    "all are killed during an upload": cut_upload,
    "the newest checkpoint is truncated": truncate,
    "the store refuses a fifth (503)": refuse,
    "the store stalls for 30 s": stall,
    "the store is down for 60 s": away,
}


def row(name: str, run: Run, before: int, at: float, peace: Run) -> str:
    """Return what came of a fault, as a row of a table."""
    rows = run.rows()
    done = [entry for entry in rows if "lr" in entry]
    later = [entry["time"] for entry in done if entry["time"] > at and entry["step"] > before]
    resumed = [entry["step"] for entry in rows if entry.get("resumed")]
    again = sum(1 for entry in done if entry["time"] > at and entry["step"] <= before)
    said = next((entry["late"] for entry in rows if "late" in entry), "")
    left_out = next((entry["damaged"] for entry in rows if "damaged" in entry), "")
    weights = [checkpoint.tensors(some.store.at(checkpoint.folder(STEPS)), checkpoint.WEIGHTS) for some in (run, peace)]
    same = all(torch.equal(weights[0][key], tensor) for key, tensor in weights[1].items())
    ledger = not verify(run.store, peace.store).faults
    cells = [
        name,
        f"{run.starts} × the command" + (f", went on from step {resumed[-1]}" if resumed else ""),
        f"{later[0] - at:.0f}" if later else "never",
        str(again),
        "equal" if same else "OTHER",
        "equal" if ledger else "OTHER",
        (said or left_out).replace("|", "/"),
    ]
    return f"| {' | '.join(cells)} |"


def child(recipe: str, events: str) -> None:
    """Train, and write what is shown with its time."""
    from au_dist.cli.terminal import asked_to_stop
    from au_dist.errors import AuDistError
    from au_dist.jobs.session import ray_session
    from au_dist.jobs.train import train
    from au_dist.recipes import load_recipe

    def show(entry: dict[str, Any]) -> None:
        with Path(events).open("a") as file:
            file.write(json.dumps({"time": time.time(), **entry}) + "\n")

    with ray_session(), asked_to_stop() as stop:
        try:
            train(load_recipe(Path(recipe), []), show, stop=stop)
        except AuDistError as error:
            print(error, flush=True)
            sys.exit(error.exit_code)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(*arguments.child)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        s3.up(place / "s3")
        try:
            environment = s3.environment(place / "s3")
            os.environ.update(environment)
            s3.make_bucket(environment, "faults")
            base = open_store("s3://faults")
            ingest_synthetic(SynthSpec(24, 1, 40, 1, size=32, stride=10), base.at("shards"))
            begun = time.monotonic()
            peace = Run(place, "peace", base, {}).start().finish()
            print(f"undisturbed: {peace.step()} steps in {time.monotonic() - begun:.0f} s, with the start of Ray\n")
            print("| what | what happened | s until it went on | steps done again | weights | ledger | said |")
            print("|---|---|---|---|---|---|---|", flush=True)
            for number, (name, fault) in enumerate(CASES.items()):
                if name in arguments.only:
                    with s3_faults.before(environment["AWS_ENDPOINT_URL"]) as (endpoint, faults):
                        run = Run(place, f"run-{number}", base, {"AWS_ENDPOINT_URL": endpoint}).start()
                        run.reach(AT)
                        before, at = run.step(), time.time()
                        fault(run, faults)
                        print(row(name, run.finish(), before, at, peace), flush=True)
        finally:
            s3.down(place / "s3", kill=True)


if __name__ == "__main__":
    main()
