"""How many workers a run has: as many as there is room for, of the numbers that share the lanes evenly.

Built on Ray Train's own elasticity, which would take any number (docs/decisions/0008-elastic.md).
"""

import time
from collections.abc import Callable
from typing import Any

from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, NoopDecision, ResizeDecision

from au_dist.core.errors import ClusterError, StorageError
from au_dist.data.order import fitting
from au_dist.runs.context import Context
from au_dist.runs.drain import draining
from au_dist.train import checkpoint

#: Seconds between looks at storage while a change of size waits for a checkpoint.
LOOK_S = 1.0


class Fitting(ElasticScalingPolicy):
    """Ray Train's elastic policy, but for four things.

    Sizes divide the lanes. Nodes that drain are no room. A group that runs changes its size when a checkpoint has just
    been stored, so that next to nothing is done again. Too little room for the smallest group is not waited for without
    end.

    Args:
        scaling_config: The smallest and the largest group.
        lanes: Number of lanes.
        timeout_s: Seconds to wait for room.
        newest: Returns the step of the newest checkpoint.
    """

    def __init__(self, scaling_config: ScalingConfig, lanes: int, timeout_s: float, newest: Callable[[], int]) -> None:
        super().__init__(scaling_config)
        self._lanes, self._timeout_s, self._newest = lanes, timeout_s, newest
        self._short_since: float | None = None
        self._room = 0
        self._before: int | None = None
        self._looked = 0.0

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        gone = draining()
        staying = {node: amounts for node, amounts in reserved_resources.items() if node not in gone}
        self._room = super()._count_possible_workers(staying)
        return max(fitting(0, self._room, self._lanes), default=0)

    def make_decision_for_non_running_worker_group(self) -> Any:
        """Called while no workers run.

        Raises:
            ClusterError: There has been too little room for too long.
        """
        decision = super().make_decision_for_non_running_worker_group()
        if isinstance(decision, ResizeDecision):
            self._short_since = None
            return decision
        now = time.monotonic()
        self._short_since = self._short_since or now
        if now - self._short_since < self._timeout_s:
            return decision
        config = self.scaling_config
        each = ", ".join(f"{amount:g} {name}" for name, amount in config._resources_per_worker_not_none.items())
        sizes = fitting(config.min_workers, config.max_workers, self._lanes)
        raise ClusterError(
            "The cluster has no room for the workers",
            where=f"for {self._timeout_s:g} s (workers.start_timeout_s)",
            expected=f"room for {sizes[0]} workers of {each}",
            found=f"room for {self._room}",
            fix="Add nodes, or ask for fewer or smaller workers; the same command goes on.",
        )

    def make_decision_for_running_worker_group(self, worker_group_state: Any, worker_group_status: Any) -> Any:
        """Called again and again while workers run."""
        if self._before is not None:
            if time.monotonic() - self._looked < LOOK_S:
                return NoopDecision()
            self._looked = time.monotonic()
            if self._stored() in (None, self._before):
                return NoopDecision()
            # What there was room for then may be gone: decided anew.
            self._before, self._latest_monitor_time = None, float("-inf")
            return super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        if isinstance(decision, ResizeDecision):
            self._before = self._stored()
            return NoopDecision()
        return decision

    def _stored(self) -> int | None:
        """Return the step of the newest checkpoint; None while the store does not say: the run goes on without it."""
        try:
            return self._newest()
        except StorageError:
            return None


def lane_policy(context: Context, scaling: ScalingConfig) -> Fitting:
    """Return the policy of a run that may have several numbers of workers."""
    recipe, run = context.recipe, context.run
    return Fitting(
        scaling, recipe.data.lanes, recipe.workers.start_timeout_s, lambda: max(checkpoint.steps(run), default=0)
    )


class LaneTrainer(TorchTrainer):
    """A trainer with another policy of scaling, for which Ray Train has no public door.

    Args:
        *args: As `TorchTrainer`.
        policy: The policy; Ray Train's own when None.
        **kwargs: As `TorchTrainer`.
    """

    def __init__(self, *args: Any, policy: Fitting | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._policy = policy

    def _initialize_and_run_controller(self, **kwargs: Any) -> Any:
        if self._policy is not None:
            kwargs["scaling_policy"] = self._policy
        return super()._initialize_and_run_controller(**kwargs)
