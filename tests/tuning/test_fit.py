"""How many trials fit, held against every way in which their workers could be placed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.config.sections import READING_TASKS
from au_dist.core.errors import ClusterError
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.fit import trials_at_once

NODES = st.lists(
    st.fixed_dictionaries({"CPU": st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, 4.0]), "GPU": st.sampled_from([0.0, 2.0])}),
    max_size=3,
)


def recipe(count: int | tuple[int, int], cpus: float, data: float, gpus: float = 0) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "shards": "s",
            "runs": "r",
            "method": "aunce",
            "workers": {"count": count, "cpus": cpus, "gpus": gpus},
            "data": {"cpus": data, "lanes": 12},
        }
    )


def placements(workers: int, cpus: float, gpus: float, nodes: list[dict[str, float]]) -> list[list[float]]:
    """Return the free CPUs of each node for every way to place some workers."""
    if not nodes:
        return [[]] if workers == 0 else []
    node, rest = nodes[0], nodes[1:]
    most = int(node["CPU"] // cpus)
    if gpus:
        most = min(most, int(node["GPU"] // gpus))
    return [
        [node["CPU"] - here * cpus, *others]
        for here in range(min(most, workers) + 1)
        for others in placements(workers - here, cpus, gpus, rest)
    ]


@given(NODES, st.integers(1, 3), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.25, 0.5, 1.0]), st.booleans())
def test_a_number_fits_exactly_when_no_placement_leaves_reading_without_room(
    nodes: list[dict[str, float]], count: int, cpus: float, data: float, gpu: bool
) -> None:
    gpus = 1.0 if gpu else 0.0

    def fits(trials: int) -> bool:
        ways = placements(trials * count, cpus, gpus, nodes)
        share = trials * count * data
        return bool(ways) and all(max(free) >= data / READING_TASKS and sum(free) >= share for free in ways)

    expected = next((trials for trials in range(5, 0, -1) if fits(trials)), 0)
    asked = recipe(count, cpus, data, gpus)
    if expected:
        assert trials_at_once(asked, nodes, 5) == expected
    else:
        with pytest.raises(ClusterError):
            trials_at_once(asked, nodes, 5)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([{"CPU": 4.0}], 2),
        ([{"CPU": 2.0}], 1),
        ([{"CPU": 2.0}, {"CPU": 2.0}], 2),
        ([{"CPU": 64.0, "memory": 1e9}], 10),
    ],
)
def test_two_half_cpu_workers_with_half_a_cpu_of_data_each(nodes: list[dict[str, float]], expected: int) -> None:
    assert trials_at_once(recipe(2, 0.5, 0.5), nodes, 10) == expected


def test_room_in_pieces_is_no_room_for_a_task() -> None:
    """There are CPUs enough for reading, but on no node those of one task beside a worker."""
    crumbs = [{"CPU": 0.2}] * 3
    with pytest.raises(ClusterError):
        trials_at_once(recipe(1, 1.0, 0.5), [{"CPU": 1.0}, *crumbs], 3)
    assert trials_at_once(recipe(1, 1.0, 0.5), [{"CPU": 1.0}, *crumbs, {"CPU": 0.25}], 3) == 1


def test_not_even_one_says_what_is_asked_and_what_is_there() -> None:
    with pytest.raises(ClusterError) as caught:
        trials_at_once(recipe(4, 2, 0.5), [{"CPU": 4.0}, {"CPU": 4.0}], 3)
    text = str(caught.value)
    assert "4 workers x (2 CPU)" in text
    assert "10 CPU in all" in text
    assert "2 nodes: 4 CPU + 0 GPU, 4 CPU + 0 GPU" in text
    with pytest.raises(ClusterError, match="no node at all"):
        trials_at_once(recipe(1, 1, 0.5), [], 3)


def test_a_span_of_workers_counts_with_the_most_that_share_the_lanes() -> None:
    nodes = [{"CPU": 12.0}]
    assert trials_at_once(recipe((1, 5), 0.5, 0.5), nodes, 10) == trials_at_once(recipe(4, 0.5, 0.5), nodes, 10) == 3
