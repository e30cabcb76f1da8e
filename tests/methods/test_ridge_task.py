"""Detection by ridge regression: one step, a frozen network, the numbers of the closed form."""

import numpy as np
import pytest
import torch

from au_dist.core.metrics import average, per_au
from au_dist.dist.engine import StillEngine
from au_dist.dist.world import World
from au_dist.methods.frames import Frames, outputs
from au_dist.methods.learners.detection import RidgeTask
from au_dist.methods.ridge import fit_ridge
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import make_module, read_rows, validation_of
from au_dist.runs.context import initial_weights, make_context
from au_dist.runs.host import checkpoint_state
from au_dist.runs.worker import _engine
from au_dist.train import checkpoint

ALONE = World(0, 1, torch.device("cpu"))


def recipe(shards, runs, **job):
    raw = {
        "name": "x",
        "shards": shards.uri,
        "runs": str(runs),
        "data": {"size": 32, "lanes": 2, "aus": [12, 1, 6]},
        "model": {"embed_dim": 8, "bottleneck_channels": 4, "num_neighbors": 2},
        "batch": {"clips": 4},
        **job,
    }
    return Recipe.model_validate(raw)


@pytest.fixture
def pretrained(shards, tmp_path):
    """A stored network whose statistics are those of some pictures; what its own probe says of it."""
    made = make_context(recipe(shards, tmp_path, name="pretrain", method="aunce"))
    module = make_module(made, ALONE)
    module.network.train()
    for seed in range(3):
        module.network(torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    metrics = validation_of(made, module, ALONE)()
    checkpoint.write(made.run, module.state_dict(), {}, checkpoint_state(made, made.plan(1), 1, metrics))
    return metrics


def task(shards, tmp_path, **detection):
    made = make_context(
        recipe(shards, tmp_path, task="detection", detection={"train": "ridge", **detection}, init={"run": "pretrain"})
    )
    module = make_module(made, ALONE)
    module.load_state_dict(initial_weights(made), strict=False)
    return made, module


def test_it_is_what_the_probe_of_the_pretraining_says(pretrained, shards, tmp_path):
    """Both are fitted on the same frames; this one's estimates are cut at 0 and 1."""
    made, module = task(shards, tmp_path)
    assert isinstance(module, RidgeTask)
    metrics = validation_of(made, module, ALONE)()
    assert metrics["val_auc"] == pytest.approx(pretrained["val_auc"], abs=0.02)
    frames = frames_of(made, made.split.validation)
    score_NA = outputs(module.estimates, frames, 32, 3, ALONE)
    uncut = average(per_au(frames.y_NA, frames.valid_NA, score_NA, np.zeros(3)), "auc")
    assert uncut == pytest.approx(pretrained["val_auc"], abs=1e-3)


def frames_of(made, subjects, per_clip=None):
    rows = read_rows(made.store, made.manifest, subjects, ALONE, None)
    return Frames(rows, made.columns, 12, made.recipe.data.labels, 32, per_clip)


@pytest.mark.parametrize("embeddings", ["own", "all"])
def test_weights_are_those_of_the_closed_form_on_training_subjects(pretrained, shards, tmp_path, embeddings):
    made, module = task(shards, tmp_path, embeddings=embeddings)
    before = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
    metrics = validation_of(made, module, ALONE)()
    train = frames_of(made, made.split.train, 2)
    z_NAD = outputs(module.network, train, 32, 3, ALONE)
    for au in range(3):
        x_ND = z_NAD.reshape(len(z_NAD), -1) if embeddings == "all" else z_NAD[:, au]
        expected = fit_ridge(x_ND, train.y_NA[:, [au]], np.array(train.subjects))
        torch.testing.assert_close(module.weight_FA[:, au], torch.from_numpy(expected.weight_DK[:, 0]).float())
        assert module.strength_A[au] == expected.strength_K[0]
        found_NA = outputs(module.estimates, train, 32, 3, ALONE)
        np.testing.assert_allclose(found_NA[:, au], expected(x_ND)[:, 0], atol=1e-4)
    assert metrics["ridge_strength"] == module.strength_A.median()
    for name, tensor in module.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_nothing_is_trained_by_steps(pretrained, shards, tmp_path):
    made, module = task(shards, tmp_path)
    assert made.plan(1).steps == made.plan(2).steps == 1
    engine = _engine(module, made.recipe, made.plan(1), ALONE)
    assert isinstance(engine, StillEngine)
    views, y_BA = (torch.randn(4, 3, 32, 32),), torch.tensor([[1.0, 0, 1]] * 4)
    before = engine.weights()
    loss = engine.loss(views, y_BA, torch.ones(4, 3, dtype=torch.bool), 0)
    assert float(loss) == pytest.approx(2 / 3)  # nothing is fitted yet: the square of each label
    engine.learn(0.1, loss)
    assert float(engine.no_loss(views, y_BA, torch.ones(4, 3, dtype=torch.bool), 0)) == 0
    for name, tensor in engine.weights().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)
    assert set(before) == set(module.state_dict())
    assert (engine.moments(), engine.left_out, engine.scale) == ({}, True, None)


def test_it_does_not_settle_while_it_is_trained(pretrained, shards, tmp_path):
    _, module = task(shards, tmp_path)
    module.train()
    before = module.network.norm.mean.clone()
    module((torch.randn(4, 3, 32, 32),), torch.zeros(4, 3), torch.ones(4, 3, dtype=torch.bool), 0)
    torch.testing.assert_close(module.network.norm.mean, before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detection": {"train": "ridge"}}, "trained network: give init"),
        ({"detection": {"train": "ridge", "aunce": {}}, "init": {"run": "a"}}, "use train: all"),
        ({"detection": {"embeddings": "all"}}, "is for train: ridge"),
        (
            {"detection": {"train": "ridge"}, "init": {"run": "a"}, "data": {"protocol": {"validation": 0}}},
            "fitted when it is validated",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate({"name": "x", "shards": "s", "runs": "r", "task": "detection", **change})
