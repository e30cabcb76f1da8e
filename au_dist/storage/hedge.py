"""Reads that take far longer than others are asked for a second time; whichever answer comes first is taken."""

import statistics
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

#: A read is late after so many times the median of the last ones, but never before so many seconds.
TIMES, LEAST_S = 4.0, 0.2

#: How many of the last reads are looked at, and how many must be known before any is called late.
RECENT, KNOWN = 64, 8

Made = TypeVar("Made")


class Hedge:
    """Does reads of about the same size, and those that are late twice.

    Args:
        threads: Reads at once.
    """

    def __init__(self, threads: int) -> None:
        # The first and the second reads have threads of their own, so that late ones hold nobody up.
        self.pools = [ThreadPoolExecutor(threads, "read"), ThreadPoolExecutor(threads, "read again")]
        self.seconds: deque[float] = deque(maxlen=RECENT)

    def __call__(self, read: Callable[[], Made]) -> Made:
        """Return what a read returns, which may be called twice at once; its error if both fail."""
        begun = time.monotonic()
        futures: list[Future[Made]] = [self.pools[0].submit(read)]
        done, _ = wait(futures, self._limit())
        if not done:
            futures.append(self.pools[1].submit(read))
            done, waiting = wait(futures, return_when=FIRST_COMPLETED)
            if waiting and all(future.exception() for future in done):
                done, _ = wait(futures)
        for future in futures:
            future.cancel()  # one that still waits for its turn has nobody who wants it any more
        self.seconds.append(time.monotonic() - begun)
        return next((future for future in done if not future.exception()), futures[0]).result()

    def _limit(self) -> float | None:
        if len(self.seconds) < KNOWN:
            return None
        return max(LEAST_S, TIMES * statistics.median(self.seconds))
