"""Which run workers train next, and when they go."""

import pytest

from au_dist.runs.desk import Desk

IDLE_S = 10.0


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def desk(clock):
    return Desk(IDLE_S, clock)


def test_workers_do_one_job_after_another_each_once(desk):
    assert desk.give("first") == 1
    assert desk.take(0) == desk.take(0) == (1, "first")
    desk.start()
    assert desk.take(1) is True  # the other rank is still at it
    desk.finish(0, 2)
    assert not desk.is_done()
    assert desk.take(1) is True
    desk.finish(1, 2)
    assert desk.is_done()
    assert desk.is_open()
    assert desk.give("second") == 2
    assert desk.take(1) == (2, "second")


def test_workers_that_wait_long_go_and_take_nothing_more(desk, clock):
    desk.give("first")
    clock.now = 100.0
    desk.start()
    desk.finish(0, 1)
    clock.now += IDLE_S - 1
    assert desk.take(1) is True
    clock.now += 1
    assert desk.take(1) is False
    assert not desk.is_open()
    assert desk.give("second") is None
    assert desk.take(1) is False


def test_workers_of_a_single_job_go_when_they_have_done_it():
    desk = Desk()
    desk.give("only")
    assert desk.take(0) == (1, "only")
    desk.start()
    assert desk.take(1) is False  # without waiting for the others
    assert desk.take(0) == (1, "only")  # another process, in the place of one that was lost
    desk.finish(0, 1)
    assert desk.take(0) is False


def test_a_job_that_was_begun_again_is_done_anew_by_all_and_is_the_last(desk):
    desk.give("first")
    desk.start()
    desk.finish(0, 2)
    desk.start()  # rank 1 was lost
    assert desk.take(0) == (1, "first")
    desk.finish(1, 2)
    assert not desk.is_done()
    desk.finish(0, 2)
    assert desk.is_done()
    assert not desk.is_open()
    assert desk.take(1) is False
    assert desk.give("second") is None


def test_workers_that_are_let_go_do_what_they_have(desk):
    desk.give("first")
    desk.close()
    assert desk.take(0) == (1, "first")
    desk.start()
    desk.finish(0, 1)
    assert desk.take(1) is False
