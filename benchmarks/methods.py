"""Which method helps on synthetic faces, with three seeds and their spread; test subjects choose nothing.

    python benchmarks/methods.py grid        methods x what is wrong with labels x what the network starts from
    python benchmarks/methods.py grid --labels right "30 % turned" --starts lite0      a part of it
    python benchmarks/methods.py noise       AUNCE and cross-entropy at 0, 10, 20 and 30 % label noise
    python benchmarks/methods.py modes       AUNCE corrected and released
    python benchmarks/methods.py intensity   intensity with few labels: from scratch, and after predictive coding
    python benchmarks/methods.py motion      the same from pretrained weights, and after ways of predictive coding
    python benchmarks/methods.py noise --tiny    one seed, one level or share, a few steps of few faces

Every run is what `au-dist train` does. Run again, it goes on where it stopped. Some minutes a run on two cores.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from au_dist.config.files import override, parse, read_yaml
from au_dist.recipes.recipe import Recipe
from au_dist.runs.worker_group import IDLE_S, WorkerGroup
from au_dist.storage.store import Store, open_store

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@dataclass(frozen=True)
class Scale:
    """How much is trained.

    Attributes:
        seeds: Seeds, of everything.
        noise: Shares of the labels that are turned.
        shares: Share of labels -> epochs of the intensity runs.
        subjects: Subjects of the faces to detect, of those to foresee, and of half an hour of training video.
        frames: Frames of a video of these.
        values: What every recipe is given instead of what else it says.
    """

    seeds: tuple[int, ...]
    noise: tuple[float, ...]
    shares: dict[float, float]
    subjects: tuple[int, int, int]
    frames: tuple[int, int, int]
    values: dict[str, Any]


FULL = Scale((0, 1, 2), (0.0, 0.1, 0.2, 0.3), {0.02: 30, 0.1: 12, 1.0: 6}, (120, 300, 480), (48, 24, 24), {})
TINY = Scale(
    (0,), (0.0,), {1.0: 0.5}, (24, 24, 24), (16, 16, 16), {"optim__epochs": 0.5, "batch__clips": 8, "workers__count": 1}
)


#: What is wrong with the labels of training and validation subjects.
LABELS: dict[str, dict[str, Any]] = {
    "right": {},
    "15 % turned": {"data__labels__noise": 0.15},
    "30 % turned": {"data__labels__noise": 0.3},
    "30 % of positives missed": {"data__labels__missed": 0.3},
    "shifted by up to 2 frames": {"data__labels__shifted": 2},
}

#: Each example's recipe with a small network from random weights, and the settings that were best for that.
RANDOM: dict[str, dict[str, Any]] = {
    "pretrain": {
        "model": "{}",
        "optim__lr": 2e-3,
        "optim__epochs": 16,
        "batch__clips": 64,
        "checkpoint__every_steps": 90,
    },
    "probe": {"model": "{}"},
    "finetune": {
        "model": "{}",
        "detection__views": 1,
        "optim__lr": 1e-3,
        "optim__epochs": 7,
        "batch__clips": 64,
        "checkpoint__every_steps": 40,
    },
    "predictive": {
        "model": "{}",
        "predictive": "{frames: 1}",
        "data__views": "{colour: 0.15, grey: 0.0, blur: 0.4}",
        "optim__lr": 1e-3,
        "optim__epochs": 10,
    },
    "intensity": {"model": "{}", "optim__lr": 1e-3},
}

#: What the network starts from, and how it is trained: of the settings tried, those with the best validation AUC.
STARTING: dict[str, dict[str, Any]] = {
    "random": {"optim__epochs": 10},
    "lite0": {
        "model__encoder": "lite0",
        "model__weights": "package",
        "model__norm": "frozen",
        "model__stages": 4,
        "optim__epochs": 4,
        "optim__lr": 2e-3,
        "batch__clips": 32,
    },
    "mini_xception": {
        "model__encoder": "mini_xception",
        "model__weights": "package",
        "model__norm": "frozen",
        "model__stages": 4,
        "optim__epochs": 4,
        "optim__lr": 4e-3,
        "batch__clips": 32,
    },
}

#: Ways to a detector; all learn from two views, and what is fine-tuned or trained with labels is trained as long.
WAYS = ("cross-entropy", "AUNCE beside it", "AUNCE, ridge", "AUNCE, then fine-tuned")


@dataclass(frozen=True)
class Study:
    """Where runs are stored and how much is trained.

    Attributes:
        base: Holds shards and runs.
        scale: How much.
        labels: Which of `LABELS` the grid has.
        starts: Which of `STARTING`.
        ways: Which of `WAYS`.
        group: Workers that train one run after another.
    """

    base: Store
    scale: Scale = FULL
    labels: Sequence[str] = tuple(LABELS)
    starts: Sequence[str] = tuple(STARTING)
    ways: Sequence[str] = WAYS
    group: WorkerGroup = field(default_factory=lambda: WorkerGroup(IDLE_S))


#: What an intensity run starts from.
STARTS = {"from scratch": "null", "after predictive coding": "{{run: predictive-{seed}}}"}


def recipe(study: Study, shards: str, example: str, name: str, seed: int, start: str, **values: Any) -> Recipe:
    """Return an example's recipe with other values; what it starts from is one of `STARTING`."""
    base, values = study.base, {**(RANDOM[example] if start == "random" else {}), **values}
    places = {"name": name, "shards": base.at(f"shards/{shards}").uri, "runs": base.at("runs").uri, "seed": seed}
    changed = {**places, **values, **study.scale.values}
    assignments = [f"{key.replace('__', '.')}={value}" for key, value in changed.items()]
    path = EXAMPLES / f"{example}.yaml"
    return parse(Recipe, override(read_yaml(path), assignments), path)


def run(study: Study, found: Recipe) -> dict[str, Any]:
    """Train a recipe, or find it trained; return the averages over action units on test subjects if it has a task."""
    from au_dist.runs.train import train
    from au_dist.scoring.evaluate import REPORT, evaluate

    say(f"  {found.name}")
    train(found, group=study.group)
    place = study.base.at("runs").at(found.name)
    if found.method:
        return {}
    if place.exists(REPORT):
        return json.loads(place.read(REPORT))["average"]
    return evaluate(found.name, runs=study.base.at("runs"))["average"]


def noise(study: Study) -> list[list[str]]:
    """AUNCE with a linear probe, and the same network trained by cross-entropy, on labels of which some are wrong."""
    rows = []
    for level in study.scale.noise:
        found: dict[str, list[dict[str, Any]]] = {"AUNCE, linear probe": [], "cross-entropy": []}
        for seed in study.scale.seeds:
            labels = {"data__labels__noise": level, "data__labels__seed": seed}
            found["AUNCE, linear probe"].append(aunce(study, f"aunce-{level:g}-{seed}", seed, **labels))
            name = f"cross-entropy-{level:g}-{seed}"
            plain = recipe(study, "faces", "finetune", name, seed, "random", init="null", optim__epochs=10, **labels)
            found["cross-entropy"].append(run(study, plain))
        rows += [[f"{level:.0%}", name, *cells(values, "auc", "f1")] for name, values in found.items()]
    return [["labels turned", "", *titles("AUC", "F1")], *rows]


def grid(study: Study) -> list[list[str]]:
    """Ways to a detector, with the baselines of every evaluation; each is compared with cross-entropy, seed by seed."""
    rows = []
    for labels, start in itertools.product(study.labels, study.starts):
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in study.ways}
        for way, seed in itertools.product(study.ways, study.scale.seeds):
            values = {**STARTING[start], **LABELS[labels], "data__labels__seed": seed}
            found[way].append(detector(study, way, f"{start}-{labels}-{way}-{seed}", seed, start, values))
        frozen = [{key: one[f"ridge_{key}"] for key in ("auc", "f1")} for one in next(iter(found.values()))]
        found = {"ridge on the encoder as it began": frozen, **found}
        plain = found.get("cross-entropy", [])
        rows += [
            [labels, start, way, *cells(ones, "auc", "f1"), paired(ones, plain, "auc")] for way, ones in found.items()
        ]
    return [["labels", "from", "", *titles("AUC", "F1"), "AUC less that of cross-entropy"], *rows]


def detector(study: Study, way: str, name: str, seed: int, start: str, values: dict[str, Any]) -> dict[str, Any]:
    """Train a detector in one of `WAYS`; return its averages over action units on test subjects."""
    name = re.sub("[^a-z0-9]+", "-", name.lower())
    labels = {key: value for key, value in values.items() if key.startswith("data__labels")}
    network = {key: value for key, value in values.items() if key.startswith("model__")}
    contrast = {f"detection__aunce__{key}": value for key, value in CONTRAST.items()}
    if way in ("cross-entropy", "AUNCE beside it"):
        joint = contrast if way == "AUNCE beside it" else {}
        values = {"init": "null", "detection__views": 2, **joint, **values}
        return run(study, recipe(study, "faces", "finetune", name, seed, start, **values))
    before = re.sub("-aunce-.*-", "-aunce-", name)
    run(study, recipe(study, "faces", "pretrain", before, seed, start, **values))
    if way == "AUNCE, ridge":
        ridge = {"init__run": before, "detection__train": "ridge", **network, **labels}
        return run(study, recipe(study, "faces", "probe", name, seed, start, **ridge))
    values = {"init__run": before, "detection__views": 2, **values}
    return run(study, recipe(study, "faces", "finetune", name, seed, start, **values))


#: AUNCE beside cross-entropy: as in examples/pretrain.yaml.
CONTRAST = {"weight": 0.3, "temperature": 0.2, "positive_weights": [0, 1, 0, 0]}


def modes(study: Study) -> list[list[str]]:
    """The corrected and the released form of the loss, all else equal."""
    rows = []
    for mode, prefix in (("corrected", "aunce-0"), ("released", "released")):
        found = []
        for seed in study.scale.seeds:
            labels = {"data__labels__noise": 0.0, "data__labels__seed": seed}
            found.append(aunce(study, f"{prefix}-{seed}", seed, aunce__mode=mode, **labels))
        rows.append([mode, *cells(found, "auc", "f1")])
    return [["mode", *titles("AUC", "F1")], *rows]


def aunce(study: Study, name: str, seed: int, **values: Any) -> dict[str, Any]:
    """Pretrain and probe."""
    run(study, recipe(study, "faces", "pretrain", name, seed, "random", **values))
    labels = {key: value for key, value in values.items() if key.startswith("data__")}
    return run(study, recipe(study, "faces", "probe", f"{name}-probe", seed, "random", init__run=name, **labels))


def intensity(study: Study) -> list[list[str]]:
    """Intensity from few labels, from scratch and from a network that learnt to predict unlabelled clips."""
    blocks = {"predictive__blocks": 8, "predictive__steps": 3, "batch__clips": 32}
    common = {"data__frames_per_clip": 8, "optim__encoder": 1.0, "checkpoint__every_steps": 40}
    for seed in study.scale.seeds:
        run(
            study,
            recipe(study, "clips", "predictive", f"predictive-{seed}", seed, "random", optim__epochs=10, **blocks),
        )
    rows = []
    for share, epochs in study.scale.shares.items():
        labels = {"data__labels__share": share, "optim__epochs": epochs}
        for start, init in STARTS.items():
            found = []
            for seed in study.scale.seeds:
                name = f"{start.replace(' ', '-')}-{share:g}-{seed}"
                values = {**common, **labels, "data__labels__seed": seed, "init": init.format(seed=seed)}
                found.append(run(study, recipe(study, "clips", "intensity", name, seed, "random", **values)))
            rows.append([f"{share:.0%}", start, *cells(found, "icc", "mse", "mae")])
    return [["labels", "", *titles("ICC(3,1)", "MSE", "MAE")], *rows]


#: Ways of predictive coding, from `lite0`; the colours of two views differ more than those of one.
FORESIGHT: dict[str, dict[str, Any]] = {
    "maps, as published": {
        "predictive": "{blocks: 8, frames: 1, steps: 3}",
        "data__views": "{colour: 0.15, grey: 0.0, blur: 0.4}",
    },
    "changes": {
        "predictive": "{blocks: 8, frames: 1, steps: 3, target: change}",
        "data__views": "{colour: 0.15, grey: 0.0, blur: 0.4}",
    },
    "changes, within clips, of another view": {
        "predictive": "{blocks: 8, frames: 1, steps: 3, target: change, negatives: clip, views: 2}",
    },
}

#: Share of labels -> epochs of the intensity runs from `lite0`.
FROM_LITE0 = {0.02: 40, 0.1: 12, 1.0: 4}


def motion(study: Study) -> list[list[str]]:
    """Intensity from few labels, from `lite0` and after ways of predictive coding from it."""
    network = {key: value for key, value in STARTING["lite0"].items() if key.startswith("model__")}
    common = {**network, "data__frames_per_clip": 8, "checkpoint__every_steps": 80}
    rows = []
    for (share, epochs), way in itertools.product(FROM_LITE0.items(), ("", *FORESIGHT)):
        if way and share > min(FROM_LITE0):
            continue
        found = []
        for seed in study.scale.seeds:
            init, name = "null", re.sub("[^a-z0-9]+", "-", f"{way or 'lite0'}-{seed}")
            if way:
                before = {**network, **FORESIGHT[way], "optim__epochs": 4}
                run(study, recipe(study, "films", "predictive", f"foresee-{name}", seed, "lite0", **before))
                init = f"{{run: foresee-{name}}}"
            labels = {"data__labels__share": share, "data__labels__seed": seed, "optim__epochs": epochs, "init": init}
            values = {**common, **labels}
            found.append(run(study, recipe(study, "films", "intensity", f"{name}-{share:g}", seed, "lite0", **values)))
        rows.append([f"{share:.0%}", f"after predicting {way}" if way else "`lite0`", *cells(found, "icc", "mse")])
    return [["labels", "from", *titles("ICC(3,1)", "MSE")], *rows]


def titles(*names: str) -> list[str]:
    """Return the heads of the columns that `cells` fills."""
    return [head for name in names for head in (name, "by seed")]


def cells(found: list[dict[str, Any]], *keys: str) -> list[str]:
    """Return mean and standard deviation of each metric (0 of a single value), and its values."""
    texts = []
    for key in keys:
        values = [report[key] for report in found]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        texts.append(f"{statistics.mean(values):.3f} ± {spread:.3f}")
        texts.append(" ".join(f"{value:.3f}" for value in values))
    return texts


def paired(found: list[dict[str, Any]], plain: list[dict[str, Any]], key: str) -> str:
    """Return mean and standard deviation of the differences from another way, seed by seed."""
    if found is plain or len(found) != len(plain):
        return "–"
    (difference, *_) = cells([{key: a[key] - b[key]} for a, b in zip(found, plain, strict=True)], key)
    return difference if difference.startswith("-") else f"+{difference}"


def faces(study: Study) -> None:
    """Make the faces: videos in clips of 4 frames to detect, in clips of 8 frames to foresee."""
    from au_dist.ingest.synthetic import ingest_synthetic
    from au_dist.shards.format import MANIFEST
    from au_dist.synthetic.clips import SynthSpec

    scale = study.scale
    sets = zip(("faces", "clips", "films"), scale.subjects, scale.frames, (4, 8, 8), strict=True)
    for name, subjects, frames, length in sets:
        place = study.base.at(f"shards/{name}")
        if not place.exists(MANIFEST):
            spec = SynthSpec(subjects, 1, frames, length, size=64, stride=10)
            ingest_synthetic(spec, place, processes=os.cpu_count() or 1)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> None:
    """Run one comparison and print its table."""
    from au_dist.runs.session import ray_session

    comparisons = {"grid": grid, "noise": noise, "modes": modes, "intensity": intensity, "motion": motion}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=comparisons)
    parser.add_argument("--out", help="folder or address for shards and runs (.demo/methods, .demo/methods-tiny)")
    parser.add_argument("--tiny", action="store_true", help="one seed, one level or share, few steps of few faces")
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=list(LABELS), help="rows of the grid")
    parser.add_argument("--starts", nargs="+", choices=STARTING, default=list(STARTING), help="rows of the grid")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="rows of the grid")
    chosen = parser.parse_args(argv)
    out = chosen.out or (".demo/methods-tiny" if chosen.tiny else ".demo/methods")
    scale = TINY if chosen.tiny else FULL
    study = Study(open_store(out), scale, chosen.labels, chosen.starts, chosen.ways)
    faces(study)
    with ray_session(), study.group:
        head, *rows = comparisons[chosen.comparison](study)
    for row in (head, ["---"] * len(head), *rows):
        say(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
