"""How a campaign is heard of on its cluster, by an actor.

Its trials learn that they are to stop, other campaigns how many trials it runs and whether it waits for room.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from au_dist.core.errors import StorageError
from au_dist.train.events import Leaving

#: Seconds between two questions of a trial; seconds that an answer may take.
EVERY_S, ANSWER_S = 0.5, 5.0

#: Seconds for which a campaign waits for another to begin a trial, or not to.
CLAIM_S = 2.0

#: Seconds between two looks into the store whether somebody asks the campaign to stop.
ASK_S = 3.0

_PREFIX = "au-dist-presence-"

T = TypeVar("T")


@dataclass(frozen=True)
class Standing:
    """What other campaigns know of one.

    Attributes:
        running: Trials that it runs.
        starting: Those among them whose workers have not begun.
        waiting: Whether it has another trial that finds no room.
        claims: Whether it is about to begin one.
    """

    running: int = 0
    starting: int = 0
    waiting: bool = False
    claims: bool = False


@ray.remote(num_cpus=0)
class _Voice:
    def __init__(self) -> None:
        self.asked, self.dropped, self.released, self.now = False, set[int](), set[int](), Standing()

    def ask(self) -> None:
        self.asked = True

    def drop(self, number: int) -> None:
        self.dropped.add(number)

    def release(self, number: int) -> None:
        self.released.add(number)

    def is_released(self, number: int) -> bool:
        return number in self.released

    def leaving(self, number: int) -> Leaving:
        if number in self.dropped:
            return Leaving.AT_ONCE
        return Leaving.STORED if self.asked else Leaving.NO

    def tell(self, now: Standing) -> None:
        self.now = now

    def standing(self) -> Standing:
        return self.now


class Presence:
    """The driver's end.

    Args:
        name: The actor's name, by which trials ask it (`asker`).
        actor: The actor.
    """

    def __init__(self, name: str, actor: Any) -> None:
        self.name, self._actor, self._told = name, actor, Standing()

    def tell(self, now: Standing) -> None:
        """Let others know how things stand."""
        if now != self._told:
            self._told = now
            self._actor.tell.remote(now)

    def drop(self, number: int) -> None:
        """Have a trial stop at once."""
        self._actor.drop.remote(number)

    def release(self, number: int) -> None:
        """Have the workers that are left of a trial go, before they have waited for as long as they may."""
        self._actor.release.remote(number)

    def claim(self, now: Standing) -> bool:
        """Say that a trial is about to begin; return whether nobody else says so: then others wait until `tell`.

        Of two that say it at once, the one with the lesser name waits for the other to take it back. What it found
        free before, it is to look at again. What a cluster that is too busy to answer has not heard, is not said: it
        is to be said again.
        """
        self._told = replace(now, claims=True)
        try:
            ray.get(self._actor.tell.remote(self._told), timeout=ANSWER_S)
        except TimeoutError:
            return False
        until = time.monotonic() + CLAIM_S
        while claiming := [name for name, other in self._others().items() if other.claims]:
            if min(claiming) < self.name or time.monotonic() >= until:
                self.tell(now)
                return False
            time.sleep(0.1)
        return True

    def others(self) -> list[Standing]:
        """Return how other campaigns on this cluster stand; none of those that do not answer."""
        return list(self._others().values())

    def _others(self) -> dict[str, Standing]:
        found = {}
        for entry in ray.util.list_named_actors(all_namespaces=True):
            if entry["name"].startswith(_PREFIX) and entry["name"] != self.name:
                # An AttributeError: another version's.
                with contextlib.suppress(ValueError, AttributeError, ray.exceptions.RayError, TimeoutError):
                    other = ray.get_actor(entry["name"], namespace=entry["namespace"])
                    found[entry["name"]] = ray.get(other.standing.remote(), timeout=ANSWER_S)
        return found


@contextmanager
def present(stop: threading.Event, asked: Callable[[], bool] = lambda: False) -> Iterator[Presence]:
    """Be heard of for the length of a block.

    Args:
        stop: Trials are told when it is set.
        asked: Says whether somebody elsewhere asks for it to be set; asked every `ASK_S` seconds.
    """
    name = f"{_PREFIX}{uuid.uuid4().hex}"
    # On the driver's node: it goes when the driver does.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = _Voice.options(name=name, scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    over = threading.Event()

    def forward() -> None:
        looked = time.monotonic()
        while not over.is_set():
            if stop.wait(EVERY_S):
                actor.ask.remote()
                return
            if time.monotonic() - looked >= ASK_S:
                looked = time.monotonic()
                with contextlib.suppress(StorageError):  # it is asked again
                    if asked():
                        stop.set()

    thread = threading.Thread(target=forward, name="leaving", daemon=True)
    thread.start()
    try:
        yield Presence(name, actor)
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(Exception):  # Ray may be gone; what ended the block is what counts
            ray.kill(actor)


def asker(name: str | None, number: int) -> Callable[[], Leaving]:
    """Return a function that says whether a trial is to stop; never, without a name or an answer.

    Args:
        name: Of a presence.
        number: The trial's.
    """
    return _question(name, lambda actor: actor.leaving.remote(number), Leaving, Leaving.NO)


def release_asker(name: str | None, number: int) -> Callable[[], bool]:
    """Return a function that says whether what is left of a trial's workers is to go; not, where `asker` says never.

    Args:
        name: Of a presence.
        number: The trial's.
    """
    return _question(name, lambda actor: actor.is_released.remote(number), bool, False)


def _question(
    name: str | None, ask: Callable[[Any], Any], as_type: Callable[[Any], T], unanswered: T
) -> Callable[[], T]:
    try:
        actor: Any = None if name is None else ray.get_actor(name)
    except ValueError:
        actor = None

    def answer() -> T:
        if actor is None:
            return unanswered
        try:
            return as_type(ray.get(ask(actor), timeout=ANSWER_S))
        except (ray.exceptions.RayError, TimeoutError):
            return unanswered

    return answer
