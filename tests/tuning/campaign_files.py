"""Small campaigns for the tests of this folder."""

from pathlib import Path
from typing import Any

import yaml

from au_dist.tuning.study import Study

RECIPE: dict[str, Any] = {
    "method": "aunce",
    "data": {"size": 32, "lanes": 2, "frames_per_clip": 1, "protocol": {"folds": 2}},
    "model": {"embed_dim": 8, "num_neighbors": 2, "bottleneck_channels": 0},
    "batch": {"clips": 4},
    "optim": {"epochs": 3},
    "workers": {"count": 1, "cpus": 0.5},
}
SPACE: dict[str, Any] = {
    "aunce.temperature": {"log": [0.05, 1.0]},
    "aunce.beta_majority": {"uniform": [0.2, 1.2]},
    "aunce.beta_minority": {"uniform": [0.2, 1.2]},
    "aunce.positive_weights": {"weights": ["highest", "mean", "view"]},
}


def write_campaign(folder: Path, shards: object = "shards", recipe: dict[str, Any] | None = None, **keys: Any) -> Path:
    """Write a campaign file and return its path."""
    raw = {
        "name": "campaign",
        "campaigns": str(folder / "campaigns"),
        "trials": 2,
        "space": SPACE,
        "recipe": {"shards": str(shards), **RECIPE, **(recipe or {})},
        **keys,
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def drawn(study: Study, count: int) -> list[dict[str, Any]]:
    """Ask and finish some trials; small temperatures are good."""
    found = []
    for _ in range(count):
        number = study.ask()
        values = study.trial(number).values
        study.report(number, 1, -values["aunce.temperature"])
        study.finish(number, -values["aunce.temperature"])
        found.append(values)
    return found
