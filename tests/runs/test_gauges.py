"""What a run measures, as gauges, without Ray."""

import math

import pytest
from states import step_done as step

from au_dist.runs.coordinator import RunCoordinator
from au_dist.runs.gauges import COUNTS, EVERY_S, GAUGES, Measured, RunGauges, measured
from au_dist.train.events import Resumed, Stored, Validated, WorkersLost


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Seen(list):
    """What was published, newest last."""

    def __call__(self, run: str, values: list[Measured]) -> None:
        self.append((run, {(gauge, metric) if metric else gauge: value for gauge, value, metric in values}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def gauges(seen: Seen, clock: Clock) -> RunGauges:
    gauges = RunGauges(seen, clock)
    gauges.begin("run")
    return gauges


def now(gauges: RunGauges, seen: Seen) -> dict:
    gauges.send({})
    return seen[-1][1]


EVENTS = [
    step(3, loss=0.5, grad_norm=2.0),
    Validated(step=3, metrics={"val_loss": 0.25, "unreadable": ["clip"]}),
    Stored(step=3, bytes=1000, seconds=1.5, validated_s=0.5, memory_mib=1.0),
]


def test_events_are_gauges_that_are_known():
    found = [one for event in EVENTS for one in measured(event)]
    assert {one.gauge for one in found} < GAUGES.keys()
    assert set(COUNTS) < GAUGES.keys()
    values = {one.gauge: one.value for one in found}
    assert values["step_seconds"] == 0.5
    assert values["loss"] == 0.5
    assert values["checkpoint_upload_seconds"] == 1.5
    assert [one for one in found if one.metric] == [Measured("validation", 0.25, "val_loss")]


def test_a_value_that_is_not_there_any_more_does_not_stay(gauges, seen):
    gauges.add(step(1, loss=0.5, grad_norm=2.0))
    assert now(gauges, seen)["loss"] == 0.5
    gauges.add(step(2, loss=None, grad_norm=None, skipped_clips=("a", "b")))
    assert not {"loss", "grad_norm"} & now(gauges, seen).keys()
    gauges.add(step(3, loss=math.nan, grad_norm=math.inf))
    assert not {"loss", "grad_norm"} & now(gauges, seen).keys()


def test_what_counts_begins_with_zero_and_adds_up(gauges, seen):
    assert [now(gauges, seen)[name] for name in COUNTS] == [0.0, 0.0, 0.0]
    gauges.add(step(1, grad_norm=None, skipped_clips=("a", "b")))
    gauges.add(step(2, grad_norm=1.0, skipped_clips=("c",)))
    gauges.add(WorkersLost("rank 1"))
    assert [now(gauges, seen)[name] for name in COUNTS] == [1.0, 3.0, 1.0]


def test_the_age_of_progress_grows_until_a_step_and_workers_that_begin_again_are_none(gauges, seen, clock):
    clock.now = 700.0
    gauges.add(Resumed(5))
    gauges.add(WorkersLost("rank 1"))
    assert now(gauges, seen)["progress_age_seconds"] == 700.0
    gauges.add(step(6))
    assert now(gauges, seen)["progress_age_seconds"] == 0.0


def test_another_run_has_nothing_of_the_one_before(gauges, seen, clock):
    for event in (*EVENTS, WorkersLost("rank 1")):
        gauges.add(event)
    clock.now = 50.0
    gauges.begin("other")
    assert gauges.is_due
    gauges.send({"workers": 2.0})
    assert seen[-1] == ("other", {**dict.fromkeys(COUNTS, 0.0), "workers": 2.0, "progress_age_seconds": 0.0})


def test_gauges_are_set_again_after_some_seconds_and_without_a_name_never(gauges, seen, clock):
    assert gauges.is_due
    gauges.send({})
    assert not gauges.is_due
    clock.now = EVERY_S
    assert gauges.is_due
    gauges.begin("")
    assert not gauges.is_due


def test_a_failure_ends_the_measuring_and_not_the_run(clock):
    def fail(run: str, values: list[Measured]) -> None:
        raise RuntimeError("no agent")

    gauges = RunGauges(fail, clock)
    gauges.begin("run")
    gauges.send({})
    clock.now = 100.0
    assert not gauges.is_due
    gauges.send({})


def test_who_asks_a_coordinator_for_events_has_the_run_measured(seen):
    coordinator = RunCoordinator()
    coordinator.gauges = RunGauges(seen)
    coordinator.pop_events()
    assert not seen
    coordinator.give("job", "run")
    coordinator.begin()
    coordinator.beat(0, "a", "host-a", 3, "computes", 0.0, 100.0)
    coordinator.beat(1, "b", "host-b", 3, "computes", 0.0, 300.0)
    coordinator.add(step(3, loss=0.5))
    coordinator.pop_events()
    ((run, values),) = seen
    assert run == "run"
    assert (values["workers"], values["late_workers"], values["worker_memory_peak_bytes"]) == (2, 0, 300.0)
    assert (values["steps_done"], values["loss"]) == (3, 0.5)
    assert values.keys() < GAUGES.keys()
