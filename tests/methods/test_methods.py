"""A method is a value in a file of its own; whoever adds one edits nothing that asks which method it is."""

import ast
from pathlib import Path
from typing import get_args

import pytest
import torch
from toy import TOY, ToyRecipe

import au_dist.methods
from au_dist.core.errors import RecipeError
from au_dist.data.batches import interleave_lanes, make_batch
from au_dist.data.decode import already
from au_dist.data.order import Block
from au_dist.data.source import plan_reads, read_block
from au_dist.dist.world import World
from au_dist.methods import METHODS, method_of
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import make_module, validation_of
from au_dist.runs.context import make_context

ROOT = Path(__file__).parents[2]
ALONE = World(0, 1, torch.device("cpu"))


def test_a_recipe_knows_every_method_and_its_section():
    for method in METHODS:
        assert method.name in get_args(get_args(Recipe.model_fields[method.key].annotation)[0])
        if method.section is not None:
            assert Recipe.model_fields[method.name].annotation is method.section


def test_who_asks_for_how_many_views():
    places = {"name": "x", "shards": "s", "runs": "r"}
    for asked, views in (
        ({"method": "aunce"}, 2),
        ({"task": "detection"}, 1),
        ({"task": "detection", "detection": {"views": 2}}, 2),
        ({"task": "detection", "detection": {"train": "all", "aunce": {}}}, 2),
        ({"method": "predictive"}, 1),
    ):
        assert Recipe.model_validate({**places, **asked}).views == views
    with pytest.raises(ValueError, match="use train: all"):
        Recipe.model_validate({**places, "task": "detection", "detection": {"aunce": {"temperature": 0.2}}})


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match="aunce, predictive, detection, intensity"):
        method_of("nonsense")


@pytest.fixture
def context(shards, tmp_path, monkeypatch):
    """A recipe of the toy with its data."""
    monkeypatch.setattr(au_dist.methods, "METHODS", (*METHODS, TOY))
    raw = {"name": "toy", "task": "toy", "toy": {"sharpness": 3.0}, "shards": shards.uri, "runs": str(tmp_path)}
    return make_context(ToyRecipe.model_validate({**raw, "data": {"size": 32, "lanes": 2}, "batch": {"clips": 4}}))


def batches(context):
    source = context.source()
    reads = plan_reads(source, (0, 1), 0).tolist()
    tables = (read_block(source, Block(*read[:-2]), *read[-2:]) for read in reads)
    for rows in interleave_lanes(tables, (0, 1), 0, source.take):
        yield make_batch(rows, len(context.aus), already(context.manifest.crop_recipe.size))


def test_a_method_in_one_file_trains_and_is_judged(context):
    module, size = make_module(context, ALONE), context.recipe.data.size
    assert module.sharpness == 3.0
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses = []
    for number, batch in zip(range(2), batches(context), strict=False):
        before = module.colours.weight.detach().clone()
        loss = module(batch.views(size), batch.y_BA, batch.valid_BA, number)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert not torch.equal(module.colours.weight, before)
    assert len(losses) == 2
    metrics = validation_of(context, module, ALONE)()
    assert {"val_auc", "val_f1", "thresholds"} <= set(metrics)


def test_its_sections_are_checked_like_all_others(context, shards, tmp_path):
    raw = {"name": "toy", "task": "toy", "shards": shards.uri, "runs": str(tmp_path)}
    with pytest.raises(ValueError, match="greater than 0"):
        ToyRecipe.model_validate({**raw, "toy": {"sharpness": 0}})
    with pytest.raises(ValueError, match="toy has val_auc, val_f1"):
        ToyRecipe.model_validate({**raw, "checkpoint": {"metric": "val_icc"}})


def test_nobody_outside_asks_which_method_it_is():
    """No comparison with the name of a method, and no isinstance of a task, outside `methods/`."""
    names = {method.name for method in METHODS}
    for path in sorted([*(ROOT / "au_dist").rglob("*.py"), *(ROOT / "tuning").glob("*.py")]):
        if path.is_relative_to(ROOT / "au_dist/methods"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                values = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                assert not names & {value for value in values if isinstance(value, str)}, f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                assert "Task" not in ast.unparse(node.args[1]).replace("RayTaskError", ""), f"{path}:{node.lineno}"


def test_two_views_of_clips_are_not_mirrored_against_each_other():
    places = {"name": "x", "shards": "s", "runs": "r", "method": "predictive", "predictive": {"views": 2}}
    with pytest.raises(ValueError, match=r"set data\.views\.flip to 0"):
        Recipe.model_validate(places)
    assert Recipe.model_validate({**places, "data": {"views": {"flip": 0}}}).views == 2
