"""The record holds each step once, also when a run goes on from an earlier one."""

import json

from states import step_done

from au_dist.storage.store import open_store
from au_dist.train.events import Validated
from au_dist.train.record import METRICS, Record


def rows_of(run):
    return [json.loads(line) for line in run.read(METRICS).decode().splitlines()]


def test_what_a_fault_undid_is_recorded_once(tmp_path):
    run = open_store(tmp_path)
    record = Record(run, 0)
    for step in range(1, 6):
        record.add(step_done(step, loss=float(step)))
    record.add(Validated(step=5, metrics={"val_auc": 0.5}))
    record.close()
    assert [row["step"] for row in rows_of(run)] == [1, 2, 3, 4, 5, 5]
    again = Record(run, 3)
    again.add(step_done(4, loss=40.0))
    again.close()
    assert [(row["step"], row["loss"]) for row in rows_of(run)] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]


def test_what_was_sent_is_whole_before_the_end(tmp_path):
    run = open_store(tmp_path)
    record = Record(run, 0)
    event = step_done(1, skipped_clips=("a",))
    record.add(event)
    record.send()
    assert rows_of(run) == [event.row()]
    assert event.row()["skipped_clips"] == ["a"]
    assert not record.due()
    record.close()
