"""Which job the same command is."""

import pytest

from au_dist.cluster.jobs import attempt, code_of, whole_lines


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ({}, ("own-1a2b", False)),
        ({"own-1a2b": True}, ("own-1a2b", True)),
        ({"own-1a2b": False}, ("own-1a2b-2", False)),
        ({"own-1a2b": False, "own-1a2b-2": True}, ("own-1a2b-2", True)),
        ({"own-1a2b-10": False, "own-1a2b-9": False, "own-1a2b": False}, ("own-1a2b-11", False)),
        ({"own-1a2b3": True, "an-own-1a2b": True, "own-1a2b-x": True}, ("own-1a2b", False)),
    ],
)
def test_a_job_that_runs_is_the_same_and_one_that_has_ended_has_a_next_attempt(jobs, expected):
    assert attempt("own-1a2b", jobs) == expected


def test_exit_codes_are_as_a_shell_gives_them():
    assert [code_of(*one) for one in (("SUCCEEDED", 0), ("FAILED", 75), ("FAILED", -9), ("FAILED", None))] == [
        0,
        75,
        137,
        1,
    ]
    assert code_of("STOPPED", None) == 143


def test_lines_are_whole_however_they_arrive():
    assert list(whole_lines(["a", "b\nc", "\n", "d"])) == ["ab", "c", "d"]
