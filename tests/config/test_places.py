"""Variables and `~` in addresses of recipes and campaigns are what they stand for, or an error that names them."""

from pathlib import Path

import pytest
import yaml

from au_dist.config.places import expand
from au_dist.core.errors import RecipeError
from au_dist.recipes.files import absolute, dump_recipe, load_recipe, recipe_file, stored_recipe
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.campaign import load_campaign


@pytest.fixture(autouse=True)
def variables(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("BUCKET", "faces")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NOWHERE", raising=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("$SCRATCH/set", "/scratch/me/set"),
        ("${SCRATCH}2/set", "/scratch/me2/set"),
        ("s3://$BUCKET/${BUCKET}", "s3://faces/faces"),
        ("~/set", "/home/me/set"),
        ("~", "/home/me"),
        ("~/$BUCKET", "/home/me/faces"),
        ("a/~/b~", "a/~/b~"),
        ("cost$$/x", "cost$/x"),
        ("$$SCRATCH", "$SCRATCH"),
        ("plain/set", "plain/set"),
    ],
)
def test_an_address_is_what_it_stands_for(address, expected):
    assert expand(address, "x") == expected


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("$NOWHERE/set", "variable NOWHERE is not set"),
        ("${NOWHERE}/set", "variable NOWHERE is not set"),
        ("$SCRATCHY/set", "variable SCRATCHY is not set"),
        ("$EMPTY/set", "variable EMPTY is empty"),
        ("a$/set", "begins no variable"),
        ("${/set", "begins no variable"),
        ("${a-b}/set", "begins no variable"),
        ("~nobody-of-this-name/set", "no such home"),
    ],
)
def test_what_stands_for_nothing_is_named(address, message):
    with pytest.raises(RecipeError, match=message) as error:
        expand(address, "recipe.yaml, shards")
    assert "recipe.yaml, shards" in str(error.value)
    assert address in str(error.value)


def write(path: Path, **keys) -> Path:
    raw = {"name": "x", "shards": "$SCRATCH/set", "runs": "~/runs", "task": "detection", **keys}
    path.write_text(yaml.safe_dump(raw))
    return path


def test_a_stored_recipe_has_the_addresses(tmp_path, monkeypatch):
    path = write(tmp_path / "r.yaml", init={"run": "${SCRATCH}/before"}, model={"weights": "~/w.safetensors"})
    recipe = absolute(load_recipe(path, ["runs=s3://$BUCKET/runs"]))
    monkeypatch.delenv("SCRATCH")
    again = stored_recipe(dump_recipe(recipe))
    assert (again.shards, again.runs) == ("/scratch/me/set", "s3://faces/runs")
    assert again.init.run == "/scratch/me/before"
    assert again.model.weights == "/home/me/w.safetensors"
    with pytest.raises(RecipeError, match="SCRATCH is not set"):
        load_recipe(path)


def test_a_recipe_goes_to_another_machine_as_it_is(tmp_path):
    recipe = load_recipe(write(tmp_path / "r.yaml", shards="/a$$b/set", init={"run": "/c$$d/run"}))
    assert recipe.shards == "/a$b/set"
    there = tmp_path / "there.yaml"
    there.write_text(recipe_file(recipe))
    assert load_recipe(there) == recipe
    assert stored_recipe(dump_recipe(recipe)) == recipe
    plain = Recipe.model_validate({"name": "x", "shards": "s", "runs": "r", "task": "detection"})
    there.write_text(recipe_file(plain))
    assert load_recipe(there) == plain


def test_campaigns_too(tmp_path, monkeypatch):
    monkeypatch.setenv("RECIPES", str(tmp_path))
    write(tmp_path / "r.yaml", model={"weights": "~/w.safetensors"})
    path = tmp_path / "c.yaml"
    space = {"optim.lr": {"log": [1e-4, 1e-2]}}
    raw = {"name": "c", "campaigns": "$SCRATCH/campaigns", "recipe": "${RECIPES}/r.yaml", "space": space}
    path.write_text(yaml.safe_dump(raw))
    campaign = load_campaign(path)
    assert campaign.place.uri == "/scratch/me/campaigns/c"
    assert campaign.base().shards == "/scratch/me/set"
    assert campaign.base().model.weights == "/home/me/w.safetensors"
    with pytest.raises(RecipeError, match="NOWHERE is not set"):
        load_campaign(path, ["campaigns=$NOWHERE"])
