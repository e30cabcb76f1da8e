"""Uploads while training goes on: one at a time, so that at most one copy of the weights waits."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class CheckpointUploader:
    """Stores checkpoints in a thread. What fails there is raised by the next call here."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "saving")
        self._job: Future[int] | None = None
        self._stored = 0

    def begin(self, step: int, store: Callable[[], object]) -> float:
        """Begin to store a checkpoint when the one before it is stored.

        Args:
            step: Its step.
            store: Stores it.

        Returns:
            Seconds that this took to wait.
        """
        begun = time.monotonic()
        self.stored(wait=True)
        self._job = self._thread.submit(lambda: (store(), step)[1])
        return time.monotonic() - begun

    def meanwhile(self, work: Callable[[], object]) -> None:
        """Do something else in the thread, unless it is busy."""
        if self._job is None:
            self._job = self._thread.submit(lambda: (work(), 0)[1])

    def stored(self, wait: bool = False) -> int:
        """Return the newest step that is stored, 0 without one.

        Args:
            wait: For what was begun.
        """
        if self._job is not None and (wait or self._job.done()):
            job, self._job = self._job, None
            self._stored = max(self._stored, job.result())
        return self._stored

    def close(self) -> None:
        """Wait for what was begun and end the thread."""
        self.stored(wait=True)
        self._thread.shutdown()
