"""A run that takes milliseconds a step, as a recipe in a folder."""

from pathlib import Path
from typing import Any

import yaml


def write_recipe(folder: Path, **changes: dict[str, Any] | str) -> Path:
    """Write ``recipe.yaml``: of the shards and into the runs beside it. Of a section, what is given is changed."""
    recipe: dict[str, Any] = {
        "name": "run",
        "shards": "shards",
        "runs": "runs",
        "method": "aunce",
        "data": {"size": 32, "lanes": 2, "shuffle_row_groups": 2, "cpus": 0.3},
        "model": {"embed_dim": 8, "bottleneck_channels": 4},
        "batch": {"clips": 4},
        "optim": {"epochs": 60.0},
        "checkpoint": {"every_steps": 10},
        "workers": {"count": 1, "cpus": 0.5},
    }
    for name, change in changes.items():
        recipe[name] = {**recipe[name], **change} if isinstance(change, dict) else change
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
