"""Which run a group of workers trains now, and whether another comes: what its workers ask between two of them."""

import time
from collections.abc import Callable
from typing import Any


class RunQueue:
    """Runs for one group of workers, one after the other.

    Args:
        idle_s: Seconds that workers without a run wait for another one before they go.
        clock: Seconds.
    """

    def __init__(self, idle_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s, self._clock = idle_s, clock
        self._number, self._job, self._starts = 0, None, 0
        self._ready: set[int] = set()
        self._since, self._closed = clock(), False

    def give(self, job: Any) -> int | None:
        """Have the workers do a job; return its number, or None where they go."""
        if self._closed:
            return None
        self._number, self._job, self._starts = self._number + 1, job, 0
        return self._number

    def take(self, done: int) -> tuple[int, Any] | bool:
        """Return what a worker does next: a job with its number, nothing yet (True), or nothing any more (False).

        Args:
            done: The number of the last job that this worker's process has done; a new process has done none.
        """
        if self._job is not None and self._number > done:
            return self._number, self._job
        if self._job is None and self._clock() - self._since >= self._idle_s:
            self._closed = True
        # Workers of a single job need not wait for each other.
        return not (self._closed or (self._idle_s == 0 and done))

    def start(self) -> None:
        """Note that workers begin the job, or begin it again."""
        self._starts += 1
        self._ready.clear()

    def finish(self, rank: int, size: int) -> None:
        """Note that a rank, of so many, has done the job; after a failure the workers go when all have."""
        self._ready.add(rank)
        if len(self._ready) == size:
            self._job, self._since = None, self._clock()
            self._closed |= self._starts > 1

    def is_done(self) -> bool:
        """Return whether there is no job, or none any more."""
        return self._job is None

    def is_open(self) -> bool:
        """Return whether workers without a run wait for another one."""
        return self._job is None and not self._closed

    def close(self) -> None:
        """Let the workers go when they have done their job."""
        self._closed = True
