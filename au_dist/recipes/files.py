"""Recipes as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from au_dist.config.files import override, parse, read_yaml
from au_dist.config.places import expand_at
from au_dist.config.renamed import keys_now
from au_dist.config.sections import NO_FILES
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import open_store

#: Keys of a recipe that are addresses.
PLACES = ("shards", "runs", "init.run", "model.weights")


def load_recipe(path: Path, assignments: Sequence[str] = (), note: Callable[[str], None] = lambda text: None) -> Recipe:
    """Return the recipe in a YAML file with overrides applied and its addresses expanded (``$SCRATCH``, ``~``).

    A stored recipe is found again from anywhere: it has the addresses, not the variables.

    Args:
        path: The file.
        assignments: ``key=value`` replacements.
        note: Called with a sentence for each key that has another name now.

    Raises:
        RecipeError: The file or an override does not fit, or a variable of an address is not set.
    """
    raw, notes = keys_now(override(read_yaml(path), assignments))
    for text in notes:
        note(text)
    return parse(Recipe, expand_at(raw, PLACES, path), path)


def stored_recipe(text: bytes | str) -> Recipe:
    """Return the recipe in a run's YAML, whatever its keys were called when it was stored.

    Raises:
        ValidationError: It is of a version that knows more, or less.
    """
    return Recipe.model_validate(keys_now(yaml.safe_load(text))[0])


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML, every value spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def recipe_file(recipe: Recipe) -> str:
    """Return a recipe as a file for another machine, which reads it with `load_recipe`."""
    raw = recipe.model_dump(mode="json")
    for path in PLACES:
        *sections, key = path.split(".")
        place = raw
        for section in sections:
            place = place[section] or {}
        if place.get(key):
            place[key] = place[key].replace("$", "$$")
    return yaml.safe_dump(raw, sort_keys=False)


def absolute(recipe: Recipe) -> Recipe:
    """Return a recipe whose places do not depend on the working directory: workers and jobs have others."""
    places = {"shards": open_store(recipe.shards).uri, "runs": open_store(recipe.runs).uri}
    changed = recipe.model_copy(update=places)
    if recipe.init and "/" in recipe.init.run:
        init = recipe.init.model_copy(update={"run": open_store(recipe.init.run).uri})
        changed = changed.model_copy(update={"init": init})
    if recipe.model.weights not in (None, *NO_FILES):
        model = recipe.model.model_copy(update={"weights": str(Path(recipe.model.weights).absolute())})
        changed = changed.model_copy(update={"model": model})
    return changed
