"""Which method helps on synthetic faces, with three seeds and their spread; test subjects choose nothing.

    python benchmarks/methods.py noise       AUNCE and cross-entropy at 0, 10, 20 and 30 % label noise
    python benchmarks/methods.py modes       AUNCE corrected and released
    python benchmarks/methods.py intensity   intensity with few labels: from scratch, and after predictive coding

Every run is what `au-dist train` does. Run again, it goes on where it stopped. Some minutes a run on two cores.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from au_dist.config.files import override, parse, read_yaml
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SEEDS = (0, 1, 2)
NOISE = (0.0, 0.1, 0.2, 0.3)

#: Share of labels -> epochs of the intensity runs.
SHARES = {0.02: 30, 0.1: 12, 1.0: 6}

#: What an intensity run starts from.
STARTS = {"from scratch": "null", "after predictive coding": "{{run: predictive-{seed}}}"}


def recipe(base: Store, shards: str, example: str, name: str, seed: int, **values: Any) -> Recipe:
    """Return an example's recipe with other values."""
    places = {"name": name, "shards": base.at(f"shards/{shards}").uri, "runs": base.at("runs").uri, "seed": seed}
    assignments = [f"{key.replace('__', '.')}={value}" for key, value in {**places, **values}.items()]
    path = EXAMPLES / f"{example}.yaml"
    return parse(Recipe, override(read_yaml(path), assignments), path)


def run(base: Store, found: Recipe) -> dict[str, Any]:
    """Train a recipe, or find it trained; return the averages over action units on test subjects if it has a task."""
    from au_dist.runs.train import train
    from au_dist.scoring.evaluate import REPORT, evaluate

    say(f"  {found.name}")
    train(found)
    place = base.at("runs").at(found.name)
    if found.method:
        return {}
    if place.exists(REPORT):
        return json.loads(place.read(REPORT))["average"]
    return evaluate(found.name, runs=base.at("runs"))["average"]


def noise(base: Store, levels: tuple[float, ...] = NOISE) -> list[list[str]]:
    """AUNCE with a linear probe, and the same network trained by cross-entropy, on labels of which some are wrong."""
    rows = []
    for level in levels:
        found: dict[str, list[dict[str, Any]]] = {"AUNCE, linear probe": [], "cross-entropy": []}
        for seed in SEEDS:
            labels = {"data__labels__noise": level, "data__labels__seed": seed}
            found["AUNCE, linear probe"].append(aunce(base, f"aunce-{level:g}-{seed}", seed, **labels))
            name = f"cross-entropy-{level:g}-{seed}"
            plain = recipe(base, "faces", "finetune", name, seed, init="null", optim__epochs=10, **labels)
            found["cross-entropy"].append(run(base, plain))
        rows += [[f"{level:.0%}", name, *cells(values, "auc", "f1")] for name, values in found.items()]
    return [["labels turned", "", *titles("AUC", "F1")], *rows]


def modes(base: Store) -> list[list[str]]:
    """The corrected and the released form of the loss, all else equal."""
    rows = []
    for mode, prefix in (("corrected", "aunce-0"), ("released", "released")):
        labels = [{"data__labels__noise": 0.0, "data__labels__seed": seed} for seed in SEEDS]
        found = [aunce(base, f"{prefix}-{seed}", seed, aunce__mode=mode, **labels[seed]) for seed in SEEDS]
        rows.append([mode, *cells(found, "auc", "f1")])
    return [["mode", *titles("AUC", "F1")], *rows]


def aunce(base: Store, name: str, seed: int, **values: Any) -> dict[str, Any]:
    """Pretrain and probe."""
    run(base, recipe(base, "faces", "pretrain", name, seed, **values))
    labels = {key: value for key, value in values.items() if key.startswith("data__")}
    return run(base, recipe(base, "faces", "probe", f"{name}-probe", seed, init__run=name, **labels))


def intensity(base: Store) -> list[list[str]]:
    """Intensity from few labels, from scratch and from a network that learnt to predict unlabelled clips."""
    blocks = {"predictive__blocks": 8, "predictive__steps": 3, "batch__clips": 32}
    common = {"data__frames_per_clip": 8, "optim__encoder": 1.0, "keep__every": 40}
    for seed in SEEDS:
        run(base, recipe(base, "clips", "predictive", f"predictive-{seed}", seed, optim__epochs=10, **blocks))
    rows = []
    for share, epochs in SHARES.items():
        labels = {"data__labels__share": share, "optim__epochs": epochs}
        for start, init in STARTS.items():
            found = []
            for seed in SEEDS:
                name = f"{start.replace(' ', '-')}-{share:g}-{seed}"
                values = {**common, **labels, "data__labels__seed": seed, "init": init.format(seed=seed)}
                found.append(run(base, recipe(base, "clips", "intensity", name, seed, **values)))
            rows.append([f"{share:.0%}", start, *cells(found, "icc", "mse", "mae")])
    return [["labels", "", *titles("ICC(3,1)", "MSE", "MAE")], *rows]


def titles(*names: str) -> list[str]:
    """Return the heads of the columns that `cells` fills."""
    return [head for name in names for head in (name, "by seed")]


def cells(found: list[dict[str, Any]], *keys: str) -> list[str]:
    """Return mean and standard deviation of each metric, and its values."""
    texts = []
    for key in keys:
        values = [report[key] for report in found]
        texts.append(f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")
        texts.append(" ".join(f"{value:.3f}" for value in values))
    return texts


def faces(base: Store) -> None:
    """Make the faces: videos in clips of 4 frames to detect, in clips of 8 frames to foresee."""
    from au_dist.ingest.synthetic import ingest_synthetic
    from au_dist.shards.format import MANIFEST
    from au_dist.synthetic.clips import SynthSpec

    for name, spec in {
        "faces": SynthSpec(120, 1, 48, 4, size=64, stride=10),
        "clips": SynthSpec(300, 1, 24, 8, size=64, stride=10),
    }.items():
        if not base.at(f"shards/{name}").exists(MANIFEST):
            ingest_synthetic(spec, base.at(f"shards/{name}"), processes=os.cpu_count() or 1)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Run one comparison and print its table."""
    from au_dist.runs.session import ray_session

    comparisons = {"noise": noise, "modes": modes, "intensity": intensity}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=comparisons)
    parser.add_argument("--out", default=".demo/methods", help="folder or address for shards and runs")
    chosen = parser.parse_args()
    base = open_store(chosen.out)
    faces(base)
    with ray_session():
        head, *rows = comparisons[chosen.comparison](base)
    for row in (head, ["---"] * len(head), *rows):
        say(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
