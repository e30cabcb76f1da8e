"""Reading from a store that is far away, overloaded or uneven: images a second, beside a folder.

    python benchmarks/loader_s3.py
    python benchmarks/loader_s3.py --tiny         one round of few batches, from a folder and from S3 with refusals

A real S3 server on this machine (`python -m au_dist.cluster.local_s3 install` installs it), and a proxy before it
that delays requests, refuses some, or makes some late. The server works on the same cores: what it takes of them is
in the row without a delay.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import loader_kinds as kinds
import s3_faults
from loader import FULL, TINY, answer, make_shards

from au_dist.cluster.local_s3 import server as s3
from au_dist.storage.store import open_store

#: Name → what goes wrong; a folder is read where it is None.
CASES: dict[str, dict[str, float] | None] = {
    "a folder": None,
    "S3": {},
    "S3, 20 ms a request": {"delay_s": 0.02},
    "S3, 20 ms, a fifth refused (503)": {"delay_s": 0.02, "refused": 0.2},
    "S3, 20 ms, one in fifty 2 s late": {"delay_s": 0.02, "late": 0.02, "late_s": 2.0},
}


#: The cases of the tiny form.
FEW = ("a folder", "S3, 20 ms, a fifth refused (503)")


def child(place: str, frames: int, tiny: bool) -> None:
    """Measure one case in this process."""
    import torch

    from au_dist.runs.session import ray_session

    torch.set_num_threads(1)
    before, count = (TINY if tiny else FULL).batches[frames]
    with ray_session():
        begun = time.perf_counter()
        batches = kinds.ours(place, frames, before + count)
        next(batches)
        first = time.perf_counter() - begun
        for _ in itertools.islice(batches, before - 1):
            pass
        begun = time.perf_counter()
        for _ in itertools.islice(batches, count):
            pass
        rate = count * kinds.BATCH * frames / (time.perf_counter() - begun)
        print("found " + json.dumps({"rate": rate, "first": first}), flush=True)


def ask(place: str, frames: int, tiny: bool, environment: dict[str, str]) -> dict[str, float]:
    """Measure one case in a process of its own."""
    command = [sys.executable, __file__, "--child", place, "--frames", str(frames)]
    # The processes of a Ray that runs already are told too how to reach the store.
    told = json.dumps({"runtime_env": {"env_vars": environment}})
    environment = {**environment, "RAY_JOB_CONFIG_JSON_ENV_VAR": told} if environment else {}
    return answer([*command, "--tiny"] if tiny else command, environment)


def copy(source: Path, environment: dict[str, str], address: str) -> None:
    """Put the set into the bucket."""
    os.environ.update(environment)
    target = open_store(f"{address}/shards")
    for path in sorted((source / "shards").rglob("*")):
        if path.is_file():
            target.upload(path, str(path.relative_to(source / "shards")))


def show(frames: int, rounds: list[dict[str, dict[str, Any]]]) -> None:
    """Print a table of medians."""
    print(f"\n{frames} of the frames of each clip\n")
    print("| | images/s | of the folder | of S3 without delay | first batch, s | requests |\n|---|---|---|---|---|---|")
    rate = {name: statistics.median(found[name]["rate"] for found in rounds) for name in rounds[0]}
    for name in rounds[0]:
        first = statistics.median(found[name]["first"] for found in rounds)
        share, plain = rate[name] / rate["a folder"], f"{rate[name] / rate['S3']:.2f}" if "S3" in rate else ""
        seen = rounds[0][name].get("seen", "")
        print(f"| {name} | {rate[name]:.0f} | {share:.2f} | {plain} | {first:.1f} | {seen} |")


def main(argv: list[str] | None = None) -> None:
    """Print one table for each number of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=Path, help="keep the data here")
    parser.add_argument("--frames", type=int, help="only with so many frames of each clip (1 or 8)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help="one round of few batches, two of the cases")
    arguments = parser.parse_args(argv)
    tiny, scale, names = arguments.tiny, TINY if arguments.tiny else FULL, FEW if arguments.tiny else tuple(CASES)
    if arguments.child:
        return child(arguments.child, arguments.frames, tiny)
    if tiny:
        arguments.rounds = 1
    with tempfile.TemporaryDirectory() as folder:
        place, server = arguments.place or Path(folder), Path(folder) / "s3"
        if not (place / "shards").exists():
            make_shards(place, scale.subjects)
        s3.up(server)
        try:
            environment = s3.environment(server)
            s3.make_bucket(environment, "loader")
            copy(place, environment, "s3://loader")
            for frames in [arguments.frames] if arguments.frames else scale.batches:
                rounds = [
                    {name: case(name, place, frames, tiny, environment) for name in names}
                    for _ in range(arguments.rounds)
                ]
                show(frames, rounds)
        finally:
            s3.down(server, kill=True)


def case(name: str, place: Path, frames: int, tiny: bool, environment: dict[str, str]) -> dict[str, Any]:
    """Measure one case."""
    wrong = CASES[name]
    if wrong is None:
        return dict(ask(str(place), frames, tiny, {}))
    with s3_faults.before(environment["AWS_ENDPOINT_URL"]) as (endpoint, faults):
        for what, value in wrong.items():
            setattr(faults, what, value)
        found = ask("s3://loader", frames, tiny, {**environment, "AWS_ENDPOINT_URL": endpoint})
        return {**found, "seen": ", ".join(f"{count} {what}" for what, count in faults.seen.items() if count)}


if __name__ == "__main__":
    main()
