"""Scoring a checkpoint again from its files alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from campaign_files import RECIPE

from au_dist.core.errors import CheckpointError
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint


def stored(recipe: Recipe) -> tuple[Store, dict[str, Any]]:
    """Write a checkpoint of a network that is not the seed's, with the metrics of the network at hand."""
    import torch

    from au_dist.dist.world import World
    from au_dist.runs.assembly import make_module, validation_of
    from au_dist.runs.context import make_context
    from au_dist.runs.host import checkpoint_state

    context, world = make_context(recipe), World(0, 1, torch.device("cpu"))
    module = make_module(context, world)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    metrics = validation_of(context, module, world)()
    state = checkpoint_state(context, context.plan(1), 1, metrics)
    checkpoint.write(context.run, module.state_dict(), {}, state)
    return context.run.at(checkpoint.folder(1)), metrics


@pytest.mark.parametrize("kind", [{"method": "aunce"}, {"method": None, "task": "detection"}], ids=str)
def test_a_checkpoint_scores_as_its_network_did(tmp_path: Path, shards: Store, kind: dict[str, Any]) -> None:
    from au_dist.runs.rescore import rescore

    raw = {"name": "run", "runs": str(tmp_path), "shards": shards.uri, **RECIPE, **kind}
    place, metrics = stored(Recipe.model_validate(raw))
    again = rescore(place)
    assert 0 < metrics["val_auc"] < 1
    assert again["val_auc"] == pytest.approx(metrics["val_auc"], abs=1e-6)
    assert again["val_f1"] == pytest.approx(metrics["val_f1"], abs=1e-6)

    elsewhere = open_store(tmp_path / "changed")
    state = checkpoint.state(place).model_copy(update={"manifest": "0" * 64})
    checkpoint.write(elsewhere, checkpoint.tensors(place, checkpoint.WEIGHTS), {}, state)
    with pytest.raises(CheckpointError, match="not the ones"):
        rescore(elsewhere.at(checkpoint.folder(1)))
    with pytest.raises(CheckpointError):
        rescore(open_store(tmp_path / "nothing"))
    assert json.loads(place.read(checkpoint.STATE))["metrics"]["val_auc"] == metrics["val_auc"]
