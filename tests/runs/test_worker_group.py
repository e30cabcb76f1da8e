"""Workers that train one run after another: the same runs as those of workers of their own, and none are left over."""

import threading
import time
from pathlib import Path

import pytest
import torch
from campaign_files import RECIPE

from au_dist.core.errors import ResumeError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.train import train
from au_dist.runs.worker_group import WorkerGroup
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.train.events import Event, StepDone, Stored

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def recipe(name: str, shards: Store, place: Path, **keys: object) -> Recipe:
    raw = {**RECIPE, "name": name, "shards": shards.uri, "runs": str(place), "optim": {"epochs": 2}}
    return Recipe.model_validate({**raw, **keys})


def groups() -> set[str]:
    from ray.util import placement_group_table

    return {name for name, group in placement_group_table().items() if group["state"] == "CREATED"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest(open_store(run))
    assert newest is not None
    return checkpoint.tensors(newest, checkpoint.WEIGHTS)


def test_a_group_trains_what_workers_of_its_own_would_have(tmp_path: Path, shards: Store, ray_here: None) -> None:
    before, group, memory = groups(), WorkerGroup(15.0, open_store(tmp_path / "home")), dict[str, float]()

    def keep(name: str, event: Event) -> None:
        if isinstance(event, Stored) and event.memory_mib:
            memory[name] = event.memory_mib

    train(recipe("first", shards, tmp_path, seed=5), lambda event: keep("first", event), group=group)
    assert group.is_idle
    (there,) = groups() - before
    # One that is dropped leaves the workers, and no checkpoint of the step that it came to.
    drop, steps = threading.Event(), list[int]()

    def see(event: Event) -> None:
        if isinstance(event, StepDone):
            steps.append(event.step)
            drop.set()

    with pytest.raises(ResumeError):
        train(recipe("dropped", shards, tmp_path, optim={"epochs": 500}), see, drop=drop, group=group)
    assert max(checkpoint.steps(open_store(tmp_path / "dropped")), default=0) <= max(steps) < 500
    assert group.is_idle
    train(recipe("second", shards, tmp_path), lambda event: keep("second", event), group=group)
    assert groups() - before == {there}
    # Others start for a run of another shape, and go by themselves when nobody needs them.
    train(recipe("wider", shards, tmp_path, workers={"count": 2, "cpus": 0.5}), group=group)
    (other,) = groups() - before
    assert other != there
    until = time.monotonic() + 60
    while groups() - before and time.monotonic() < until:
        time.sleep(0.5)
    assert not groups() - before
    assert not group.is_idle

    train(recipe("alone", shards, tmp_path), lambda event: keep("alone", event))
    assert not groups() - before
    second, alone = (weights(tmp_path / name) for name in ("second", "alone"))
    assert second.keys() == alone.keys()
    assert all(torch.equal(second[name], alone[name]) for name in alone)
    rows = [
        [line.split('"lr"')[0] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("second", "alone")
    ]
    assert rows[0] == rows[1]
    assert memory["second"] < 1.5 * memory["alone"]
