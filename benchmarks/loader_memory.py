"""Memory of reading while the consumer is slow: the object store, what is spilled, and the processes.

    python benchmarks/loader_memory.py

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
from pathlib import Path

import loader
import loader_kinds as kinds
import psutil

#: Seconds that the consumer takes for a batch, batches, memory shares that are tried.
SLOW_S, COUNT, SHARES = 0.1, 60, (0.3, 0.5)


class Watch:
    """Notes the largest use of the object store and of the processes' memory while a block runs."""

    def __init__(self) -> None:
        self.store = self.spilled = self.resident = 0.0
        self.over = threading.Event()

    def __enter__(self) -> "Watch":
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        from ray._private.internal_api import memory_summary

        while not self.over.wait(0.2):
            text = memory_summary(stats_only=True)
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


def child(place: str, share: float) -> None:
    """Measure one case in this process."""
    from au_dist.runs.session import OBJECT_STORE_BYTES, ray_session

    with ray_session(), Watch() as watch:
        ranks = [kinds.ours(place, loader.FRAMES, COUNT, rank=rank, world=2, memory=share) for rank in range(2)]
        for batches in itertools.islice(zip(*ranks, strict=True), COUNT):
            del batches
            time.sleep(SLOW_S)
        found = {
            "limit": share * OBJECT_STORE_BYTES / 2**20,
            "store": watch.store,
            "spilled": watch.spilled,
            "resident": watch.resident,
        }
        print("found " + json.dumps(found), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child, arguments.share)
    print("| clips | data.memory | limit, MiB | object store, MiB | spilled, MiB | processes, MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for subjects in (loader.SUBJECTS, 2 * loader.SUBJECTS):
            place = Path(folder) / str(subjects)
            loader.make_shards(place, subjects)
            for share in SHARES:
                command = [sys.executable, __file__, "--child", str(place), "--share", str(share)]
                found = loader.answer(command)
                numbers = " | ".join(f"{found[name]:.0f}" for name in ("limit", "store", "spilled", "resident"))
                print(f"| {subjects * loader.CLIPS} | {share} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
