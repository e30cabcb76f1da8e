"""The name of a run in storage: taken by its recipe, and free again where the run never began."""

from collections.abc import Iterator
from contextlib import contextmanager

from au_dist.config.paths import differences
from au_dist.core.errors import AuDistError, RecipeError
from au_dist.recipes.files import dump_recipe, stored_recipe
from au_dist.runs.context import Context
from au_dist.runs.leases import LEASE, check_lease, new_word
from au_dist.storage.store import Store
from au_dist.train import checkpoint
from au_dist.train.record import METRICS

RECIPE = "recipe.yaml"

#: Ray Train's own folder; nothing reads it.
FOLDER = "ray"

#: What a run writes before its first checkpoint is whole.
WRITTEN = (LEASE, RECIPE, METRICS, FOLDER, "ledger", "tensorboard", "checkpoints")


@contextmanager
def claimed(context: Context) -> Iterator[str]:
    """Take the name of a run for a block; one that did not begin in it, whatever ended the block, leaves nothing.

    The run's recipe is written, or the one that is there must mean the same.

    Yields:
        The word by which the block is to acquire the run's lease.

    Raises:
        RecipeError: A run of this name exists with another recipe or on other shards.
    """
    run, word = context.run, new_word()
    # What is there is not of this command alone, and stays.
    fresh = not run.list()
    try:
        if not run.create(RECIPE, f"{_shards(context)}\n{dump_recipe(context.recipe)}".encode()):
            fresh = False
            _check_same(context)
        yield word
    except BaseException:
        if fresh:
            withdraw(run, word)
        raise


def _shards(context: Context) -> str:
    return f"# shards {context.manifest.sha256}"


def _check_same(context: Context) -> None:
    recipe, run = context.recipe, context.run
    there = run.read(RECIPE).decode()
    before = stored_recipe(there)
    changed = sorted(differences(before.science(), recipe.science()))
    if _shards(context) not in there:
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
        lease: The word of the command that started it; nothing happens where another command holds the lease.
    """
    try:
        if run.exists(LEASE):
            check_lease(run, lease)
        if not _has_begun(run):
            for path in WRITTEN:
                run.delete(path)
            run.remove_if_empty()
    except AuDistError:
        return  # what ended the run is to be told


def _has_begun(run: Store) -> bool:
    return bool(checkpoint.steps(run)) or (run.exists(METRICS) and bool(run.read(METRICS)))
