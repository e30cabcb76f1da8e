"""The name of a run in storage: taken by its recipe, and free again where the run never began."""

from au_dist.config.paths import differences
from au_dist.core.errors import AuDistError, RecipeError
from au_dist.recipes.files import dump_recipe, stored_recipe
from au_dist.runs.context import Context
from au_dist.runs.leases import LEASE, check_lease
from au_dist.storage.store import Store
from au_dist.train import checkpoint
from au_dist.train.record import METRICS

RECIPE = "recipe.yaml"

#: Ray Train's own folder; nothing reads it.
FOLDER = "ray"

#: What a run writes before its first checkpoint is whole.
WRITTEN = (LEASE, RECIPE, METRICS, FOLDER, "ledger", "tensorboard", "checkpoints")


def claim(context: Context) -> None:
    """Write the run's recipe, or check that the one that is there means the same.

    Raises:
        RecipeError: A run of this name exists with another recipe or on other shards.
    """
    recipe, run = context.recipe, context.run
    text = f"# shards {context.manifest.sha256}\n{dump_recipe(recipe)}"
    if run.create(RECIPE, text.encode()):
        return
    there = run.read(RECIPE).decode()
    before = stored_recipe(there)
    changed = sorted(differences(before.science(), recipe.science()))
    if f"# shards {context.manifest.sha256}" not in there:
        changed.append("the shards themselves (another manifest hash)")
    if changed:
        raise RecipeError(
            "A run of this name exists with another recipe",
            where=run.uri,
            found=f"changed: {'; '.join(changed)}",
            fix="Give this run another name, or undo the change to resume that one."
            + ("" if _has_begun(run) else " That one has stored nothing yet: its folder may be deleted."),
        )


def withdraw(run: Store, lease: str) -> None:
    """Remove what a run has written that never began: no step is recorded and no checkpoint stored. Its name is free.

    Args:
        run: The run's place.
        lease: The word of the command that started it; nothing happens where another command has taken it over.
    """
    try:
        check_lease(run, lease)
        if not _has_begun(run):
            for path in WRITTEN:
                run.delete(path)
            run.remove_if_empty()
    except AuDistError:
        return  # what ended the run is to be told


def _has_begun(run: Store) -> bool:
    return bool(checkpoint.steps(run)) or (run.exists(METRICS) and bool(run.read(METRICS)))
