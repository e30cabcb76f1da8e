"""Trials of a campaign beside a plain loop of `au-dist train`: how many an hour, and that both train the same.

    python benchmarks/campaign.py [--trials 6] [--epochs 12] [--at-once 1 2]
    python benchmarks/campaign.py --tiny          one short trial, one way; only that both train the same counts

Each recipe differs from the others in its temperature alone. The loop gives the command for one after the other; the
campaign is given the same points and draws nothing else. Printed of each: minutes in all, trials an hour, how much of
it was training, a trial (from its first step to its end), and the rest: what it takes to start one and to end it, with
Ray's own start and the last scoring; with several at once, of each place; and, with one at a time, the time from one
trial's end to the next one's first step, on warm workers. The final weights of the loop's runs and of the trials are
compared bit for bit.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from au_dist.ingest.synthetic import ingest_synthetic
from au_dist.storage.store import Store, open_store
from au_dist.synthetic.clips import SynthSpec
from au_dist.train import checkpoint
from au_dist.tuning.campaign import load_campaign, trial_name
from au_dist.tuning.record import TrialState, trials_of

TEMPERATURE = "aunce.temperature"

RECIPE: dict[str, Any] = {
    "method": "aunce",
    "data": {"size": 32, "lanes": 2, "frames_per_clip": 1, "cpus": 0.2, "protocol": {"folds": 2}},
    "model": {"embed_dim": 16, "bottleneck_channels": 4},
    "batch": {"clips": 16},
    "workers": {"count": 1, "cpus": 0.5},
}


@dataclass(frozen=True)
class Way:
    """How trials were run.

    Attributes:
        name: In words.
        wall_s: Seconds from the first command to the end of the last.
        training_s: Seconds of all trials from their first step to their end; None where that is not known.
        at_once: Trials at once.
        runs: The place of each trial, by its temperature.
        gaps_s: Seconds from each trial's end to the next one's first step.
    """

    name: str
    wall_s: float
    training_s: float | None
    at_once: int
    runs: dict[float, Store]
    gaps_s: tuple[float, ...] = ()


def command(*arguments: str) -> float:
    """Give a command of au-dist and return the seconds that it took."""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "au_dist", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"au-dist {' '.join(arguments)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return time.monotonic() - begun


def loop(place: Path, recipe: dict[str, Any], temperatures: list[float]) -> Way:
    """Train the recipes one after the other, each by a command of its own."""
    wall_s, runs = 0.0, {}
    for number, temperature in enumerate(temperatures):
        file = place / f"loop-{number}.yaml"
        own = {"name": f"loop-{number}", "runs": str(place / "loop"), "aunce": {"temperature": temperature}}
        file.write_text(yaml.safe_dump({**recipe, **own}))
        wall_s += command("train", str(file))
        runs[temperature] = open_store(place / "loop").at(f"loop-{number}")
    return Way("a loop of `au-dist train`", wall_s, None, 1, runs)


def campaign(place: Path, recipe: dict[str, Any], temperatures: list[float], at_once: int) -> Way:
    """Train the recipes as trials of a campaign."""
    file, first = place / f"campaign-{at_once}.yaml", temperatures[1:]
    raw = {
        "name": f"campaign-{at_once}",
        "campaigns": str(place / "campaigns"),
        "trials": len(temperatures),
        "concurrent": at_once,
        "early_stopping": None,
        "first": [{TEMPERATURE: temperature} for temperature in first],
        "space": {TEMPERATURE: {"log": [0.01, 10.0]}},
        "recipe": {**recipe, "aunce": {"temperature": temperatures[0]}},
    }
    file.write_text(yaml.safe_dump(raw))
    wall_s = command("tune", "run", str(file))
    found = load_campaign(file)
    trials = trials_of(found)
    runs = {
        temperature: found.place.at("runs", trial_name(trial.number))
        for trial in trials
        for temperature in temperatures
        if abs(trial.values[TEMPERATURE] - temperature) < 1e-9
    }
    words = "a campaign" + (f", {at_once} trials at once" if at_once > 1 else ", one trial at a time")
    return Way(
        words, wall_s, sum(trial.seconds for trial in trials), at_once, runs, gaps(trials) if at_once == 1 else ()
    )


def gaps(trials: list[TrialState]) -> tuple[float, ...]:
    """Return the seconds from each trial's end to the next one's first step, of trials one after the other."""
    ended = [(trial.ended, trial.seconds) for trial in trials if trial.ended is not None]
    return tuple((now - before).total_seconds() - took_s for (before, _), (now, took_s) in itertools.pairwise(ended))


def same(one: Way, other: Way) -> int:
    """Return how many trials of two ways have equal weights, bit for bit."""
    return sum(_equal(*(_weights(way.runs[temperature]) for way in (one, other))) for temperature in one.runs)


def _weights(run: Store) -> dict[str, torch.Tensor]:
    last = checkpoint.newest(run)
    assert last is not None, run.uri
    return checkpoint.tensors(last, checkpoint.WEIGHTS)


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def row(way: Way, plain: Way) -> str:
    """Return a way as a row of the table."""
    trials, training, rest = len(plain.runs), "", ""
    if way.training_s is not None:
        training = f"{way.training_s / trials:.1f}"
        rest = f"{(way.at_once * way.wall_s - way.training_s) / trials:.1f}"
    cells = [
        way.name,
        f"{way.wall_s / 60:.1f}",
        f"{3600 * trials / way.wall_s:.0f}",
        f"{plain.wall_s / way.wall_s:.2f}",
        training,
        rest,
        f"{statistics.median(way.gaps_s):.1f}" if way.gaps_s else "",
        "" if way is plain else f"{same(plain, way)} of {trials}",
    ]
    return f"| {' | '.join(cells)} |"


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=float, default=12.0)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tiny", action="store_true", help="one short trial, one way")
    options = parser.parse_args(argv)
    if options.tiny:
        options.trials, options.epochs, options.at_once = 1, 1.0, [1]
    temperatures = [round(0.1 * 2**number, 3) for number in range(options.trials)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ingest_synthetic(SynthSpec(12, 1, 40, 1, size=32, stride=10), open_store(place / "shards"))
        recipe = {**RECIPE, "shards": str(place / "shards"), "optim": {"epochs": options.epochs}}
        head = (
            "| way | minutes | trials an hour | beside the loop | training, s a trial | the rest, s a trial "
            "| end to first step, s | equal |"
        )
        print(f"{head}\n|---|---|---|---|---|---|---|---|")
        plain = loop(place, recipe, temperatures)
        print(row(plain, plain), flush=True)
        for at_once in options.at_once:
            print(row(campaign(place, recipe, temperatures, at_once), plain), flush=True)


if __name__ == "__main__":
    main()
