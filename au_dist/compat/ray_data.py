"""What has no public door in Ray Data; every private name is in `au_dist.compat.names`."""

import time
from typing import Any

from ray.data._internal.execution.execution_callback import ExecutionCallback


class SchedulerThrottle(ExecutionCallback):
    """Makes Ray Data's scheduler pause after each of its steps.

    While a consumer is slower than the reading, the scheduler asks again and again without waiting whether it may go
    on. It runs in a thread of the training worker: that halves the speed of training (docs/decisions/0005).
    """

    PAUSE_S = 0.02

    def on_execution_step(self, executor: Any) -> None:
        """Called by Ray Data after each step."""
        time.sleep(self.PAUSE_S)
