"""Score a model on the test subjects: every labelled frame; a detector's thresholds are from validation subjects."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from au_dist.compat.ray_tasks import apart
from au_dist.core.errors import CheckpointError, ShardError
from au_dist.core.metrics import UNCHOSEN, average, judged
from au_dist.core.schema import au_name
from au_dist.data.pipeline import quiet, score
from au_dist.methods.base import Scoring
from au_dist.recipes.recipe import Recipe
from au_dist.scoring.baseline import RIDGE, Baseline, FrozenScorer, comparisons, fit_baseline, read_baseline, titles
from au_dist.scoring.model import CHUNK, load_model, scoring_of, thresholds_of
from au_dist.scoring.report import write_report
from au_dist.shards.format import read_manifest
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.train.record import METRICS
from au_dist.train.state import CheckpointState

FOLDER = "evaluation"
#: A scorer takes seconds to start: one more pays from so many frames on.
FRAMES_PER_SCORER = 10_000

REPORT = f"{FOLDER}/report.json"


class Scorer:
    """Maps clips to the scores of their frames; one per Ray Data actor.

    Args:
        place: Address of the checkpoint.
        columns: Label columns of the model's action units.
        num_columns: Label columns of the set.
        side: Side of the stored frames in pixels.
        baseline: Address of what scores them too; None where there is none.
    """

    def __init__(
        self, place: str, columns: list[int], num_columns: int, side: int, baseline: str | None = None
    ) -> None:
        self.model, self.columns, self.num_columns, self.side = load_model(place), columns, num_columns, side
        model = self.model
        self.baseline = (
            FrozenScorer(read_baseline(baseline, model.state, model.scoring), model.device) if baseline else None
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return a row a frame: score, label and mask of each action unit, what is wrong with it, whether it is scored.

        With a baseline its score too.

        Where a network reads clips, a frame that does not decode takes its whole clip with it.
        """
        from au_dist.data.jpeg import pixels, stack

        labels = self.model.scoring.labels
        rows = table.to_pylist()
        names = [f"{row['clip_id']} frame {index}" for row in rows for index in range(len(row["jpeg"]))]
        frame_BHWC, faults = stack((pixels(jpeg, self.side) for row in rows for jpeg in row["jpeg"]), self.side)
        frames = len(names) // len(rows)
        scored_B = np.ones(len(names), bool)
        scored_B[list(faults)] = False
        if self.model.clip_frames > 1:
            scored_B = scored_B.reshape(-1, frames).all(1).repeat(frames)
        y_BA, valid_BA = (
            np.concatenate(part)
            for part in zip(*(labels(r, self.columns, self.num_columns) for r in rows), strict=True)
        )
        valid_BA[~scored_B] = False
        beside = {"baseline": list(self.baseline(frame_BHWC, CHUNK))} if self.baseline else {}
        return pa.table(
            beside
            | {
                "score": list(self.model.scores(frame_BHWC, frames).astype(np.float32)),
                "y": list(y_BA.astype(np.float32)),
                "valid": list(valid_BA),
                "fault": pa.array(
                    [f"{n}: {faults[k]}" if k in faults else None for k, n in enumerate(names)], pa.string()
                ),
                "scored": scored_B,
            }
        )


def evaluate(address: str, *, which: str = "best", runs: Store | None = None) -> dict[str, Any]:
    """Score a run on its test subjects and write the report beside it; Ray must be connected.

    Args:
        address: A run, a run's name below `runs`, or a checkpoint.
        which: ``best`` or ``last`` checkpoint of a run.
        runs: Where bare names are looked up.

    Returns:
        The report.

    Raises:
        CheckpointError: There is no complete checkpoint, or it is of a pretraining.
        ShardError: The shards are not those of the run, or not every row was scored.
    """
    place = checkpoint.find(address, which, runs)
    state = checkpoint.state(place)
    scoring, threshold_A = scoring_of(place, state), thresholds_of(place, state)
    if not state.manifest:
        raise CheckpointError(
            "This model was imported: it has neither shards nor test subjects",
            where=place.uri,
            fix="Train `task: detection` from it, with `init`, on a set of shards, and evaluate that run.",
        )
    recipe = state.run_recipe
    store = open_store(recipe.shards).check()
    manifest = read_manifest(store)
    if manifest.sha256 != state.manifest:
        raise ShardError(
            "The shards are not those that the run was trained on",
            where=store.uri,
            expected=f"manifest {state.manifest[:12]}",
            found=manifest.sha256[:12],
        )
    test = state.subjects.test
    if not test:
        raise ShardError(
            "The run's protocol has no test subjects", where=place.uri, fix="Use a data.protocol.kind other than all."
        )
    quiet()
    run = place.parent.parent if place.parent.name == "checkpoints" else place
    baseline, lacking = _baseline(state, scoring)
    columns = [manifest.aus.index(au) for au in state.aus]
    workers = recipe.workers
    expected = sum(manifest.subjects[name].frames for name in test)
    table = score(
        store,
        manifest,
        test,
        Scorer,
        {
            "place": place.uri,
            "columns": columns,
            "num_columns": len(manifest.aus),
            "side": manifest.crop_recipe.size,
            "baseline": baseline.write(run.at(FOLDER)) if baseline else None,
        },
        workers=min(workers.least, -(-expected // FRAMES_PER_SCORER)),
        cpus=workers.cpus,
        gpus=workers.gpus,
    )
    if table.num_rows != expected:
        raise ShardError(
            "Not every test frame was scored", where=store.uri, expected=f"{expected} frames", found=table.num_rows
        )
    faults = sorted(fault for fault in table["fault"].to_pylist() if fault)
    refuse_unreadable(faults, expected, recipe.data.unreadable, store.uri)
    score_NA, y_NA, valid_NA = (np.stack(table[name].to_pylist()) for name in ("score", "y", "valid"))
    rows = scoring.judge(y_NA, valid_NA, score_NA, threshold_A)
    if baseline:
        theirs = scoring.judge(y_NA, valid_NA, np.stack(table["baseline"].to_pylist()), baseline.threshold_A)
        pairs = zip(rows, theirs, strict=True)
        rows = [row | {f"{RIDGE}{key}": other[key] for key in scoring.beside} for row, other in pairs]
    scored = int(np.sum(table["scored"].to_numpy()))
    report = _report(place, run, state, recipe, rows, expected, scored) | {"unreadable": faults}
    report["baselines"], report["no_baseline"] = comparisons(report["average"], scoring, baseline), lacking
    report["measures"] = {**scoring.measures, **(titles(scoring) if baseline else {})}
    plain = _plain(report)
    run.write(REPORT, json.dumps(plain, indent=1).encode())
    return {**report, "html": write_report(run.at(FOLDER), plain)}


def _baseline(state: CheckpointState, scoring: Scoring) -> tuple[Baseline | None, str | None]:
    """Fit the baseline where the workers of the run would be; or return why there is none."""
    try:
        workers = state.run_recipe.workers
        return apart(fit_baseline, (workers.cpus, workers.gpus), state, scoring), None
    except CheckpointError as error:
        return None, str(error)


def refuse_unreadable(faults: list[str], frames: int, share: float, where: str) -> None:
    """Refuse to judge by what is left of the test frames when too many do not decode.

    Raises:
        ShardError: More than that share of them.
    """
    if len(faults) > share * frames:
        raise ShardError(
            "Too many test frames do not decode",
            where=where,
            expected=f"at most {share:.3g} of {frames} (data.unreadable)",
            found=f"{len(faults)}, e.g. {faults[0]}",
            fix="Restore the shards; `au-dist doctor` checks the whole set.",
        )


def _report(
    place: Store,
    run: Store,
    state: CheckpointState,
    recipe: Recipe,
    rows: list[dict[str, float]],
    frames: int,
    scored: int,
) -> dict[str, Any]:
    subjects = {name: len(names) for name, names in state.subjects}
    lines = run.read(METRICS).decode().splitlines() if run.exists(METRICS) else []
    curve = [json.loads(line) for line in lines]
    return {
        "run": run.uri,
        "name": recipe.name,
        "kind": recipe.task,
        "checkpoint": place.uri,
        "step": state.step,
        "recipe": state.recipe,
        "protocol": state.recipe["data"]["protocol"],
        "stamp": _stamp(recipe, subjects),
        "subjects": subjects,
        "rows_scored": scored,
        "rows_expected": frames,
        "aus": [{"au": au, "name": au_name(au), **row} for au, row in zip(state.aus, rows, strict=True)],
        "average": {key: average(judged(rows), key) for key in rows[0] if key not in ("frames", "threshold")},
        "averaged": [au_name(au) for au, row in zip(state.aus, rows, strict=True) if judged([row])],
        "curves": {
            "train": [row for row in curve if "loss" in row],
            "validation": [row for row in curve if any(name.startswith("val_") for name in row)],
        },
        "versions": state.versions,
    }


def _stamp(recipe: Recipe, subjects: dict[str, int]) -> str:
    """Return who chose what is judged, and who did not."""
    thresholds, budget = not recipe.learns.intensities, _budget(recipe)
    if subjects["validation"]:
        chosen = f"Checkpoint{' and thresholds' if thresholds else ''} chosen on {subjects['validation']} validation "
        return f"{chosen}subjects{budget}; the {subjects['test']} test subjects chose nothing."
    fixed = f"the last checkpoint{f', thresholds of {UNCHOSEN}' if thresholds else ''}"
    return f"No validation subjects: {fixed}{budget}; the {subjects['test']} test subjects chose nothing."


def _budget(recipe: Recipe) -> str:
    labels = recipe.data.labels
    used = f"{100 * labels.share:.3g} % of their labels" if labels.share < 1 else "their labels"
    errors = [
        *([f"{100 * labels.noise:.3g} % of them turned into their opposite"] if labels.noise else []),
        *([f"{100 * labels.missed:.3g} % of positives missed"] if labels.missed else []),
        *([f"onsets and offsets up to {labels.shifted} frames away"] if labels.shifted else []),
        *([f"coders who differ by up to {labels.coder} frames at either end"] if labels.coder else []),
    ]
    clean = ["in training alone"] if errors and labels.validation == "clean" else []
    told = ", ".join([used, *errors, *clean])
    who = "training and validation" if recipe.data.protocol.validation else "training"
    return f" ({who} used {told})" if labels.share < 1 or errors else ""


def _plain(value: Any) -> Any:
    """Return a value with NaN replaced by None: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
