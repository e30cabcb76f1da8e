"""Score a checkpoint again on its validation subjects, from nothing but its own files and its shards."""

from typing import Any

import torch

from au_dist.core.errors import CheckpointError
from au_dist.dist.world import World
from au_dist.methods.base import Judgement
from au_dist.runs.assembly import judge_of, make_module
from au_dist.runs.context import make_context
from au_dist.storage.store import Store
from au_dist.train import checkpoint


def rescore(place: Store) -> dict[str, Any]:
    """Compute a checkpoint's validation metrics anew; as `judge_again`.

    Returns:
        ``val_f1``, ``val_auc`` and ``thresholds``, as its training run computed them.
    """
    return judge_again(place).metrics


def judge_again(place: Store) -> Judgement:
    """Judge a checkpoint by its validation subjects anew, in this process; on its GPU where the run had one.

    Args:
        place: The checkpoint's own folder.

    Raises:
        CheckpointError: The checkpoint is incomplete, damaged, of other shards than its recipe names now, or its run
            had no validation subjects.
        ShardError: The shards are missing or damaged.
        StorageError: The store fails.
    """
    state = checkpoint.state(place)
    context = make_context(state.run_recipe)
    if context.manifest.sha256 != state.manifest:
        raise CheckpointError(
            "The shards are not the ones that this checkpoint was validated on",
            where=place.uri,
            expected=f"manifest {state.manifest[:12]}",
            found=f"manifest {context.manifest.sha256[:12]} at {context.store.uri}",
        )
    if not context.split.validation:
        raise CheckpointError("Its run had no validation subjects", where=place.uri)
    gpu = state.run_recipe.workers.gpus and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    world = World(0, 1, device)
    module = make_module(context, world, fresh=False)
    module.load_state_dict(checkpoint.tensors(place, checkpoint.WEIGHTS))
    module.eval().to(device)
    return judge_of(context, module, world)()
