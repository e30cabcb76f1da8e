"""What the driver, Ray Train's controller and the workers of a run tell each other, through an actor."""

import _thread
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from au_dist.compat.ray import draining
from au_dist.runs.gauges import RunGauges
from au_dist.runs.heartbeat import Place, late
from au_dist.runs.run_queue import RunQueue
from au_dist.train.events import Event, Leaving, NodesDraining, Waiting

#: Seconds between two words of a rank; seconds without a change before the driver says whom the others wait for;
#: seconds without a word of any before it looks whether there is room for them.
BEAT_S, LATE_S, SILENT_S = 2.0, 20.0, 5.0

Show = Callable[[Event], None]


class RunCoordinator(RunQueue):
    """Events on their way to the driver, where the workers are, what they train, and whether they are to stop.

    Used as an actor, see `start_coordinator`.
    """

    def __init__(self, idle_s: float = 0.0) -> None:
        super().__init__(idle_s)
        self.events: list[Event] = []
        self.leaving, self.moving = Leaving.NO, False
        self.places: dict[int, Place] = {}
        self.homes: dict[int, str] = {}
        self.memory: dict[int, float] = {}
        self.over: set[int] = set()
        self.gauges = RunGauges()

    def give(self, job: Any, run: str = "") -> int | None:
        """As a queue; nobody has asked this run to stop. With a name the run is measured."""
        self.gauges.begin(run)
        self.leaving = Leaving.NO
        return super().give(job)

    def add(self, event: Event) -> Leaving:
        """Add an event; return whether the workers are to stop."""
        self.events.append(event)
        self.gauges.add(event)
        return max(self.leaving, Leaving.STORED if self.moving else Leaving.NO)

    def pop_events(self) -> list[Event]:
        """Return the events that were added since the last time. Who asks watches the run: it is measured."""
        events, self.events = self.events, []
        if self.gauges.is_due:
            peak = {"worker_memory_peak_bytes": max(self.memory.values())} if self.memory else {}
            self.gauges.send({"workers": len(self.places), "late_workers": len(self.late(LATE_S)), **peak})
        return events

    def begin(self) -> None:
        """Forget the workers of before: others begin, or these begin another run."""
        self.start()
        self.moving = False
        self.places.clear()
        self.homes.clear()
        self.memory.clear()
        self.over.clear()

    def beat(self, rank: int, home: str, node: str, number: int, phase: str, age_s: float, memory: float = 0.0) -> None:
        """Note where a rank is, on which node by Ray's name, how long it has been there, and its most bytes so far."""
        now = time.monotonic()
        self.memory[rank] = memory
        self.homes[rank] = home
        self.places[rank] = Place(node, number, phase, now - age_s, now)

    def ended(self, rank: int) -> None:
        """Note that a rank has done its work."""
        self.places.pop(rank, None)
        self.homes.pop(rank, None)
        self.over.add(rank)

    def has_ended(self, rank: int) -> bool:
        """Return whether a rank has done its work."""
        return rank in self.over

    def is_silent(self, patience_s: float) -> bool:
        """Return whether no rank has said anything for so long, or ever."""
        now = time.monotonic()
        return all(now - place.heard > patience_s for place in self.places.values())

    def late(self, patience_s: float) -> list[str]:
        """Return which ranks keep the others waiting."""
        return late(self.places, time.monotonic(), patience_s)

    def leave(self) -> None:
        """Ask the workers to store a checkpoint and stop."""
        self.leaving = max(self.leaving, Leaving.STORED)

    def drop(self) -> None:
        """Ask the workers to stop at once."""
        self.leaving = Leaving.AT_ONCE

    def move(self, draining: set[str]) -> str | None:
        """Ask the workers to store a checkpoint and begin elsewhere if some are on nodes that drain; return which."""
        gone = [rank for rank, home in sorted(self.homes.items()) if home in draining]
        if not gone or self.moving or self.leaving:
            return None
        self.moving = True
        return ", ".join(f"rank {rank} on {self.places[rank].node}" for rank in gone if rank in self.places)

    def moves(self) -> bool:
        """Return whether the workers stopped to begin elsewhere."""
        return self.moving and not self.leaving


def own_node() -> str:
    """Return the id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def start_coordinator(idle_s: float = 0.0, name: str = "run") -> Any:
    """Return the handle of a new coordinator; it lives and dies with the driver's node.

    Args:
        idle_s: Seconds that workers without a run wait for another one.
        name: What Ray's dashboard shows it by; something is added that makes it the only one.
    """
    here = NodeAffinitySchedulingStrategy(own_node(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here)(RunCoordinator)
    return actor.options(name=f"{name}-{uuid.uuid4().hex[:8]}").remote(idle_s)


class Heartbeat:
    """Says every few seconds where a rank is, from a thread: one that hangs says so, too.

    Args:
        coordinator: The coordinator's handle.
        rank: The rank.
        memory: Returns the most bytes that it has held so far.
    """

    def __init__(self, coordinator: Any, rank: int, memory: Callable[[], float]) -> None:
        self.coordinator, self.rank, self.node = coordinator, rank, socket.gethostname()
        self.memory = memory
        self.home = own_node()
        self.place, self.over = ("computes", 0, time.monotonic()), threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def at(self, phase: str, number: int) -> None:
        """Note where the rank is."""
        self.place = (phase, number, time.monotonic())

    def _beat(self) -> None:
        while not self.over.wait(BEAT_S):
            phase, number, since = self.place
            age_s, peak = time.monotonic() - since, self.memory()
            self.coordinator.beat.remote(self.rank, self.home, self.node, number, phase, age_s, peak)

    def close(self) -> None:
        """Say no more."""
        self.over.set()
        self.coordinator.ended.remote(self.rank)


class RoomWatch:
    """Says again and again why a run waits for room.

    Args:
        why: Returns the reason, None where there is room.
        say: Called with it.
    """

    #: Seconds between two words of it.
    EVERY_S = 60.0

    def __init__(self, why: Callable[[], str | None], say: Callable[[str], object]) -> None:
        self._why, self._say = why, say
        self._short, self._said = False, -float("inf")

    def look(self, now: float) -> None:
        """Look whether there is room; two looks in a row without any are needed, or a place just taken were none."""
        words = self._why()
        if words is not None and self._short and now - self._said >= self.EVERY_S:
            self._said = now
            self._say(words)
        self._short = words is not None


class RunMonitor:
    """Shows a coordinator's events while a block runs, and passes on that the run is to stop.

    Args:
        coordinator: The coordinator's handle.
        show: Called with each event, in a thread.
        stop: Set when the run is to store a checkpoint and stop.
        drop: Set when it is to stop at once.
        end: Ends the run where the workers cannot be asked to stop any more; by default as Ctrl-C does.
        why_it_waits: Returns why the cluster places no workers; None where it does.
    """

    def __init__(
        self,
        coordinator: Any,
        show: Show,
        stop: threading.Event,
        drop: threading.Event,
        end: Callable[[], None] = _thread.interrupt_main,
        why_it_waits: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.coordinator, self.show, self.stop, self.drop = coordinator, show, stop, drop
        self.over = threading.Event()
        self.end, self.deaf = end, False
        self.room = RoomWatch(why_it_waits, lambda words: show(Waiting(f"for room: {words}")))
        self.looked, self.said, self.home = 0.0, set[str](), own_node()
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
                if self.drop.is_set():
                    ray.get(self.coordinator.drop.remote(), timeout=10)
                elif self.stop.is_set():
                    ray.get(self.coordinator.leave.remote(), timeout=10)
                for event in ray.get(self.coordinator.pop_events.remote(), timeout=10):
                    self.show(event)
                if time.monotonic() - self.looked > BEAT_S:
                    self.looked = time.monotonic()
                    self._look()
                    if ray.get(self.coordinator.is_silent.remote(SILENT_S), timeout=10):
                        self.room.look(self.looked)
                    self._move()
            except ray.exceptions.GetTimeoutError:
                pass  # asked again
            except ray.exceptions.RayError as error:
                self._lost(error)
            if last:
                return
            time.sleep(0.5)

    def _lost(self, error: Exception) -> None:
        """Say once that nothing is heard of the run; one that is to stop cannot be asked to, and is ended."""
        if not self.deaf:
            self.deaf = True
            self.show(Waiting(f"nothing is heard of it any more: {str(error).partition(chr(10))[0][:200]}"))
        if self.stop.is_set() and not self.over.is_set():
            self.over.set()
            self.end()

    def _look(self) -> None:
        """Say which ranks keep the others waiting, each once while it does."""
        lines = {line.partition(":")[0]: line for line in ray.get(self.coordinator.late.remote(LATE_S), timeout=10)}
        for who, line in lines.items():
            if who not in self.said:
                self.show(Waiting(line))
        self.said = set(lines)

    def _move(self) -> None:
        """Have the workers leave nodes that drain; where the driver's own does, the run stops."""
        nodes = draining()
        if not nodes:
            return
        if self.stop.is_set():
            return
        if self.home in nodes:
            self.show(NodesDraining("the driver's node: the run stops"))
            self.stop.set()
        elif who := ray.get(self.coordinator.move.remote(nodes), timeout=10):
            self.show(NodesDraining(f"{who}: the run stores a checkpoint and goes on elsewhere"))
