"""What the driver, Ray Train's controller and the leading worker of a run tell each other, through an actor."""

import threading
import time
from collections.abc import Callable
from typing import Any

import ray

Show = Callable[[dict[str, Any]], None]


class Board:
    """Rows of the record on their way to the driver, where the workers begin, and whether they are to stop.

    Used as an actor, see `pinned`.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.step, self.leaving = 0, False

    def add(self, row: dict[str, Any]) -> bool:
        """Add a row; return whether the workers are to stop."""
        self.rows.append(row)
        return self.leaving

    def take(self) -> list[dict[str, Any]]:
        """Return the rows that were added since the last time."""
        rows, self.rows = self.rows, []
        return rows

    def begin(self, step: int) -> int:
        """Set the step that the workers begin with: that of the checkpoint which they all load."""
        self.step = step
        return step

    def begun(self) -> int:
        """Return the step that the workers begin with."""
        return self.step

    def leave(self) -> None:
        """Ask the workers to store a checkpoint and stop."""
        self.leaving = True


def pinned() -> Any:
    """Return the handle of a new board."""
    return ray.remote(num_cpus=0)(Board).remote()


class Shown:
    """Shows a board's rows while a block runs, and passes on that the run is to stop.

    Args:
        board: The board's handle.
        show: Called with each row, in a thread.
        stop: Set when the run is to stop.
    """

    def __init__(self, board: Any, show: Show, stop: threading.Event) -> None:
        self.board, self.show, self.stop, self.over = board, show, stop, threading.Event()
        self.thread = threading.Thread(target=self._poll, name="progress", daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join(timeout=10)

    def _poll(self) -> None:
        while True:
            last = self.over.is_set()
            try:
                if self.stop.is_set():
                    ray.get(self.board.leave.remote(), timeout=10)
                for row in ray.get(self.board.take.remote(), timeout=10):
                    self.show(row)
            except ray.exceptions.RayError:
                return
            if last:
                return
            time.sleep(0.5)
