"""What a run makes of the rates of its action units, by hand from a manifest; only training subjects are counted."""

import pytest
import torch

from au_dist.data.splits import Split
from au_dist.dist.world import World
from au_dist.methods.learners.aunce import AunceTask
from au_dist.methods.learners.detection import DetectionTask
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import make_module
from au_dist.runs.context import Context
from au_dist.shards.format import Manifest, SubjectCounts
from au_dist.storage.store import Store

AUS = (1, 2, 4, 6, 7, 12)


def subject(labelled: tuple[int, ...], positive: tuple[int, ...]) -> SubjectCounts:
    return SubjectCounts(corpus="c", clips=1, frames=100, labelled=labelled, positive=positive)


def context(aus: tuple[int, ...] = AUS, **job) -> Context:
    """Two training subjects, whose rates are 1/4, 3/4, 1/200, 0, unknown and 1/2; all others have other ones."""
    other = subject((100,) * 6, (90, 10, 90, 50, 50, 90))
    subjects = {
        "c/a": subject((100, 100, 100, 100, 0, 100), (50, 90, 0, 0, 0, 30)),
        "c/b": subject((100, 100, 100, 100, 0, 100), (0, 60, 1, 0, 0, 70)),
        "c/v": other,
        "c/t": other,
    }
    manifest = Manifest(
        aus=AUS, clip_frames=1, crop={}, crop_hash="", clips=4, frames=400, subjects=subjects, shards=(), source={}
    )
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "shards": "s",
            "runs": "r",
            "data": {"size": 16},
            "model": {"embed_dim": 4, "bottleneck_channels": 2, "num_neighbors": 0},
            **job,
        }
    )
    columns = [AUS.index(au) for au in aus]
    return Context(recipe, Store("r/x"), Store("s"), manifest, Split(("c/a", "c/b"), ("c/v",), ("c/t",)), aus, columns)


def made(**job) -> torch.nn.Module:
    return make_module(context(**job), World(0, 1, torch.device("cpu")))


def test_positive_frames_weigh_as_much_as_there_are_negative_ones_for_each():
    module = made(task="detection")
    assert isinstance(module, DetectionTask)
    # 3 : 1, 1 : 3, capped at 10, none that could weigh, none known, 1 : 1.
    assert module.weight_A.tolist() == pytest.approx([3, 1 / 3, 10, 1, 1, 1])


def test_weights_are_those_of_the_action_units_that_are_trained():
    assert made(task="detection", aus=(4, 1)).weight_A.tolist() == pytest.approx([10, 3])


def test_without_balance_all_frames_weigh_the_same():
    assert made(task="detection", detection={"balance": False}).weight_A.tolist() == [1] * 6


def test_the_minority_is_the_rarer_label():
    module = made(method="aunce")
    assert isinstance(module, AunceTask)
    # Only the second action unit is present more often than not.
    joint = made(task="detection", detection={"train": "all", "aunce": {"weight": 0.2}})
    assert joint.contrast.minority_A.tolist() == module.loss.minority_A.tolist()
    assert (joint.contrast_weight, made(task="detection").contrast) == (0.2, None)
    assert module.loss.minority_A.tolist() == [1, 0, 1, 1, 1, 1]


def test_a_network_belongs_to_its_seed_and_leaves_other_draws_alone():
    torch.manual_seed(7)
    one = made(task="detection").heads.weight_AD
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(one, made(task="detection").heads.weight_AD)
    assert not torch.equal(one, made(task="detection", seed=1).heads.weight_AD)
