"""What is said of a cluster's nodes before a run: from what they answer, and of real ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from au_dist.checks.node_facts import NodeFacts, StoreTrial, last_line, try_store
from au_dist.checks.nodes import CLOCK_AT_MOST_S, CLOCK_S, Survey, check_nodes, findings
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store

VERSIONS = {"Python": "3.11.7", "au-dist": "0.1.0", "torch": "2.9"}
NODE = NodeFacts("host", VERSIONS, 0.5, 100 << 30, 8 << 30, store=StoreTrial(2.0, 0.5))
CARD = "NVIDIA H100, 580.65"


def recipe(gpus: float = 0.0, runs: str = "s3://bucket/runs") -> Recipe:
    raw = {"name": "run", "method": "aunce", "shards": "shards", "runs": runs}
    return Recipe.model_validate({**raw, "workers": {"gpus": gpus}})


def survey(*nodes: NodeFacts, **changes) -> Survey:
    names = [chr(ord("a") + place) for place in range(len(nodes))]
    whole = Survey(
        facts=dict(zip(names, nodes, strict=True)),
        silent={},
        apart_s={name: 0.01 for name in names},
        object_store_bytes={name: float(4 << 30) for name in names},
        cards=frozenset(),
        here=VERSIONS,
    )
    return replace(whole, **changes)


def found(seen: Survey, matter: str, gpus: float = 0.0) -> tuple[bool | None, str]:
    (one,) = [finding for finding in findings(recipe(gpus), seen) if finding.matter == matter]
    return one.good, one.words


def test_all_is_well() -> None:
    assert [(one.matter, one.good) for one in findings(recipe(), survey(NODE, NODE))] == [
        (matter, True) for matter in ("nodes", "versions", "clocks", "disks", "/dev/shm", "store")
    ]
    assert found(survey(NODE, NODE), "store")[1] == (
        "s3://bucket/runs: 4 MiB/s written and 16 MiB/s read by a node, all at once"
    )


@pytest.mark.parametrize("who", ["another node", "this machine"])
def test_another_version_is_named_with_who_has_it(who: str) -> None:
    other = replace(NODE, versions={**VERSIONS, "torch": "2.8"})
    seen = survey(NODE, other) if who == "another node" else survey(other)
    good, words = found(seen, "versions")
    assert good is False
    assert words.startswith("torch 2.9 on this machine")
    assert f"2.8 on {'b' if who == 'another node' else 'a'}." in words


def test_a_node_that_cannot_run_au_dist_is_named_with_its_reason() -> None:
    seen = survey(NODE, silent={"b": "ModuleNotFoundError: No module named 'au_dist'"})
    good, words = found(seen, "nodes")
    assert (good, words.startswith("1 node answers; 1 cannot run a task of au-dist: b: ModuleNot")) == (False, True)
    assert [one.good for one in findings(recipe(), replace(seen, facts={}))] == [False]


@pytest.mark.parametrize(
    ("apart", "good"), [(CLOCK_S, True), (-1.5, None), (CLOCK_AT_MOST_S, None), (-CLOCK_AT_MOST_S - 1, False)]
)
def test_clocks(apart: float, good: bool | None) -> None:
    assert found(survey(NODE, NODE, apart_s={"a": 0.0, "b": apart}), "clocks")[0] is good


@pytest.mark.parametrize(("share", "free", "good"), [(0.06, 20, True), (0.5, 5, None), (0.04, 100, False)])
def test_disks(share: float, free: int, good: bool | None) -> None:
    full = replace(NODE, disk_free=share, disk_free_bytes=free << 30)
    assert found(survey(NODE, full), "disks")[0] is good


def test_shared_memory_holds_the_object_store() -> None:
    good, words = found(survey(NODE, replace(NODE, shm_bytes=64 << 20)), "/dev/shm")
    assert (good, "object store on b" in words) == (None, True)


def test_a_store_that_a_node_cannot_use_is_said_with_its_words() -> None:
    good, words = found(survey(NODE, replace(NODE, store=StoreTrial(error="no keys"))), "store")
    assert good is False
    assert "cannot be used from 1 of 2 nodes: b: no keys." in words


@pytest.mark.parametrize(
    ("cards", "error", "good"),
    [(frozenset("b"), None, True), (frozenset("b"), "driver too old", False), (frozenset(), None, False)],
)
def test_gpus_are_tried_where_the_run_wants_some(cards: frozenset[str], error: str | None, good: bool) -> None:
    seen = survey(NODE, replace(NODE, cards=(CARD,), card_error=error), cards=cards)
    assert found(seen, "GPUs", gpus=1)[0] is good
    assert "GPUs" not in [one.matter for one in findings(recipe(), seen)]


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    open_store(tmp_path).write("mark", b"here")
    trial = try_store(str(tmp_path), "mark")
    assert trial.error is None
    assert min(trial.write_s, trial.read_s) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]
    assert "another folder" in (try_store(str(tmp_path / "other"), "mark").error or "")
    assert not (tmp_path / "other").exists()


def test_the_last_line_of_a_traceback_is_what_went_wrong() -> None:
    assert last_line(["Traceback:", "  File x", "RuntimeError: no driver", ""]) == "RuntimeError: no driver"


@pytest.mark.ray
@pytest.mark.slow
def test_real_nodes_are_asked_and_nothing_is_left(tmp_path: Path, shards: Store, ray_here: None) -> None:
    run = recipe(runs=str(tmp_path / "runs"))
    assert {one.matter: one.good for one in check_nodes(run)} == {
        "nodes": True,
        "versions": True,
        "clocks": True,
        "disks": True,
        "/dev/shm": True,
        "store": True,
    }
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    (store,) = check_nodes(recipe(runs=str(tmp_path / "file" / "runs")))
    assert (store.matter, store.good) == ("store", False)
