"""How many workers a run has: as many as there is room for, of the numbers that share the lanes evenly.

Built on Ray Train's own elasticity, which would take any number (docs/decisions/0008-elastic.md).
"""

from ray.train import ScalingConfig

from au_dist.compat.ray import coming_nodes
from au_dist.compat.ray_train import SteppedPolicy
from au_dist.core.errors import StorageError
from au_dist.runs.context import Context
from au_dist.train import checkpoint
from au_dist.train.plan import worker_counts


def lane_policy(context: Context, scaling: ScalingConfig) -> SteppedPolicy:
    """Return the policy of a run that may have several numbers of workers."""
    recipe, run = context.recipe, context.run

    def newest() -> int | None:
        try:
            return max(checkpoint.steps(run), default=0)
        except StorageError:
            return None  # the run goes on without the store

    return SteppedPolicy(scaling, worker_counts(recipe), recipe.workers.start_timeout_s, newest, coming_nodes)
