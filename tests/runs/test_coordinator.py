"""The coordinator of a run, without an actor around it: who is to stop, who has to move."""

import threading

import pytest
import ray

from au_dist.runs import coordinator as coordinator_module
from au_dist.runs.coordinator import RunCoordinator, RunMonitor
from au_dist.train.events import Leaving, Resumed


def coordinator_of(*homes):
    coordinator = RunCoordinator()
    coordinator.begin()
    for rank, home in enumerate(homes):
        coordinator.beat(rank, home, f"host-{home}", 0, "computes", 0.0)
    return coordinator


def test_ranks_on_nodes_that_drain_are_asked_to_move_once():
    coordinator = coordinator_of("a", "b", "b")
    assert coordinator.move({"c"}) is None
    assert not coordinator.add(Resumed(0))
    assert coordinator.move({"b", "c"}) == "rank 1 on host-b, rank 2 on host-b"
    assert coordinator.add(Resumed(0))  # the workers hear it with their next row
    assert coordinator.move({"b"}) is None
    assert coordinator.moves()


def test_a_new_start_forgets_who_was_where():
    coordinator = coordinator_of("a", "b")
    coordinator.move({"b"})
    coordinator.begin()
    assert not coordinator.moves()
    assert not coordinator.add(Resumed(0))
    assert coordinator.move({"b"}) is None


def test_a_run_that_is_to_stop_does_not_move():
    coordinator = coordinator_of("a")
    coordinator.move({"a"})
    coordinator.leave()
    assert not coordinator.moves()
    assert coordinator.add(Resumed(0))


def test_a_run_is_dropped_whatever_was_asked_before_and_the_next_one_is_not():
    coordinator = coordinator_of("a")
    coordinator.leave()
    assert coordinator.add(Resumed(0)) is Leaving.STORED
    coordinator.drop()
    coordinator.leave()
    assert coordinator.add(Resumed(0)) is Leaving.AT_ONCE
    coordinator.give("another")
    assert coordinator.add(Resumed(0)) is Leaving.NO


def test_a_rank_that_has_ended_has_no_home():
    coordinator = coordinator_of("a")
    coordinator.ended(0)
    assert coordinator.move({"a"}) is None
    coordinator = coordinator_of("a")
    coordinator.leave()
    assert coordinator.move({"a"}) is None
    assert not coordinator.moves()


class Dead:
    """The handle of a coordinator whose actor has died."""

    def __getattr__(self, name):
        raise ray.exceptions.RayActorError

    def __reduce__(self):
        raise TypeError


@pytest.mark.slow
def test_a_run_that_cannot_be_asked_to_stop_is_ended(monkeypatch):
    monkeypatch.setattr(coordinator_module, "own_node", lambda: "a")
    events, ended, stop = [], threading.Event(), threading.Event()
    shown = RunMonitor(Dead(), events.append, stop, threading.Event(), ended.set)
    with shown:
        assert not ended.wait(0.7)  # a run that nobody stops goes on
        stop.set()
        assert ended.wait(5)
    assert len(events) == 1
    assert "nothing is heard" in events[0].words
