"""Recipes of before load: keys that had another name are read, and it is said how they are called now."""

import pytest
import yaml

from au_dist.config.paths import leaves
from au_dist.config.renamed import RENAMED, keys_now, path_now
from au_dist.core.errors import RecipeError
from au_dist.recipes.files import dump_recipe, load_recipe, stored_recipe
from au_dist.recipes.recipe import Recipe

MINIMAL = {"name": "a", "shards": "s", "runs": "r", "method": "aunce"}

#: As it was written before the keys were renamed.
BEFORE = MINIMAL | {
    "keep": {"every": 7, "last": 3, "best": 2, "forever": 14, "metric": "val_f1", "ledger": True},
    "optim": {"lr": 0.1, "clip": 0.5},
    "model": {"width": 8, "squeeze": 4, "neighbours": 2},
    "aunce": {"odds": [1, 0, 0, 0]},
    "data": {"mix": 2},
}
NOW = MINIMAL | {
    "checkpoint": {
        "every_steps": 7, "last_k": 3, "top_k": 2, "keep_multiples_of": 14, "metric": "val_f1", "ledger": True
    },
    "optim": {"lr": 0.1, "grad_clip": 0.5},
    "model": {"embed_dim": 8, "bottleneck_channels": 4, "num_neighbors": 2},
    "aunce": {"positive_weights": [1, 0, 0, 0]},
    "data": {"shuffle_row_groups": 2},
}  # fmt: skip


def written(tmp_path, raw):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


def test_a_recipe_of_before_means_the_same(tmp_path):
    notes = []
    assert load_recipe(written(tmp_path, BEFORE), note=notes.append) == load_recipe(written(tmp_path, NOW))
    assert len(notes) == len(RENAMED)
    assert "`keep` is called `checkpoint` now" in notes
    assert "`model.width` is called `model.embed_dim` now" in notes


def test_a_recipe_of_now_needs_no_note(tmp_path):
    notes = []
    recipe = load_recipe(written(tmp_path, NOW), note=notes.append)
    assert notes == []
    assert stored_recipe(dump_recipe(recipe)) == recipe
    assert keys_now(NOW) == (NOW, [])


def test_replacements_on_the_command_line_may_have_the_names_of_before(tmp_path):
    file = written(tmp_path, MINIMAL)
    assert load_recipe(file, ["keep.every=9", "optim.clip=0"]).checkpoint.every_steps == 9


def test_a_value_under_both_names_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"`optim.clip` is called `optim.grad_clip` now, and both are given"):
        load_recipe(written(tmp_path, NOW), ["optim.clip=1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kep": {}}, "Did you mean `checkpoint`"), ({"model": {"widht": 8}}, "Did you mean `embed_dim`")],
)
def test_the_nearest_key_is_found_by_either_name(tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(written(tmp_path, MINIMAL | change))


def test_every_new_name_is_a_key():
    known = {*leaves(Recipe), *Recipe.model_fields}
    assert set(RENAMED.values()) <= known
    assert not {path_now(path) for path in RENAMED} - known
    assert path_now("keep.every") == "checkpoint.every_steps"
