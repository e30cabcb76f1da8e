"""What is in storage: runs, the best checkpoint among them, and its copy in a folder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from au_dist.config.paths import get, leaves
from au_dist.core.errors import CheckpointError
from au_dist.recipes.files import stored_recipe
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store
from au_dist.train import checkpoint

#: Deepest level below an address at which runs are looked for (campaigns keep theirs two below their own).
DEPTH = 3


@dataclass(frozen=True)
class RunRow:
    """One run in storage.

    Attributes:
        place: Where it is.
        name: Its path below the address that was searched.
        kind: The name of its method or task.
        status: ``complete``, ``unfinished`` (resumes with the same command) or ``started`` (no checkpoint yet).
        steps: Step of the newest checkpoint.
        best: Largest value of `metric` among its checkpoints, NaN without any.
        metric: The metric.
        best_step: The step of that checkpoint.
        recipe: Its recipe.
    """

    place: Store
    name: str
    kind: str
    status: str
    steps: int
    best: float
    metric: str
    best_step: int
    recipe: Recipe


def list_runs(base: Store, metric: str | None = None) -> list[RunRow]:
    """Return the runs below an address, by name.

    Args:
        base: The address.
        metric: Which metric to compare by; each run's own when None.
    """
    return [_row(base, path, metric) for path in _run_paths(base.check(), "", DEPTH)]


def _run_paths(base: Store, path: str, depth: int) -> list[str]:
    names = base.list(path)
    if f"{path}recipe.yaml" in names:
        return [path]
    deeper = [name for name in names if name.endswith("/")] if depth else []
    return [run for name in deeper for run in _run_paths(base, name, depth - 1)]


def _row(base: Store, path: str, metric: str | None) -> RunRow:
    place = base.at(path)
    recipe = stored_recipe(place.read("recipe.yaml"))
    chosen = metric or recipe.metric
    steps, top = checkpoint.steps(place), checkpoint.best(place, chosen)
    done = place.exists("result.json")
    number = checkpoint.value(top, chosen) if top else math.nan
    return RunRow(
        place=place,
        name=path.rstrip("/") or place.name,
        kind=recipe.learns.name,
        status="complete" if done else "unfinished" if steps else "started",
        steps=steps[-1] if steps else 0,
        best=number if math.isfinite(number) else math.nan,
        metric=chosen,
        best_step=checkpoint.state(top).step if top else 0,
        recipe=recipe,
    )


def varied(rows: Sequence[RunRow]) -> dict[str, list[Any]]:
    """Return the values in which the recipes of runs differ, by path, one a run; names, places, machines left out."""
    science = [row.recipe.science() for row in rows]
    found = {}
    for path in leaves(Recipe):
        if all(_holds(tree, path) for tree in science):
            values = [get(row.recipe, path) for row in rows]
            if any(value != values[0] for value in values):
                found[path] = values
    return found


def _holds(tree: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    if tree is None:  # a section that is not there
        return True
    return name in tree and (not rest or _holds(tree[name], rest))


def best_run(base: Store, metric: str | None = None, kind: str | None = None) -> RunRow:
    """Return the run with the best checkpoint below an address.

    Args:
        base: The address.
        metric: Which metric; each run's own when None.
        kind: Only runs of this kind.

    Raises:
        CheckpointError: No run has a complete checkpoint with the metric.
    """
    rows = list_runs(base, metric)
    fitting = [row for row in rows if not math.isnan(row.best) and kind in (None, row.kind)]
    if not fitting:
        raise CheckpointError(
            "No run here has a complete checkpoint with this metric",
            where=base.uri,
            expected=metric or "each run's own metric",
            found=f"{len(rows)} runs" if rows else "no runs",
        )
    metrics = sorted({row.metric for row in fitting})
    if len(metrics) > 1:
        raise CheckpointError(
            "The runs here are judged by several metrics, which cannot be compared",
            where=base.uri,
            found=", ".join(metrics),
            fix="Choose the runs with --kind, or the metric with --metric.",
        )
    return max(fitting, key=lambda row: row.best)


def pull(address: str, target: Path, *, which: str = "best", base: Store | None = None) -> dict[str, Any]:
    """Copy a model to a folder and verify every hash.

    Args:
        address: A run, a run's name below `base`, or a checkpoint.
        target: The folder.
        which: ``best`` or ``last`` checkpoint of a run.
        base: Where bare names are looked up.

    Returns:
        Address, step, metrics and files.
    """
    place = checkpoint.find(address, which, base)
    files = checkpoint.pull(place, target)
    state = checkpoint.state(place)
    return {"checkpoint": place.uri, "step": state.step, "metrics": state.metrics, "files": files}
