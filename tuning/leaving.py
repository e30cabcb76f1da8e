"""How trials in other processes learn that their campaign was asked to stop: an actor that all of them ask."""

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: Seconds between two questions.
EVERY_S = 0.5


@ray.remote(num_cpus=0)
class _Asked:
    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True

    def is_asked(self) -> bool:
        return self.asked


@contextmanager
def told(stop: threading.Event) -> Iterator[str]:
    """Tell trials when an event is set, for the length of a block.

    Args:
        stop: The event.

    Yields:
        The name that trials ask for (`asker`).
    """
    name = f"au-dist-campaign-{uuid.uuid4().hex}"
    # On the driver's node: it goes when the driver does.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = _Asked.options(name=name, scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    over = threading.Event()

    def forward() -> None:
        while not over.is_set():
            if stop.wait(EVERY_S):
                actor.ask.remote()
                return

    thread = threading.Thread(target=forward, name="leaving", daemon=True)
    thread.start()
    try:
        yield name
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(Exception):  # Ray may be gone; what ended the block is what counts
            ray.kill(actor)


def asker(name: str | None) -> Callable[[], bool]:
    """Return a function that says whether the campaign was asked to stop; never, without a name or an answer."""
    if name is None:
        return lambda: False
    try:
        actor: Any = ray.get_actor(name)
    except ValueError:
        return lambda: False

    def asked() -> bool:
        try:
            return bool(ray.get(actor.is_asked.remote(), timeout=5))
        except (ray.exceptions.RayError, TimeoutError):
            return False

    return asked
