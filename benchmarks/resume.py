"""Kill a run again and again, on changing numbers of workers; its ledger must be that of a run left in peace.

    python benchmarks/resume.py            ten kills, workers 1, 2, 4, 2 in turn; some minutes on two cores
    python benchmarks/resume.py --tiny     one kill, workers 1, then 2, a short run and none beside it

Every kill is a SIGKILL of the driver and of every process below it, Ray's own too, at a random moment. The same
command, with another number of workers, goes on.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from au_dist.checks.verify_order import verify
from au_dist.ingest.synthetic import ingest_synthetic
from au_dist.storage.store import open_store
from au_dist.synthetic.clips import SynthSpec
from au_dist.train import checkpoint

WORKERS = (1, 2, 4, 2)

#: Seconds that a run may take to its first new checkpoint; a busy machine starts slowly.
START_S = 240

RECIPE = """
name: {name}
shards: {place}/shards
runs: {place}/runs
method: aunce
data: {{size: 32, lanes: 4, shuffle_row_groups: 4, cpus: 0.2, frames_per_clip: 1}}
model: {{embed_dim: 8, bottleneck_channels: 4}}
batch: {{clips: 16}}
optim: {{epochs: {epochs}, lr: 0.001}}
checkpoint: {{every_steps: 4, last_k: 3, ledger: true}}
workers: {{count: 2, cpus: 0.4, max_failures: 0}}
"""


def start(place: Path, name: str, workers: int, epochs: int) -> subprocess.Popen[str]:
    """Start `au-dist train` in a session of its own."""
    recipe = place / f"{name}.yaml"
    recipe.write_text(RECIPE.format(name=name, place=place, epochs=epochs))
    command = [sys.executable, "-m", "au_dist", "train", str(recipe), f"workers.count={workers}"]
    with (place / f"{name}.log").open("a") as log:
        return subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log, text=True)


def kill_all(pid: int) -> None:
    """Kill a process and all below it; Ray puts its own into sessions of their own."""
    driver = psutil.Process(pid)
    for process in [driver, *driver.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def step_of(place: Path, name: str) -> int:
    """Return the step of the newest complete checkpoint."""
    steps = checkpoint.steps(open_store(place / "runs" / name))
    return steps[-1] if steps else 0


def undisturbed(place: Path, epochs: int) -> None:
    """Run in peace, on two workers."""
    begun = time.monotonic()
    if start(place, "undisturbed", 2, epochs).wait():
        sys.exit((place / "undisturbed.log").read_text())
    seconds = time.monotonic() - begun
    print(f"undisturbed, 2 workers: {step_of(place, 'undisturbed')} steps in {seconds:.0f} s\n")


def disturbed(place: Path, kills: int, epochs: int, pause_s: float) -> None:
    """Run, kill, run again; the last run is left in peace.

    Args:
        place: The folder of both runs.
        kills: How many.
        epochs: Length of the run.
        pause_s: The most that a kill waits after a run has gone on.
    """
    draw = random.Random(0)
    for turn in range(kills + 1):
        workers, before, begun = WORKERS[turn % len(WORKERS)], step_of(place, "disturbed"), time.monotonic()
        process = start(place, "disturbed", workers, epochs)
        if turn < kills:
            # From some moment after the run has gone on, if it does: a kill while everything starts loses nothing.
            while (
                process.poll() is None and step_of(place, "disturbed") == before and time.monotonic() - begun < START_S
            ):
                time.sleep(0.05)
            time.sleep(draw.uniform(0, pause_s))
        ended = process.poll() is not None if turn < kills else process.wait() == 0
        if turn < kills and not ended:
            kill_all(process.pid)
            process.wait()
        after, seconds = step_of(place, "disturbed"), time.monotonic() - begun
        how = "ended by itself" if ended else "killed"
        print(f"| {turn + 1} | {workers} | {before} | {after} | {how} | {seconds:.0f} |", flush=True)
        if ended:
            return


def main(argv: list[str] | None = None) -> int:
    """Print what happened, and whether the ledgers are equal; return whether they are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--tiny", action="store_true", help="one kill in a short run")
    arguments = parser.parse_args(argv)
    kills, epochs, pause_s = (1, 1, 0.0) if arguments.tiny else (arguments.kills, 12, 2.0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ingest_synthetic(SynthSpec(24, 1, 40, 1, size=32, stride=10), open_store(place / "shards"))
        if not arguments.tiny:
            undisturbed(place, epochs)
        print("| start | workers | from step | to step | | seconds |\n|---|---|---|---|---|---|")
        disturbed(place, kills, epochs, pause_s)
        names = ("disturbed",) if arguments.tiny else ("disturbed", "undisturbed")
        runs = [open_store(place / "runs" / name) for name in names]
        if not runs[0].exists("result.json"):
            sys.exit((place / "disturbed.log").read_text()[-2000:])
        proof = verify(*runs)
        print(f"\n{proof.sets} contrast sets, {proof.epochs} epochs of {proof.epoch_clips} clips; ", end="")
        right = "no clip is missing, none is there too often" if arguments.tiny else "the ledgers are equal"
        print(right if not proof.faults else f"FAULTS: {proof.faults}")
        return bool(proof.faults)


if __name__ == "__main__":
    sys.exit(main())
