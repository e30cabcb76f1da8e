"""A checkpoint is judged again where a worker would be, and whoever waits for it is told why."""

import threading
from collections.abc import Callable
from typing import TypeVar

from au_dist.compat.ray_tasks import apart
from au_dist.core.errors import ResumeError
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store

#: Seconds after which it is said that judging still waits, or goes on.
PATIENT_S = 60.0

Answer = TypeVar("Answer")


def judged_apart(
    work: Callable[[Store], Answer],
    recipe: Recipe,
    place: Store,
    show: Callable[[str], None],
    stop: threading.Event,
) -> Answer:
    """Return what a function makes of a checkpoint in a task with a worker's CPUs and GPUs; Ray must be connected.

    Args:
        work: The function.
        recipe: Says what a worker has.
        place: The checkpoint.
        show: Called with a line of text when it takes long.
        stop: Set when it is to wait no longer.

    Raises:
        ClusterError: The process was lost.
        ResumeError: It was asked to stop.
        Exception: What the function raised.
    """
    workers, said = recipe.workers, False

    def meanwhile(waited_s: float) -> None:
        nonlocal said
        if stop.is_set():
            raise ResumeError(
                "It was asked to stop",
                where=place.uri,
                found="all runs have ended; this checkpoint is not judged again yet",
                fix="The same command does what is left.",
            )
        if waited_s > PATIENT_S and not said:
            said = True
            gpus = f" and {workers.gpus:g} GPU" if workers.gpus else ""
            show(f"not judged yet: it needs {workers.cpus:g} CPU{gpus}, and the time of a validation")

    return apart(work, (workers.cpus, workers.gpus), place, meanwhile=meanwhile)
