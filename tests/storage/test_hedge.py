"""A late read is done twice, and the first answer counts."""

import threading

import pytest

from au_dist.storage import hedge
from au_dist.storage.hedge import Hedge


@pytest.fixture
def reads(monkeypatch):
    """A hedge that has seen quick reads."""
    monkeypatch.setattr(hedge, "LEAST_S", 0.05)
    reads = Hedge(2)
    for _ in range(hedge.KNOWN):
        assert reads(lambda: 1) == 1
    return reads


class Late:
    """A read whose first call is late, until it is let go; what each call does is given."""

    def __init__(self, *calls):
        self.calls, self.count, self.go = calls, 0, threading.Event()

    def __call__(self):
        index, self.count = self.count, self.count + 1
        if index == 0:
            self.go.wait(10)
        if isinstance(self.calls[index], Exception):
            raise self.calls[index]
        return self.calls[index]


def test_a_quick_read_is_done_once(reads):
    calls = []
    assert reads(lambda: calls.append(1)) is None
    assert calls == [1]


def test_the_second_answer_is_taken_while_the_first_is_late(reads):
    late = Late("first", "second")
    assert reads(late) == "second"
    late.go.set()
    assert late.count == 2


def test_a_failed_second_read_leaves_the_first(reads):
    late = Late("first", OSError("busy"))
    threading.Timer(0.3, late.go.set).start()
    assert reads(late) == "first"


def test_two_failures_are_one(reads):
    late = Late(OSError("first"), OSError("second"))
    threading.Timer(0.2, late.go.set).start()
    with pytest.raises(OSError, match="first"):
        reads(late)


@pytest.mark.slow
def test_nothing_is_late_before_anything_is_known():
    late = Late("first", "second")
    threading.Timer(0.5, late.go.set).start()
    assert Hedge(1)(late) == "first"
    assert late.count == 1
