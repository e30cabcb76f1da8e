"""Whether workers find room, and what is said where they do not."""

import pytest

from au_dist.core.nodes import labelled
from au_dist.recipes.recipe import Recipe
from au_dist.runs.coordinator import RoomWatch
from au_dist.runs.room import holds, needs, there_is


def recipe(cpus: float = 1.0, gpus: float = 0.0, data: float = 0.5, on: str = "", reads_on: str = "") -> Recipe:
    raw = {"name": "run", "method": "aunce", "shards": "shards", "runs": "runs"}
    workers = {"cpus": cpus, "gpus": gpus, "node_labels": {"pool": on} if on else {}}
    reading = {"cpus": data, "node_labels": {"pool": reads_on} if reads_on else {}}
    return Recipe.model_validate({**raw, "workers": workers, "data": reading})


def node(cpus: float, pool: str) -> dict[str, float]:
    return labelled({"CPU": cpus}, {"pool": pool, "zone": "a"})


@pytest.mark.parametrize(
    ("asked", "nodes", "workers"),
    [
        (recipe(), [{"CPU": 4.0}], 2),  # 2 x 1.5; a third has a place, but nothing would read for it
        (recipe(data=0.25), [{"CPU": 1.9}, {"CPU": 1.9}], 2),
        (recipe(cpus=2.0, data=0.1), [{"CPU": 1.9}, {"CPU": 1.9}], 0),  # whole on one node
        (recipe(gpus=1.0), [{"CPU": 64.0, "GPU": 2.0}, {"CPU": 64.0}], 2),
        (recipe(gpus=1.0), [{"CPU": 1.5, "GPU": 8.0}], 1),
        (recipe(), [], 0),
        (recipe(on="train"), [node(8.0, "data"), node(3.0, "train")], 3),
        (recipe(on="train", reads_on="data"), [node(1.0, "data"), node(8.0, "train")], 2),
        (recipe(on="train", reads_on="data"), [node(8.0, "data"), node(2.9, "train")], 2),
        (recipe(reads_on="data"), [node(3.0, "data"), node(1.0, "train")], 2),
        (recipe(on="train", reads_on="nowhere"), [node(8.0, "data"), node(8.0, "train")], 0),
    ],
)
def test_so_many_find_room(asked: Recipe, nodes: list[dict[str, float]], workers: int) -> None:
    assert [holds(asked, nodes, count) for count in (workers, workers + 1)] == [True, False]


def test_what_is_asked_for_and_what_is_free_in_words() -> None:
    assert needs(recipe(gpus=0.5), 3) == "3 × (1 CPU + 0.5 GPU + 0.5 CPU for data)"
    told = "1 × (1 CPU on nodes with pool=train + 0.5 CPU for data on nodes with pool=data)"
    assert needs(recipe(on="train", reads_on="data"), 1) == told
    free, total = [{"CPU": 1.25}, {"GPU": 1.0}], [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}]
    assert there_is(free, total) == "1.25 of 16 CPU and 1 of 4 GPU are free, 1.25 CPU on one node"


def test_a_wait_is_said_soon_and_then_once_a_minute() -> None:
    """A single look may fall between a place that is taken and the workers that take it."""
    said: list[str] = []
    reasons: dict[float, str | None] = {}
    now = 0.0
    watch = RoomWatch(lambda: reasons.get(now, "for room"), said.append)
    reasons[2.0] = None
    heard = []
    for now in (0.0, 2.0, 4.0, 6.0, 8.0, 64.0, 66.0):
        watch.look(now)
        heard.append(len(said))
    assert heard == [0, 0, 0, 1, 1, 1, 2]
