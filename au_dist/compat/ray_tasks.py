"""Work done on Ray: one task where a worker would be, or many of which one whose process dies stops no other."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from au_dist.core.errors import ClusterError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Lost:
    """What is known of a task that gave no answer.

    Attributes:
        why: A sentence for a person.
    """

    why: str


def apart(
    work: Callable[..., Answer],
    resources: tuple[float, float],
    *arguments: Any,
    meanwhile: Callable[[float], None] = lambda waited_s: None,
) -> Answer:
    """Do work where one of a run's workers would be, which may have a GPU; Ray must be connected.

    Args:
        work: A function.
        resources: CPUs and GPUs of a worker.
        *arguments: Its arguments.
        meanwhile: Called every second, with the seconds so far; what it raises ends the wait and the work.

    Raises:
        ClusterError: Its process, or the node of it, was lost.
        Exception: What it raised.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    cpus, gpus = resources
    answer, begun = ray.remote(num_cpus=cpus, num_gpus=gpus)(work).remote(*arguments), time.monotonic()
    try:
        while not ray.wait([answer], timeout=1)[0]:
            meanwhile(time.monotonic() - begun)
        return cast(Answer, ray.get(answer))
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from error
    except RayError as error:
        raise ClusterError(
            "A process on the cluster was lost",
            where=f"a task of {cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else ""),
            found=str(error).partition("\n")[0][:200],
            fix="The same command does what is left.",
        ) from error
    except BaseException:
        ray.cancel(answer)
        raise


def on_ray(
    work: Callable[..., Answer],
    asked: Sequence[tuple[Any, ...]],
    parallel: int,
    done: Callable[[int, Answer | Lost], None],
) -> None:
    """Do work in a task for each that is asked; Ray must be connected.

    Args:
        work: What a task does, one processor core each; begun again once where its process died.
        asked: The arguments of each task; they are begun in this order.
        parallel: How many at a time.
        done: Called with a task's place and its answer, as they come.

    Raises:
        Exception: What `work` or `done` raised, of the first one; tasks that run are cancelled.
    """
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

    task = ray.remote(num_cpus=1, max_retries=1)(work)
    waiting, running = list(reversed(range(len(asked)))), dict[Any, int]()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                place = waiting.pop()
                running[task.remote(*asked[place])] = place
            (ready, *_), _ = ray.wait(list(running))
            place = running.pop(ready)
            answer: Answer | Lost
            try:
                answer = ray.get(ready)
            except RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Exception) else error) from None
            except (WorkerCrashedError, OutOfMemoryError) as error:
                why = "memory ran out" if isinstance(error, OutOfMemoryError) else "it was killed or crashed"
                answer = Lost(f"The process that read it ended twice: {why}.")
            except RayError as error:
                answer = Lost(f"The process that read it, or its node, was lost: {error}")
            done(place, answer)
    except Exception:
        for other in running:
            with suppress(RayError):
                ray.cancel(other)
        raise
