"""From shards to training tensors: processor time an image, beside other loaders on the same bytes.

    python benchmarks/loader.py
    python benchmarks/loader.py --tiny            one round of few batches, in one process, of what is installed here

The peers are installed into an environment of their own (``--environment``), beside the packages of this one. Clips
of 8 synthetic frames at 112 pixels; batches of 64 clips; two random views at 96 pixels. Processor time is that of a
process and all below it, Ray's own too, in the middle of a run; the page cache is warm, and when the first batch is
waited for, so are Ray's reading processes ("cold" is with their start). Rounds are interleaved.
"""

import argparse
import contextlib
import gc
import importlib.metadata
import itertools
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import loader_kinds as kinds
import psutil
import torch

OURS, FLOOR = "au-dist", "decoding and views alone, in one process"
PACKAGES = ("webdataset==1.0.2", "litdata==0.2.76", "mosaicml-streaming==0.13.0")

CLIPS, FRAMES, SIDE = 32, 8, 112


@dataclass(frozen=True)
class Scale:
    """How much is read.

    Attributes:
        subjects: Subjects of the set, of `CLIPS` clips each.
        starts: How often it is measured what a start takes.
        batches: Frames taken of each clip → batches before measuring, and measured.
    """

    subjects: int
    starts: int
    batches: dict[int, tuple[int, int]]

    @property
    def half(self) -> int:
        """Return the batches of half an epoch."""
        return self.subjects * CLIPS // kinds.BATCH // 2


FULL = Scale(96, 3, {1: (60, 250), 8: (15, 40)})
TINY = Scale(8, 1, {1: (1, 5)})


def make_shards(place: Path, subjects: int = FULL.subjects) -> None:
    """Write the set: synthetic faces, each seen by several subjects, which decodes like any other."""
    from au_dist.shards.writer import write_shards
    from au_dist.storage.store import open_store
    from au_dist.synthetic.clips import SynthSpec, synth_aus, synth_clips, synth_recipe

    spec = SynthSpec(min(12, subjects // 8), 2, 64, FRAMES, size=SIDE, stride=2)
    clips = list(synth_clips(spec))

    def many() -> Any:
        for subject, index in itertools.product(range(subjects), range(CLIPS)):
            clip = clips[(subject * CLIPS + index) % len(clips)]
            name = f"{subject:03d}"
            yield replace(clip, subject=f"synthetic/{name}", video="v", number_T=clip.number_T + 1000 * index)

    write_shards(many(), open_store(place / "shards"), aus=synth_aus(spec), crop=synth_recipe(spec), source={})


def processor_s() -> float:
    """Return the processor time of this process and all below it, those that have ended included."""
    spent, me = 0.0, psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


def measure(batches: kinds.Batches, frames: int, scale: Scale) -> dict[str, float]:
    """Return processor time and rate in the middle of a run."""
    before, count = scale.batches[frames]
    for _ in range(before):
        next(batches)
    spent, begun = processor_s(), time.perf_counter()
    for _ in range(count):
        next(batches)
    spent, seconds = processor_s() - spent, time.perf_counter() - begun
    batches.close()  # type: ignore[attr-defined]
    images = count * kinds.BATCH * frames
    return {"cpu": 1000 * spent / images, "rate": images / seconds}


def reading_processes() -> None:
    """Wait until Ray has idle processes to read with: those that read for the last pipeline ended with it."""
    import ray

    from au_dist.config.sections import READING_TASKS

    @ray.remote(num_cpus=0.25)
    def ready() -> None:
        import au_dist.data.pipeline  # noqa: F401 - so that it is imported there

        time.sleep(2)

    ray.get([ready.remote() for _ in range(READING_TASKS)])


def first_batch(start: Callable[[], kinds.Batches], prepare: Callable[[], None] = lambda: None) -> float:
    """Return the seconds from nothing to the first batch."""
    prepare()
    gc.collect()
    begun = time.perf_counter()
    batches = start()
    next(batches)
    seconds = time.perf_counter() - begun
    batches.close()  # type: ignore[attr-defined]
    return seconds


def starts(
    fresh: Callable[[], kinds.Batches],
    middle: Callable[[], kinds.Batches] | None,
    count: int,
    prepare: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the medians of starting anew and in the middle of an epoch, in turn."""
    found: dict[str, list[float]] = {"first": [], "resumed": []}
    for _ in range(count):
        found["first"].append(first_batch(fresh, prepare))
        if middle is not None:
            found["resumed"].append(first_batch(middle, prepare))
    return {name: statistics.median(seconds) for name, seconds in found.items() if seconds}


def run_ours(place: Path, frames: int, scale: Scale) -> dict[str, Any]:
    def fresh() -> kinds.Batches:
        return kinds.ours(place, frames, 200)

    def middle() -> kinds.Batches:
        return kinds.ours(place, frames, 200, scale.half)

    cold = first_batch(fresh)
    found = measure(kinds.ours(place, frames, sum(scale.batches[frames]) + 30), frames, scale)
    found |= starts(fresh, middle, scale.starts, reading_processes)
    return {**found, "cold": cold, "version": f"ray {importlib.metadata.version('ray')}"}


def run_floor(place: Path, frames: int, scale: Scale) -> dict[str, Any]:
    prepare = kinds.Prepare(frames, SIDE)
    clips = list(itertools.islice(kinds.clips_of(place), 8 * kinds.BATCH))

    def batches() -> Any:
        while True:
            for start in range(0, len(clips), kinds.BATCH):
                some = clips[start : start + kinds.BATCH]
                yield kinds.collate([prepare(n, jpegs.__getitem__, len(jpegs), label) for n, jpegs, label in some])

    return measure(kinds.views_of(batches()), frames, scale)


def run_peer(name: str, place: Path, frames: int, scale: Scale) -> dict[str, Any]:
    _, make, package = kinds.PEERS[name]
    prepare = kinds.Prepare(frames, SIDE)
    found = measure(kinds.views_of(make(place, prepare)), frames, scale)
    resumes = hasattr(make(place, prepare), "load_state_dict")

    def middle() -> kinds.Batches:
        loader = make(place, prepare)
        loader.load_state_dict(state)
        return kinds.views_of(loader)

    if resumes:
        loader = make(place, prepare)
        for _ in itertools.islice(loader, scale.half):
            pass
        state = loader.state_dict()
        del loader
    found |= starts(lambda: kinds.views_of(make(place, prepare)), middle if resumes else None, scale.starts)
    return {**found, "version": importlib.metadata.version(package)}


def find(place: Path, name: str, frames: int, scale: Scale, tell: Callable[[dict[str, Any]], None]) -> None:
    """Do one measurement, or write one peer's files, and tell what was found."""
    from au_dist.runs.session import ray_session

    torch.set_num_threads(1)
    if frames == 0:
        kinds.PEERS[name][0](place)
        return tell({})
    with ray_session() if name == OURS else contextlib.nullcontext():
        found = {OURS: run_ours, FLOOR: run_floor}.get(name, lambda *args: run_peer(name, *args))(place, frames, scale)
        # Before Ray goes: a thread of Ray Data that is left over may end the process then.
        tell(found)


def environment(path: Path) -> str:
    """Return the Python of an environment with the peers, made if it is not there."""
    python = path / "bin/python"
    if not python.exists():
        venv.create(path, with_pip=True)
        packages = next((path / "lib").glob("python*/site-packages"))
        here = [sysconfig.get_paths()["purelib"], str(Path(__file__).parents[1])]
        (packages / "beside.pth").write_text("\n".join(here))
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return str(python)


def answer(command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a child and return what it found."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    return json.loads(lines[0][6:]) if lines else sys.exit(f"{' '.join(command)}: {done.stderr[-3000:]}")


def ask(python: str, place: Path, name: str, frames: int, tiny: bool) -> dict[str, Any]:
    """Measure a loader, in its tiny form here, otherwise in a process of its own."""
    if tiny:
        found: dict[str, Any] = {}
        find(place, name, frames, TINY, found.update)
        return found
    return answer([python, __file__, "--place", str(place), "--child", name, "--frames", str(frames)])


def installed(package: str) -> bool:
    """Return whether a package is in this environment."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def show(frames: int, rounds: list[dict[str, dict[str, Any]]]) -> None:
    """Print a table of medians, with the smallest and largest processor time."""
    print(f"\n{frames} of {FRAMES} frames of each clip\n")
    columns = ("CPU-s / 1000 images", "of the best other", "images/s", "first batch, s", "mid-epoch, s", "cold, s")
    print(f"| loader | version | {' | '.join(columns)} |")
    print(f"|{'---|' * (2 + len(columns))}")
    median = {name: statistics.median(found[name]["cpu"] for found in rounds) for name in rounds[0]}
    best = min(median[name] for name in kinds.PEERS if name in median)
    for name in rounds[0]:
        cpu = [found[name]["cpu"] for found in rounds]
        cells = [name, rounds[0][name].get("version", ""), f"{median[name]:.3f} ({min(cpu):.3f}–{max(cpu):.3f})"]
        cells.append(f"{median[name] / best:.2f}")
        for key, digits in (("rate", 0), ("first", 2), ("resumed", 2), ("cold", 2)):
            values = [found[name][key] for found in rounds if key in found[name]]
            cells.append(f"{statistics.median(values):.{digits}f}" if values else "")
        print(f"| {' | '.join(cells)} |")


def main(argv: list[str] | None = None) -> None:
    """Print one table for each number of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "au-dist-loader-peers")
    parser.add_argument("--place", type=Path, help="keep the data here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, help="only with so many frames of each clip (1 or 8)")
    parser.add_argument("--tiny", action="store_true", help="one round of few batches, with what is installed here")
    arguments = parser.parse_args(argv)
    if arguments.child:
        return find(
            arguments.place,
            arguments.child,
            arguments.frames,
            FULL,
            lambda found: print("found " + json.dumps(found), flush=True),
        )
    tiny, scale, peers = arguments.tiny, FULL, list(kinds.PEERS)
    if tiny:
        scale, arguments.rounds = TINY, 1
        peers = [name for name in peers if installed(kinds.PEERS[name][2])]
        print(f"left out, not installed: {', '.join(name for name in kinds.PEERS if name not in peers) or 'none'}")
    python = sys.executable if tiny else environment(arguments.environment)
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.place or Path(folder)
        if not (place / "shards").exists():
            make_shards(place, scale.subjects)
            for name in peers:
                ask(python, place, name, 0, tiny)
        for frames in [arguments.frames] if arguments.frames else scale.batches:
            names = [FLOOR, OURS, *peers]
            rounds = [
                {name: ask(python if name in peers else sys.executable, place, name, frames, tiny) for name in names}
                for _ in range(arguments.rounds)
            ]
            show(frames, rounds)


if __name__ == "__main__":
    main()
