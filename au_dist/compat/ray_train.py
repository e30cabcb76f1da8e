"""What has no public door in Ray Train; every private name is in `au_dist.compat.names`."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.train import ScalingConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError, WorkerHealthCheckTimeoutError
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, NoopDecision, ResizeDecision
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from au_dist.compat.ray import COMING_S, draining, nodes_with
from au_dist.core.errors import NoRoomError

#: Seconds between looks for a newer checkpoint while a change of size waits for one.
LOOK_S = 1.0


def is_unresponsive(error: BaseException) -> bool:
    """Return whether a failure of a worker is that it does not answer any more."""
    return isinstance(error, WorkerHealthCheckTimeoutError)


def is_want_of_room(error: BaseException) -> bool:
    """Return whether a failure of a run is that its workers were not placed in time."""
    return isinstance(error, WorkerGroupStartupTimeoutError)


class SteppedPolicy(ElasticScalingPolicy):
    """Ray Train's elastic policy, but for four things.

    Only some sizes are taken. Nodes that drain, or lack the workers' labels, are no room. A group that runs changes its
    size when a checkpoint has just been stored, so that next to nothing is done again. Too little room for the smallest
    group is not waited for without end.

    Args:
        scaling: The smallest and the largest group.
        sizes: The numbers of workers that a group may have, rising.
        timeout_s: Seconds to wait for room.
        newest: Returns the step of the newest checkpoint; None while the store does not say.
        coming: Returns how many nodes are being started: their time is not what `timeout_s` is about.
    """

    def __init__(
        self,
        scaling: ScalingConfig,
        sizes: Sequence[int],
        timeout_s: float,
        newest: Callable[[], int | None],
        coming: Callable[[], int],
    ) -> None:
        super().__init__(scaling)
        self._sizes, self._timeout_s, self._newest, self._coming = sizes, timeout_s, newest, coming
        self._short_since: float | None = None
        self._began_short = 0.0
        self._room = 0
        self._before: int | None = None
        self._looked = 0.0
        self._each = dict(scaling.resources_per_worker or {})
        self._labels = scaling.label_selector if isinstance(scaling.label_selector, dict) else {}

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        may = set(reserved_resources) - draining()
        if labels := self._labels:
            may &= nodes_with(labels)
        staying = {node: amounts for node, amounts in reserved_resources.items() if node in may}
        self._room = super()._count_possible_workers(staying)
        return max((size for size in self._sizes if size <= self._room), default=0)

    def make_decision_for_non_running_worker_group(self) -> Any:
        """Called while no workers run.

        Raises:
            NoRoomError: There has been too little room for too long.
        """
        decision = super().make_decision_for_non_running_worker_group()
        if isinstance(decision, ResizeDecision):
            self._short_since = None
            return decision
        now = time.monotonic()
        if self._short_since is None:
            self._short_since = self._began_short = now
        elif now - self._began_short < COMING_S and self._coming():
            self._short_since = now
        if now - self._short_since < self._timeout_s:
            return decision
        each = ", ".join(f"{amount:g} {name}" for name, amount in self._each.items())
        raise NoRoomError(
            "The cluster has no room for the workers",
            where=f"for {self._timeout_s:g} s (workers.start_timeout_s)",
            expected=f"room for {self._sizes[0]} workers of {each}",
            found=f"room for {self._room}",
            fix="Add nodes, or ask for fewer or smaller workers; the same command goes on.",
        )

    def make_decision_for_running_worker_group(self, worker_group_state: Any, worker_group_status: Any) -> Any:
        """Called again and again while workers run."""
        if self._before is not None:
            if time.monotonic() - self._looked < LOOK_S:
                return NoopDecision()
            self._looked = time.monotonic()
            if self._newest() in (None, self._before):
                return NoopDecision()
            # What there was room for then may be gone: decided anew.
            self._before, self._latest_monitor_time = None, float("-inf")
            return super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        if isinstance(decision, ResizeDecision):
            self._before = self._newest()
            return NoopDecision()
        return decision


class RankTrainer(DataParallelTrainer):
    """Ray Train's trainer, for ranks that make their own datasets, with a scaling policy of our own where one is given.

    Args:
        *args: As `DataParallelTrainer`.
        policy: The policy; Ray Train's own when None.
        **kwargs: As `DataParallelTrainer`.
    """

    def __init__(self, *args: Any, policy: SteppedPolicy | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._policy = policy

    def _create_default_callbacks(self) -> list[Any]:
        # It would start a process for datasets, also where there are none.
        return [one for one in super()._create_default_callbacks() if not isinstance(one, DatasetsCallback)]

    def _initialize_and_run_controller(self, **controller_init_kwargs: Any) -> Any:
        own = {"scaling_policy": self._policy} if self._policy else {}
        return super()._initialize_and_run_controller(**{**controller_init_kwargs, **own})
