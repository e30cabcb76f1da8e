"""Memory of reading while the consumer is slow: the object store, what is spilled, and the processes.

    python benchmarks/loader_memory.py
    python benchmarks/loader_memory.py --tiny     one small set and one share, few batches, in this process

Two workers' datasets are read in one process, as two ranks would read them, from a set and from one twice as large.
"""

import argparse
import contextlib
import itertools
import json
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loader
import loader_kinds as kinds
import psutil

#: Seconds that the consumer takes for a batch, batches, memory shares that are tried.
SLOW_S, COUNT, SHARES = 0.1, 60, (0.3, 0.5)


class Watch:
    """Notes the largest use of the object store and of the processes' memory while a block runs; Ray is connected."""

    def __init__(self) -> None:
        self.store = self.spilled = self.resident = 0.0
        self.over = threading.Event()

    def __enter__(self) -> "Watch":
        self.pool = ThreadPoolExecutor(1)
        self.looking = self.pool.submit(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.pool.shutdown()
        self.looking.result()  # a look that failed must not be taken for zeros

    def _look(self) -> None:
        import ray
        from ray._private.internal_api import memory_summary

        here = ray.get_runtime_context().gcs_address  # there may be another Ray on this machine
        while not self.over.wait(0.2):
            text = memory_summary(here, stats_only=True)
            if used := re.search(r"Plasma memory usage (\d+) MiB", text):
                self.store = max(self.store, float(used[1]))
            if spilled := re.search(r"Spilled (\d+) MiB", text):
                self.spilled = max(self.spilled, float(spilled[1]))
            resident = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    memory = process.memory_info()
                    resident += memory.rss - memory.shared
            self.resident = max(self.resident, resident / 2**20)


def measure(place: str, share: float, count: int) -> dict[str, float]:
    """Measure one case in this process."""
    from au_dist.runs.session import OBJECT_STORE_BYTES, ray_session

    with ray_session(), Watch() as watch:
        ranks = [kinds.ours(place, loader.FRAMES, count, rank=rank, world=2, memory=share) for rank in range(2)]
        for batches in itertools.islice(zip(*ranks, strict=True), count):
            del batches
            time.sleep(SLOW_S)
        return {
            "limit": share * OBJECT_STORE_BYTES / 2**20,
            "store": watch.store,
            "spilled": watch.spilled,
            "resident": watch.resident,
        }


def show(subjects: int, share: float, found: dict[str, float]) -> None:
    """Print a row."""
    numbers = " | ".join(f"{found[name]:.0f}" for name in ("limit", "store", "spilled", "resident"))
    print(f"| {subjects * loader.CLIPS} | {share} | {numbers} |", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help="one small set and one share, few batches, in this process")
    arguments = parser.parse_args(argv)
    if arguments.child:
        return print("found " + json.dumps(measure(arguments.child, arguments.share, COUNT)), flush=True)
    print("| clips | data.memory | limit, MiB | object store, MiB | spilled, MiB | processes, MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tiny:
            loader.make_shards(Path(folder), loader.TINY.subjects)
            return show(loader.TINY.subjects, SHARES[0], measure(folder, SHARES[0], 6))
        for subjects in (loader.FULL.subjects, 2 * loader.FULL.subjects):
            place = Path(folder) / str(subjects)
            loader.make_shards(place, subjects)
            for share in SHARES:
                command = [sys.executable, __file__, "--child", str(place), "--share", str(share)]
                show(subjects, share, loader.answer(command))


if __name__ == "__main__":
    main()
