"""The main job, top to bottom, on synthetic faces: shards, training from ImageNet's weights, evaluation, prediction.

    python examples/demo.py            on a folder, .demo/store; results in .demo/results/folder
    python examples/demo.py --s3       on a real S3 server on loopback, which this starts and stops; .demo/results/s3

Everything it calls is what the verbs of ``au-dist`` call. Run again, it goes on where it stopped.
"""

import argparse
import os
import shutil
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from au_dist.cli.terminal import Progress, table
from au_dist.recipes.files import load_recipe
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store

EXAMPLES = Path(__file__).parent
FOLDER = Path(".demo")
SEEDS = (0, 1, 2)

#: Stated here once: enough subjects that identity cannot stand in for expression, small enough for two cores.
SUBJECTS, VIDEOS, FRAMES, CLIP, SIZE = 120, 1, 48, 4, 64

#: The network of examples/detect.yaml from other weights, and as few epochs as show what there is to see.
START = {
    "model": "{encoder: lite0, weights: package, norm: frozen, stages: 4}",
    "optim": "{lr: 2.0e-3, epochs: 3}",
}

#: AUNCE beside the cross-entropy, over the two views that both learn from; the rest as in examples/pretrain.yaml.
BESIDE = {"detection__aunce": "{weight: 0.3, temperature: 0.2, positive_weights: [0, 1, 0, 0]}"}

FROZEN = "ridge regression on lite0, nothing trained"

#: What is trained → how its run is named, and what it changes in the recipe.
WAYS = {
    "cross-entropy, from lite0": ("plain", {}),
    "cross-entropy and AUNCE, from lite0": ("beside", BESIDE),
}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def stage(title: str):
    """Print a stage's title and how long it took."""
    say(f"\n== {title}")
    begun = time.monotonic()
    yield
    say(f"   ({time.monotonic() - begun:.0f} s)")


@contextmanager
def s3_store():
    """Start a real S3 server and yield a bucket on it."""
    from au_dist.cluster.local_s3 import server as s3

    directory = FOLDER / "s3"
    s3.up(directory)
    try:
        environment = s3.environment(directory)
        os.environ.update(environment)
        s3.make_bucket(environment, "au-dist-demo")
        yield open_store("s3://au-dist-demo/store")
    finally:
        s3.down(directory)


def recipe(example: str, base: Store, **values: object) -> Recipe:
    """Return an example's recipe at this store."""
    places = {"shards": base.at("shards/synthetic").uri, "runs": base.at("runs").uri, **values}
    assignments = [f"{key.replace('__', '.')}={value}" for key, value in places.items()]
    return load_recipe(EXAMPLES / f"{example}.yaml", assignments)


def run(base: Store, results: Path) -> None:
    """Do the whole job in a store; the pulled model, its prediction and the report go to a folder."""
    from au_dist.ingest.synthetic import ingest_synthetic
    from au_dist.runs.session import ray_session
    from au_dist.runs.train import train
    from au_dist.scoring.evaluate import evaluate
    from au_dist.scoring.report import write_report
    from au_dist.shards.format import MANIFEST
    from au_dist.synthetic.clips import SynthSpec

    begun = time.monotonic()
    shards = base.at("shards/synthetic")
    if not shards.exists(MANIFEST):
        with stage(f"synthetic faces of {SUBJECTS} subjects -> {shards.uri}"):
            spec = SynthSpec(SUBJECTS, VIDEOS, FRAMES, CLIP, size=SIZE, stride=10)
            manifest = ingest_synthetic(spec, shards, processes=os.cpu_count() or 1)
            say(f"   {manifest.clips} clips, {manifest.frames} frames")
    reports: dict[str, list[dict]] = {way: [] for way in WAYS}
    with ray_session():
        for seed in SEEDS:
            for way, (name, changes) in WAYS.items():
                with stage(f"seed {seed}: {way}"):
                    train(recipe("detect", base, name=f"{name}-{seed}", seed=seed, **START, **changes), Progress())
            with stage(f"seed {seed}: test subjects"):
                for way, (name, _) in WAYS.items():
                    reports[way].append(evaluate(f"{name}-{seed}", runs=base.at("runs")))

    with stage("the best detection model by validation AUC, pulled and tried on a video"):
        video, picture = try_best(base, results)

    comparison = compare(reports)
    report = {
        **reports[next(reversed(WAYS))][0],
        "comparison": comparison,
        "pictures": [{"title": video.name, "path": str(picture)}],
    }
    page = write_report(results / "report.html", report)
    say("\nAverage F1 and AUC over 12 action units on test subjects that chose nothing")
    table(["", *comparison["columns"], "mean ± sd"], [[row["name"], *row["cells"]] for row in comparison["rows"]])
    say(f"\nreport  {page}\nwall time  {time.monotonic() - begun:.0f} s")


def try_best(base: Store, results: Path) -> tuple[Path, Path]:
    """Pull the best detection model of this store and let it predict; return the video and the picture of it."""
    from au_dist.runs.listing import best_run, pull
    from au_dist.scoring.predict import predict

    best = best_run(base.at("runs"), kind="detection")
    model = results / "models" / best.name
    shutil.rmtree(model, ignore_errors=True)  # an earlier run may have pulled an earlier checkpoint
    pull(best.place.uri, model)
    video = demo_video(results / "face.mp4")
    shown = predict(str(model), video, results / "prediction", overwrite=True)
    say(f"   {best.name} -> {model}; {shown.csv}, {shown.picture}")
    return video, shown.picture


def compare(reports: dict[str, list[dict]]) -> dict:
    """Return the table of baselines and ways by seeds."""
    averages = {way: [report["average"] for report in found] for way, found in reports.items()}
    first = next(iter(averages.values()))
    rows = []
    for measure, key in (("AUC", "auc"), ("F1", "f1")):
        rows.append(_row(f"{FROZEN}, {measure}", [average[f"ridge_{key}"] for average in first]))
        rows += [_row(f"{way}, {measure}", [average[key] for average in found]) for way, found in averages.items()]
    rows.append(_row("every frame positive, F1", [average["all_positive_f1"] for average in first]))
    return {"columns": [f"seed {seed}" for seed in SEEDS], "rows": rows}


def _row(name: str, values: list[float]) -> dict:
    """Return the numbers for the page and the cells for the terminal."""
    mean, spread = statistics.mean(values), statistics.stdev(values)
    cells = [*(f"{value:.3f}" for value in values), f"{mean:.3f} ± {spread:.3f}"]
    return {"name": name, "values": values, "mean": mean, "spread": spread, "cells": cells}


def demo_video(path: Path) -> Path:
    """Return a short film of a synthetic face that the models have not seen, large enough to be detected."""
    from au_dist.synthetic.film import write_film

    if not path.exists():
        write_film(path, seed=1)
    return path


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--s3", action="store_true", help="use a real S3 server on loopback")
    FOLDER.mkdir(exist_ok=True)
    if parser.parse_args().s3:
        with s3_store() as base:
            run(base, FOLDER / "results/s3")
    else:
        run(open_store(FOLDER / "store"), FOLDER / "results/folder")


if __name__ == "__main__":
    main()
