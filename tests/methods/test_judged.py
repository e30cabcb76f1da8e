"""What validation comes to without one of its subjects."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from au_dist.dist.world import World
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import judge_of, make_module, validation_of
from au_dist.runs.context import make_context
from au_dist.storage.store import Store

ALONE = World(0, 1, torch.device("cpu"))

WHO = {"val_identity", "val_identity_chance"}

#: The methods, and what of their metrics belongs to all frames together.
KINDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "aunce": ({"method": "aunce"}, WHO | {"val_rank"}),
    "detection": ({"task": "detection"}, set()),
    "predictive": ({"method": "predictive", "predictive": {"blocks": 4, "frames": 1, "steps": 2}}, WHO),
    "intensity": ({"task": "intensity"}, set()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_subject_is_as_if_they_had_not_been_there(kind: str, shards: Store) -> None:
    job, whole = KINDS[kind]
    raw = {
        "name": kind,
        "shards": shards.uri,
        "runs": "unused",
        "data": {"size": 32, "lanes": 2} | ({"frames_per_clip": 4} if kind == "intensity" else {}),
        "model": {"embed_dim": 8, "bottleneck_channels": 4, "num_neighbors": 2},
        "batch": {"clips": 4},
        **job,
    }
    context = make_context(Recipe.model_validate(raw))
    one, two, *train = (*context.split.validation, *context.split.train)
    context = replace(context, split=replace(context.split, validation=tuple(sorted((one, two))), train=tuple(train)))
    module = make_module(context, ALONE)
    judged = judge_of(context, module, ALONE)()
    torch.testing.assert_close(judged.metrics, dict(validation_of(context, module, ALONE)()), equal_nan=True)
    without = judged.without()
    assert set(without) == {one, two}
    for name, other in ((one, two), (two, one)):
        alone = replace(context, split=replace(context.split, validation=(other,)))
        expected = validation_of(alone, module, ALONE)()
        assert set(expected) - set(without[name]) == whole
        expected = {key: expected[key] for key in without[name]}
        torch.testing.assert_close(without[name], expected, equal_nan=True, rtol=0, atol=1e-5)
        assert 0 < (judged.subject_N == other).sum() < len(judged.subject_N)
