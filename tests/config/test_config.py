"""Recipes: what is refused and how it is said; the surface is frozen in a golden file."""

import inspect
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from au_dist.cli.sections import attributes_of
from au_dist.config.files import override, parse
from au_dist.core.errors import RecipeError
from au_dist.recipes.files import dump_recipe, load_recipe
from au_dist.recipes.recipe import Recipe

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
MINIMAL = {"name": "a", "shards": "s", "runs": "r", "method": "aunce"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_parse(path):
    recipe = load_recipe(path)
    assert Recipe.model_validate(yaml.safe_load(dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aunce": {"temprature": 1}}, r"Unknown key `aunce.temprature`.*Did you mean `temperature`\?"),
        ({"optimm": {}}, r"Unknown key `optimm`.*Did you mean `optim`\?"),
        ({"data": {"protocol": {"zzz": 1}}}, r"Unknown key `data.protocol.zzz`.*Known keys here: kind, folds"),
        ({"aunce": {"temperature": -1}}, r"`aunce.temperature` does not fit.*greater than 0.*Found -1"),
        ({"task": "detection"}, "exactly one of"),
        ({"data": {"protocol": {"fold": 3}}}, "fold 3 does not exist"),
        ({"method": "predictive", "data": {"labels": {"share": 0.5}}}, "looks at no labels"),
        ({"method": None, "task": "intensity"}, "reads frames in a row"),
        ({"checkpoint": {"metric": "val_icc"}}, "aunce has val_auc, val_f1"),
        ({"predictive": {"blocks": 3}}, "steps must be less than blocks"),
        ({"name": "../x"}, "`name` does not fit"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(RecipeError, match=message) as caught:
        parse(Recipe, {**MINIMAL, **change}, "recipe.yaml")
    assert "recipe.yaml" in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(RecipeError, match="`shards` is missing"):
        parse(Recipe, {"name": "a", "runs": "r", "method": "aunce"}, "recipe.yaml")


def test_overrides_replace_single_values():
    raw = override(MINIMAL, ["optim.lr=0.5", "aunce.positive_weights=[1,0,0,0]", "init=null"])
    recipe = parse(Recipe, raw, "x")
    assert recipe.optim.lr == 0.5
    assert recipe.aunce.positive_weights == (1, 0, 0, 0)
    assert "optim" not in MINIMAL


@pytest.mark.parametrize("assignment", ["optim.lr", "=1", "Optim.lr=1", "name.x=1"])
def test_malformed_overrides_are_refused(assignment):
    with pytest.raises(RecipeError):
        override(MINIMAL, [assignment])


def test_names_and_machines_do_not_change_the_science():
    recipe = parse(Recipe, MINIMAL, "x")
    tracked = {"to": "mlflow", "experiment": "mine"}
    other = parse(Recipe, {**MINIMAL, "name": "b", "runs": "z", "tracking": tracked}, "x")
    assert other.hash() == recipe.hash()
    assert parse(Recipe, {**MINIMAL, "seed": 1}, "x").hash() != recipe.hash()


def page_of(model: type[BaseModel], path: str = "") -> str:
    """Return a table of a section's keys, from their declarations, and those of the sections in it."""
    title, meanings = inspect.getdoc(model).partition("\n\nAttributes:\n")[0], attributes_of(model)
    rows, sections = [], []
    for name, field in model.model_fields.items():
        kinds = [kind for kind in get_args(field.annotation) or [field.annotation] if kind is not type(None)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        sections += [page_of(kind, f"{path}{name}.") for kind in inner]
        if inner and field.default is not None:
            continue
        choices = get_args(kinds[0]) if len(kinds) == 1 else kinds
        choices = [f"`{choice}`" for choice in choices if isinstance(choice, str | int)]
        meaning = (field.description or meanings[name]) + (f" One of {', '.join(choices)}." if choices else "")
        default = "required" if field.is_required() else f"`{yaml_of(field.default)}`"
        rows.append(f"| `{path}{name}` | {default} | {meaning.replace('``', '`')} |")
    title = f"\n## `{path[:-1]}`\n\n{title}\n" if path else ""
    return "\n".join([title, "| key | default | |", "|---|---|---|", *rows, *sections])


def yaml_of(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True).removesuffix("...\n").strip()


def test_the_page_of_recipes_says_what_there_is(golden):
    """docs/recipes.md is made from the declarations: pytest --update-golden writes it."""
    head = (
        "# The keys of a recipe\n\nA recipe is a YAML file; `key=value` on the command line replaces single values, "
        "`data.size=112`. Examples:\n[examples/](../examples/). Made from the code by its tests.\n"
    )
    golden("../../docs/recipes.md", head + page_of(Recipe) + "\n")


def test_the_surface_is_frozen(golden):
    """A changed default changes everybody's results: it must be seen in a diff."""

    def lines(model: type[BaseModel], path: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found += lines(field.annotation, f"{path}{name}.")
            else:
                found.append(f"{path}{name} = {'(required)' if field.is_required() else field.default!r}")
        return found

    golden("recipe.txt", "\n".join(lines(Recipe)) + "\n")
