"""Recipes as files."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from au_dist.config.files import override, parse, read_yaml
from au_dist.config.sections import TORCHVISION
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import open_store


def load_recipe(path: Path, assignments: Sequence[str] = ()) -> Recipe:
    """Return the recipe in a YAML file with overrides applied.

    Raises:
        RecipeError: The file or an override does not fit.
    """
    return parse(Recipe, override(read_yaml(path), assignments), path)


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML, every value spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def absolute(recipe: Recipe) -> Recipe:
    """Return a recipe whose places do not depend on the working directory: workers and jobs have others."""
    places = {"shards": open_store(recipe.shards).uri, "runs": open_store(recipe.runs).uri}
    changed = recipe.model_copy(update=places)
    if recipe.init and "/" in recipe.init.run:
        init = recipe.init.model_copy(update={"run": open_store(recipe.init.run).uri})
        changed = changed.model_copy(update={"init": init})
    if recipe.model.weights not in (None, TORCHVISION):
        model = recipe.model.model_copy(update={"weights": str(Path(recipe.model.weights).absolute())})
        changed = changed.model_copy(update={"model": model})
    return changed
