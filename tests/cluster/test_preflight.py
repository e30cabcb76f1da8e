"""Does a run fit? Held against a search that places every bundle by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.cluster.preflight import Needs, check_fits, declared_resources, largest_fit
from au_dist.core.errors import ClusterError

NODES = st.lists(
    st.fixed_dictionaries(
        {"CPU": st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5, 4.0]), "GPU": st.sampled_from([0.0, 1.0, 2.0])},
        optional={"pool=train": st.just(1.0), "pool=data": st.just(1.0)},
    ),
    max_size=3,
)
NEEDS = st.builds(
    Needs,
    workers=st.integers(1, 4),
    cpus_per_worker=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
    gpus_per_worker=st.sampled_from([0.0, 0.5, 1.0]),
    data_cpus=st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5]),
    controllers_cpus=st.sampled_from([0.0, 0.01, 1.0]),
    worker_labels=st.sampled_from([{}, {"pool": "train"}]),
    data_labels=st.sampled_from([{}, {"pool": "data"}]),
)

#: CPUs, GPUs and labels that are asked for.
Bundle = tuple[float, float, frozenset[str]]


def placeable(bundles: list[Bundle], nodes: list[Bundle]) -> bool:
    """Try every node for every bundle."""
    if not bundles:
        return True
    (cpu, gpu, labels), *rest = bundles
    for index, (free_cpu, free_gpu, has) in enumerate(nodes):
        if free_cpu >= cpu - 1e-9 and free_gpu >= gpu - 1e-9 and labels <= has:
            after = [*nodes]
            after[index] = (free_cpu - cpu, free_gpu - gpu, has)
            if placeable(rest, after):
                return True
    return False


def bundles_of(needs: Needs, workers: int) -> list[Bundle]:
    work, read = (
        frozenset(f"{key}={value}" for key, value in one.items()) for one in (needs.worker_labels, needs.data_labels)
    )
    data = {0.0: [], 0.5: [0.5], 1.0: [1.0], 2.0: [1.0, 1.0], 2.5: [2.5 / 3] * 3}[needs.data_cpus]
    return [
        *[(needs.controllers_cpus, 0.0, frozenset[str]())] * (needs.controllers_cpus > 0),
        *[(needs.cpus_per_worker, needs.gpus_per_worker, work)] * workers,
        *[(cpu, 0.0, read) for cpu in data],
    ]


@given(needs=NEEDS, nodes=NODES)
def test_largest_fit_is_what_trying_every_place_finds(needs: Needs, nodes: list[dict[str, float]]) -> None:
    plain = [(node["CPU"], node["GPU"], frozenset(node) - {"CPU", "GPU"}) for node in nodes]
    tried = [workers for workers in range(needs.workers + 1) if placeable(bundles_of(needs, workers), plain)]
    assert largest_fit(needs, nodes) == max(tried, default=-1)


@given(needs=NEEDS, nodes=NODES, more=st.sampled_from([1.0, 8.0]))
def test_another_node_never_hurts(needs: Needs, nodes: list[dict[str, float]], more: float) -> None:
    assert largest_fit(needs, [*nodes, {"CPU": more}]) >= largest_fit(needs, nodes)


@given(needs=NEEDS, nodes=NODES)
def test_it_raises_exactly_when_too_few_fit(needs: Needs, nodes: list[dict[str, float]]) -> None:
    if largest_fit(needs, nodes) == needs.workers:
        check_fits(needs, nodes)
    else:
        with pytest.raises(ClusterError):
            check_fits(needs, nodes)


def test_the_paragraph_has_the_arithmetic_and_the_way_out() -> None:
    needs = Needs(workers=4, cpus_per_worker=2, gpus_per_worker=1, data_cpus=2, controllers_cpus=0.01)
    with pytest.raises(ClusterError) as caught:
        check_fits(needs, [{"CPU": 4, "GPU": 1, "memory": 5e9}] * 2)
    text = str(caught.value)
    assert "4 workers x (2 CPU + 1 GPU) + 2 CPU for data + 0.01 CPU for controllers = 10.01 CPU and 4 GPU" in text
    assert "2 nodes: 2 x (4 CPU, 1 GPU), 8 CPU and 2 GPU in all" in text
    assert "At most 2 workers would fit" in text
    assert "\n" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("needs", "nodes", "words"),
    [
        # 16 CPUs in all, but no node has the 8 that one worker needs.
        (Needs(workers=2, cpus_per_worker=8), [{"CPU": 4}] * 4, "no single node has what one needs"),
        # The deadlock of two workers on a Ray of two CPUs, of which reading gets nothing.
        (Needs(workers=2, data_cpus=1), [{"CPU": 2}], "At most 1 worker would fit"),
        (Needs(workers=1, data_cpus=2), [{"CPU": 2}], "beside the CPUs for data"),
        (Needs(workers=1), [], "Found no node at all"),
    ],
)
def test_it_says_what_is_short(needs: Needs, nodes: list[dict[str, float]], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        check_fits(needs, nodes)


def test_hundreds_of_gpus_are_counted_at_once() -> None:
    needs = Needs(workers=800, cpus_per_worker=8, gpus_per_worker=1, data_cpus=64, controllers_cpus=1)
    assert largest_fit(needs, [{"CPU": 96, "GPU": 8}] * 100) == 800


def test_an_autoscaled_cluster_is_counted_at_its_full_size(tmp_path: Path) -> None:
    path = tmp_path / "ray.yaml"
    path.write_text(
        "max_workers: 3\nhead_node_type: h\navailable_node_types:\n"
        "  h: {resources: {CPU: 1}}\n  g: {max_workers: 2, resources: {CPU: 8, GPU: 1}}\n"
        "  c: {max_workers: 2, resources: {CPU: 4}}\n"
    )
    assert declared_resources(path) == [{"CPU": 1}, {"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 1}, {"CPU": 4}]


@pytest.mark.parametrize("text", ["a: [", "- 1", "head_node_type: x\navailable_node_types: {}", ""])
def test_a_file_without_resources_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ray.yaml"
    path.write_text(text)
    with pytest.raises(ClusterError, match=r"ray\.yaml"):
        declared_resources(path)
