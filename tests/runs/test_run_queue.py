"""Which run workers train next, and when they go."""

import pytest

from au_dist.runs.run_queue import RunQueue

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
def queue(clock):
    return RunQueue(IDLE_S, clock)


def test_workers_do_one_job_after_another_each_once(queue):
    assert queue.give("first") == 1
    assert queue.take(0) == queue.take(0) == (1, "first")
    queue.start()
    assert queue.take(1) is True  # the other rank is still at it
    queue.finish(0, 2)
    assert not queue.is_done()
    assert queue.take(1) is True
    queue.finish(1, 2)
    assert queue.is_done()
    assert queue.is_open()
    assert queue.give("second") == 2
    assert queue.take(1) == (2, "second")


def test_workers_that_wait_long_go_and_take_nothing_more(queue, clock):
    queue.give("first")
    clock.now = 100.0
    queue.start()
    queue.finish(0, 1)
    clock.now += IDLE_S - 1
    assert queue.take(1) is True
    clock.now += 1
    assert queue.take(1) is False
    assert not queue.is_open()
    assert queue.give("second") is None
    assert queue.take(1) is False


def test_workers_of_a_single_job_go_when_they_have_done_it():
    queue = RunQueue()
    queue.give("only")
    assert queue.take(0) == (1, "only")
    queue.start()
    assert queue.take(1) is False  # without waiting for the others
    assert queue.take(0) == (1, "only")  # another process, in the place of one that was lost
    queue.finish(0, 1)
    assert queue.take(0) is False


def test_a_job_that_was_begun_again_is_done_anew_by_all_and_is_the_last(queue):
    queue.give("first")
    queue.start()
    queue.finish(0, 2)
    queue.start()  # rank 1 was lost
    assert queue.take(0) == (1, "first")
    queue.finish(1, 2)
    assert not queue.is_done()
    queue.finish(0, 2)
    assert queue.is_done()
    assert not queue.is_open()
    assert queue.take(1) is False
    assert queue.give("second") is None


def test_workers_that_are_let_go_do_what_they_have(queue):
    queue.give("first")
    queue.close()
    assert queue.take(0) == (1, "first")
    queue.start()
    queue.finish(0, 1)
    assert queue.take(1) is False
