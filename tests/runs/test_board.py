"""The board of a run, without an actor around it: who is to stop, who has to move."""

import threading

import ray

from au_dist.runs import board as board_module
from au_dist.runs.board import Board, Shown
from au_dist.train.events import Resumed


def board_of(*homes):
    board = Board()
    board.begin(7)
    for rank, home in enumerate(homes):
        board.beat(rank, home, f"host-{home}", 0, "computes", 0.0)
    return board


def test_ranks_on_nodes_that_drain_are_asked_to_move_once():
    board = board_of("a", "b", "b")
    assert board.move({"c"}) is None
    assert not board.add(Resumed(0))
    assert board.move({"b", "c"}) == "rank 1 on host-b, rank 2 on host-b"
    assert board.add(Resumed(0))  # the workers hear it with their next row
    assert board.move({"b"}) is None
    assert board.moves()


def test_a_new_start_forgets_who_was_where():
    board = board_of("a", "b")
    board.move({"b"})
    assert board.begin(9) == 9
    assert not board.moves()
    assert not board.add(Resumed(0))
    assert board.move({"b"}) is None


def test_a_run_that_is_to_stop_does_not_move():
    board = board_of("a")
    board.move({"a"})
    board.leave()
    assert not board.moves()
    assert board.add(Resumed(0))


def test_a_rank_that_has_ended_has_no_home():
    board = board_of("a")
    board.ended(0)
    assert board.move({"a"}) is None
    board = board_of("a")
    board.leave()
    assert board.move({"a"}) is None
    assert not board.moves()


class Dead:
    """The handle of a board whose actor has died."""

    def __getattr__(self, name):
        raise ray.exceptions.RayActorError

    def __reduce__(self):
        raise TypeError


def test_a_run_that_cannot_be_asked_to_stop_is_ended(monkeypatch):
    monkeypatch.setattr(board_module, "own_node", lambda: "a")
    events, ended, stop = [], threading.Event(), threading.Event()
    shown = Shown(Dead(), events.append, stop, ended.set)
    with shown:
        assert not ended.wait(0.7)  # a run that nobody stops goes on
        stop.set()
        assert ended.wait(5)
    assert len(events) == 1
    assert "nothing is heard" in events[0].words
