"""Break a run in the ways that clusters break, and compare what comes of it with the same run left in peace.

    python benchmarks/faults.py [--only "a worker is killed" ...]
    python benchmarks/faults.py --tiny            the worker of a short run is killed; the run is stored in a folder

Two workers on this machine, a checkpoint every 10 steps. Each fault happens after step `AT`. Whatever ends the command,
it is given again. Printed: what happened, the longest pause from the fault on between two steps that had not been done
before, the steps that were done again, and whether the final weights (bit for bit) and the ledger are those of the
undisturbed run. Where the number of workers changes, sums are rounded otherwise: the weights are compared with those of
a run that is given the same checkpoint and goes on in peace with as many workers.

The store is an S3 server behind a proxy; nodes are those of a cluster on this machine; a full disk is a small file
system in memory (to mount it takes root).
"""

import argparse
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import s3_faults
import torch
from fault_runs import Nodes, Run, cluster_of, raylet

from au_dist.checks.verify_order import verify
from au_dist.cluster.local_s3 import server as s3
from au_dist.core.schema import Clip
from au_dist.shards.writer import write_shards
from au_dist.storage.store import Store, open_store
from au_dist.synthetic.clips import SynthSpec, synth_aus, synth_clips, synth_recipe
from au_dist.train import checkpoint

AT = 25

SPEC = SynthSpec(24, 1, 40, 1, size=32, stride=10)

#: A loss that labels can spoil, clips for it, and a label that does.
INTENSITY, PAIRS, HUGE = "task: intensity", replace(SPEC, frames_per_video=80, clip_frames=2), 1e30


@dataclass
class Scene:
    """What a fault can reach.

    Attributes:
        run: The run.
        store: What goes wrong with its store.
        nodes: Its cluster, where it has one.
        folder: Where the run is stored, where that is a folder.
    """

    run: Run
    store: s3_faults.Faults
    nodes: Nodes | None = None
    folder: Path | None = None

    def node(self) -> Nodes:
        """Return the cluster."""
        assert self.nodes is not None
        return self.nodes


@dataclass(frozen=True)
class Case:
    """A fault and where it happens.

    Attributes:
        break_it: Does it.
        nodes: Nodes of the cluster; an embedded Ray when 0.
        count: Workers.
        later: Workers at the end, where their number changes.
        epochs: How long the run is.
        every: Steps between checkpoints.
        disk_mib: Size of the file system that the run is stored in; in S3 when 0.
        spoilt: Train intensities, one clip of which spoils the loss.
    """

    break_it: Callable[[Scene], None]
    nodes: int = 0
    count: str = "2"
    later: str = ""
    epochs: int = 3
    every: int = 10
    disk_mib: int = 0
    spoilt: bool = False


def kill_worker(scene: Scene) -> None:
    """SIGKILL of a worker."""
    scene.run.workers()[-1].kill()


def freeze_worker(scene: Scene) -> None:
    """SIGSTOP of a worker."""
    scene.run.workers()[-1].suspend()


def kill_driver(scene: Scene) -> None:
    """SIGKILL of the driver, at once the same command: Ray's processes may live on for a while."""
    scene.run.process.kill()


def ask_to_stop(scene: Scene) -> None:
    """SIGTERM."""
    scene.run.process.send_signal(signal.SIGTERM)


def kill_node(scene: Scene) -> None:
    """SIGKILL of a raylet, not that of the driver's node."""
    raylet(scene.run.workers()[-1]).kill()


def add_node(scene: Scene) -> None:
    """A node more."""
    scene.node().add()


def drain_node(scene: Scene) -> None:
    """Notice that a node goes in 40 s, and then it does."""
    node = raylet(scene.run.workers()[-1])
    scene.node().drain(node, 40)
    time.sleep(40)
    with contextlib.suppress(psutil.NoSuchProcess):  # one with nothing left to do goes by itself
        node.kill()


def cut_upload(scene: Scene) -> None:
    """SIGKILL of everything while a checkpoint is being written."""
    scene.store.delay_s = 0.5
    whole = scene.run.store.list("checkpoints", recursive=True)
    while set(scene.run.store.list("checkpoints", recursive=True)) <= set(whole):
        time.sleep(0.02)
    scene.run.kill()
    scene.store.delay_s = 0.0


def truncate(scene: Scene) -> None:
    """Everything is killed, and the newest checkpoint loses its end."""
    scene.run.kill()
    place = checkpoint.newest(scene.run.store)
    assert place is not None
    place.write(checkpoint.OPTIMIZER, place.read(checkpoint.OPTIMIZER)[:-100])


def refuse(scene: Scene) -> None:
    """A fifth of the requests is answered 503, to the end."""
    scene.store.refused = 0.2


def stall(scene: Scene) -> None:
    """Every request waits for 30 s, for 30 s."""
    scene.store.delay_s = 30.0
    time.sleep(30)
    scene.store.delay_s = 0.0


def away(scene: Scene) -> None:
    """The store is down for 60 s, from the middle of an upload on."""
    scene.store.delay_s = 0.3
    whole = scene.run.store.list("checkpoints", recursive=True)
    while set(scene.run.store.list("checkpoints", recursive=True)) <= set(whole):
        time.sleep(0.02)
    scene.store.away, scene.store.delay_s = True, 0.0
    time.sleep(60)
    scene.store.away = False


def fill_disk(scene: Scene) -> None:
    """No space is left until the command has ended."""
    assert scene.folder is not None
    filler = scene.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
    scene.run.process.wait()
    filler.unlink()


def nothing(scene: Scene) -> None:
    """The fault is in the data."""


CASES = {
    "a worker is killed": Case(kill_worker),
    "a worker freezes (SIGSTOP)": Case(freeze_worker),
    "the driver is killed": Case(kill_driver),
    "the driver gets SIGTERM": Case(ask_to_stop),
    "a node is lost (raylet killed), another has room": Case(kill_node, nodes=3),
    "a node is lost, elastic": Case(kill_node, nodes=2, count="[1, 2]", later="1"),
    "a node is added, elastic": Case(add_node, nodes=1, count="[1, 2]", later="2", epochs=20),
    "a node gives notice and goes": Case(drain_node, nodes=3),
    "all are killed during an upload": Case(cut_upload),
    "the newest checkpoint is truncated": Case(truncate),
    "the store refuses a fifth (503)": Case(refuse),
    "the store stalls for 30 s": Case(stall),
    "the store is down for 60 s in an upload": Case(away),
    "the disk is full": Case(fill_disk, disk_mib=64),
    "a clip makes the loss infinite": Case(nothing, spoilt=True),
}


def row(name: str, run: Run, at: float, peace: Run, like: Run) -> str:
    """Return what came of a fault, as a row of a table.

    Args:
        name: The fault.
        run: The disturbed run.
        at: When it was disturbed.
        peace: The undisturbed run.
        like: The run whose weights it should have.
    """
    rows = run.rows()
    done = [entry for entry in rows if "lr" in entry]
    first: dict[int, float] = {}
    for entry in done:
        first.setdefault(entry["step"], entry["time"])
    moments = [at, *(moment for moment in first.values() if moment > at)]
    resumed = resumptions(run)
    said = [entry[key] for key in ("draining", "lost", "late", "damaged", "error") for entry in rows if key in entry]
    skipped = [entry for entry in done if "skipped_clips" in entry]
    told = [*said, *(f"skipped, with the clips' names, in step {entry['step']}" for entry in skipped), ""][0]
    weights = [_weights(some) for some in (run, like)]
    apart = max(float((weights[0][key] - tensor).abs().max()) for key, tensor in weights[1].items())
    same = all(torch.equal(weights[0][key], tensor) for key, tensor in weights[1].items())
    cells = [
        name,
        f"{run.starts} × the command" + (f"; on from {', '.join(map(str, resumed))}" if resumed else ""),
        f"{max(b - a for a, b in pairwise(moments)):.0f}",
        str(len(done) - len(first)),
        "equal" if same else f"{apart:.1g} apart",
        "equal" if not verify(run.store, peace.store).faults else "OTHER",
        told.replace("|", "/"),
    ]
    return f"| {' | '.join(cells)} |"


def resumptions(run: Run) -> list[int]:
    """Return the steps that a run went on from."""
    return [entry["step"] for entry in run.rows() if entry.get("resumed")]


def _weights(run: Run) -> dict[str, torch.Tensor]:
    last = checkpoint.newest(run.store)
    assert last is not None
    return checkpoint.tensors(last, checkpoint.WEIGHTS)


def shards_of(store: Store, spec: SynthSpec, spoilt: str | None = None) -> Store:
    """Write synthetic shards; the first clip of a subject may have intensities that no loss can hold."""

    def clips() -> Iterator[Clip]:
        left = spoilt
        for clip in synth_clips(spec, None):
            bad = clip.subject == left
            left = None if bad else left
            yield replace(clip, intensity_TA=np.full_like(clip.intensity_TA, HUGE)) if bad else clip

    write_shards(clips(), store, aus=synth_aus(spec, None), crop=synth_recipe(spec), source={"kind": "synthetic"})
    return store


@contextlib.contextmanager
def disk(mib: int, folder: Path) -> Iterator[Path]:
    """Mount a small file system for the length of a block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def try_out(
    name: str, case: Case, place: Path, base: Store, environment: dict[str, str], peace: Run, at_step: int = AT
) -> str:
    """Run a case and return its row; without a proxy before the store where it is not an S3 server."""
    number = list(CASES).index(name)
    with contextlib.ExitStack() as stack:
        faults, reach = s3_faults.Faults(), dict[str, str]()
        if server := environment.get("AWS_ENDPOINT_URL"):
            endpoint, faults = stack.enter_context(s3_faults.before(server))
            reach = {"AWS_ENDPOINT_URL": endpoint}
        nodes = stack.enter_context(cluster_of(case.nodes, place / f"nodes-{number}")) if case.nodes else None
        folder = stack.enter_context(disk(case.disk_mib, place / f"disk-{number}")) if case.disk_mib else None
        shards, runs = base.at("spoilt" if case.spoilt else "shards"), open_store(folder) if folder else base.at("runs")
        run = Run(
            place,
            f"run-{number}",
            shards,
            runs,
            nodes.environment if nodes else reach,
            job=INTENSITY if case.spoilt else "method: aunce",
            frames=2 if case.spoilt else 1,
            count=case.count,
            # One worker a node, where there are nodes.
            cpus=1.2 if nodes else 0.4,
            epochs=case.epochs,
            every=case.every,
        ).start()
        run.reach(at_step)
        at = time.time()
        case.break_it(Scene(run, faults, nodes, folder))
        run.finish()
        if not case.later or not resumptions(run):
            return row(name, run, at, peace, peace)
        like = Run(place, f"like-{number}", shards, runs, {}, count=case.later, cpus=1.2, epochs=case.epochs)
        return row(name, run, at, peace, like.begin_at(resumptions(run)[-1], run).start().finish())


def peace_for(case: Case, place: Path, base: Store, peace: Run) -> Run:
    """Return the undisturbed run that a case is compared with."""
    if case.epochs != 3:
        name = f"peace-{case.epochs}"
        return Run(place, name, base.at("shards"), base.at("runs"), {}, epochs=case.epochs).start().finish()
    if not case.spoilt:
        return peace
    clean = shards_of(base.at("clean"), PAIRS)
    like = Run(place, "clean", clean, base.at("runs"), {}, job=INTENSITY, frames=2).start().finish()
    last = checkpoint.newest(like.store)
    assert last is not None
    shards_of(base.at("spoilt"), PAIRS, checkpoint.state(last).subjects.train[0])
    return like


def head(peace: Run, begun: float) -> None:
    """Print what the undisturbed run took, and the head of the table."""
    print(f"undisturbed: {peace.step()} steps in {time.monotonic() - begun:.0f} s, with the start of Ray\n")
    print("| what | what happened | longest pause, s | steps done again | weights | ledger | said |")
    print("|---|---|---|---|---|---|---|", flush=True)


def tiny(place: Path) -> None:
    """Kill the worker of a short run."""
    base, name, begun = open_store(place / "store"), "a worker is killed", time.monotonic()
    case = replace(CASES[name], count="1", epochs=1, every=5)
    shards_of(base.at("shards"), SPEC)
    peace = Run(
        place, "peace", base.at("shards"), base.at("runs"), {}, count=case.count, epochs=case.epochs, every=case.every
    )
    head(peace.start().finish(), begun)
    print(try_out(name, case, place, base, {}, peace, at_step=7), flush=True)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--tiny", action="store_true", help="the worker of a short run is killed")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if arguments.tiny:
            return tiny(place)
        s3.up(place / "s3")
        try:
            environment = s3.environment(place / "s3")
            os.environ.update(environment)
            s3.make_bucket(environment, "faults")
            base = open_store("s3://faults")
            shards_of(base.at("shards"), SPEC)
            begun = time.monotonic()
            peace = Run(place, "peace", base.at("shards"), base.at("runs"), {}).start().finish()
            head(peace, begun)
            for name in arguments.only:
                like = peace_for(CASES[name], place, base, peace)
                print(try_out(name, CASES[name], place, base, environment, like), flush=True)
        finally:
            s3.down(place / "s3", kill=True)


if __name__ == "__main__":
    main()
