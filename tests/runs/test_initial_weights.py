"""A network to start from has never seen a subject that validates or tests."""

from dataclasses import replace

import pytest
import torch

from au_dist.core.errors import CheckpointError
from au_dist.data.splits import Split
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import Context, initial_weights, make_context
from au_dist.runs.host import checkpoint_state
from au_dist.train import checkpoint

TRAINED = Split(("c/a", "c/b"), ("c/c",), ("c/d",))


def recipe(shards, runs, **job) -> Recipe:
    raw = {"name": "x", "shards": shards.uri, "runs": str(runs), "data": {"size": 32, "lanes": 2}, **job}
    return Recipe.model_validate({**raw, "batch": {"clips": 4}, "model": {"embed_dim": 8, "bottleneck_channels": 4}})


@pytest.fixture
def started(shards, tmp_path) -> Context:
    """A probe of a pretraining that saw the training subjects of `TRAINED`."""
    before = make_context(recipe(shards, tmp_path, method="aunce"))
    state = checkpoint_state(replace(before, split=TRAINED), before.plan(1), 1, {})
    tensors = {"network.a": torch.ones(2), "other": torch.zeros(2)}
    checkpoint.write(before.run.parent.at("pretrained"), tensors, {}, state)
    return make_context(recipe(shards, tmp_path, task="detection", init={"run": "pretrained"}))


@pytest.mark.parametrize(
    "split",
    [
        Split(("c/a", "c/c"), ("c/b",), ("c/d",)),
        Split(("c/a", "c/c"), ("c/d",), ("c/b",)),
        Split(("c/c", "c/d"), ("c/a",), ("c/b",)),
    ],
    ids=["validates", "tests", "both"],
)
def test_a_start_from_subjects_that_validate_or_test_here_is_refused(started, split):
    with pytest.raises(CheckpointError, match=r"validate or test here.*e\.g\. c/[ab]"):
        initial_weights(replace(started, split=split))


def test_the_network_is_taken_over_where_nobody_changed_sides(started):
    for split in (TRAINED, Split(("c/a",), ("c/d",), ("c/c",)), Split(("c/a", "c/b"), ("c/c",), ())):
        assert list(initial_weights(replace(started, split=split))) == ["network.a"]


@pytest.mark.parametrize(
    ("change", "match"),
    [({"aus": (1, 2)}, "action units"), ({"model": {"embed_dim": 16, "bottleneck_channels": 4}}, "another model")],
    ids=["action units", "model"],
)
def test_a_start_from_another_network_is_refused(started, change, match):
    if model := change.pop("model", None):
        raw = {**started.recipe.model_dump(mode="json"), "model": model}
        change["recipe"] = Recipe.model_validate(raw)
    with pytest.raises(CheckpointError, match=match):
        initial_weights(replace(started, split=TRAINED, **change))


def test_without_a_network_to_start_from_there_are_no_weights(shards, tmp_path):
    assert initial_weights(make_context(recipe(shards, tmp_path, method="aunce"))) == {}


def test_a_start_from_faces_found_otherwise_is_taken_and_from_faces_cut_otherwise_refused(started):
    def on(**crop):
        manifest = started.manifest.model_copy(update={"crop": {**started.manifest.crop, **crop}})
        return replace(started, manifest=manifest)

    assert list(initial_weights(on(detector="centerface", detect_side=320, half_window=1, max_gap=5)))
    with pytest.raises(CheckpointError, match="another crop recipe"):
        initial_weights(on(eye_distance=0.3))


def test_a_checkpoint_keeps_how_faces_were_found_where_only_the_source_of_an_older_set_says_it(started):
    told = {"kind": "corpus", "detector": "centerface", "detect_side": 320, "half_window": 1, "max_gap": 5}
    manifest = started.manifest.model_copy(update={"source": told})
    state = checkpoint_state(replace(started, manifest=manifest), started.plan(1), 1, {})
    assert state.crop_recipe.finding == {name: told[name] for name in told if name != "kind"}
