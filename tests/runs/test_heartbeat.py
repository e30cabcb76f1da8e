"""Whoever keeps the others waiting is named: which rank, which machine, doing what, since when."""

from au_dist.runs.heartbeat import Place, late


def place(number=7, phase="meets the others", since=100.0, heard=200.0, node="a"):
    return Place(node, number, phase, since, heard)


def test_nothing_is_said_while_the_run_moves():
    assert late({}, 200, 30) == []
    assert late({0: place(since=10), 1: place(since=190)}, 200, 30) == []


def test_the_one_behind_is_named():
    places = {0: place(), 1: place(phase="waits for data", node="b"), 2: place(phase="computes")}
    assert late(places, 200, 30) == ["rank 1 on b: waits for data, contrast set 7, for 100 s"]
    places[3] = place(number=6, since=90)
    assert [line.split(" on ")[0] for line in late(places, 200, 30)] == ["rank 3"]


def test_one_that_is_not_heard_of_is_named_first():
    places = {0: place(phase="computes"), 1: place(phase="computes", heard=120, node="b")}
    (line,) = late(places, 200, 30)
    assert line == "rank 1 on b: not heard of for 80 s; before, computes, contrast set 7"


def test_all_are_named_where_all_wait_for_each_other():
    assert len(late({0: place(), 1: place()}, 200, 30)) == 2
    assert len(late({0: place(phase="waits for data")}, 200, 30)) == 1
    # Work that all are at takes as long as it takes.
    assert late({0: place(phase="validates"), 1: place(phase="validates")}, 200, 30) == []
    stalled = {0: place(phase="waits for the store"), 1: place(phase="waits for the store")}
    assert late(stalled, 200, 30)[1] == "rank 1 on a: waits for the store, contrast set 7, for 100 s"
