"""One checkpoint at a time goes to storage while training goes on; what fails is said."""

from threading import Event

import pytest

from au_dist.core.errors import StorageError
from au_dist.train.uploader import CheckpointUploader


def test_one_is_stored_while_training_goes_on():
    saving, go = CheckpointUploader(), Event()
    assert saving.begin(4, go.wait) < 1
    assert saving.stored() == 0
    go.set()
    assert saving.stored(wait=True) == 4
    saving.close()


def test_a_second_one_waits_for_the_first():
    saving, order = CheckpointUploader(), []
    for step in (1, 2, 3):
        saving.begin(step, lambda step=step: order.append(step))
        assert order[: step - 1] == list(range(1, step))
    saving.close()
    assert order == [1, 2, 3]


def test_a_failure_is_raised_by_the_next_call():
    def fails():
        raise StorageError("full")

    saving = CheckpointUploader()
    saving.begin(1, fails)
    with pytest.raises(StorageError, match="full"):
        saving.stored(wait=True)
    saving.begin(2, lambda: None)
    assert saving.stored(wait=True) == 2
    saving.begin(3, fails)
    with pytest.raises(StorageError, match="full"):
        saving.close()


def test_other_work_is_left_out_while_the_thread_is_busy():
    saving, go, done = CheckpointUploader(), Event(), []
    saving.begin(1, go.wait)
    saving.meanwhile(lambda: done.append("left out"))
    go.set()
    assert saving.stored(wait=True) == 1
    saving.meanwhile(lambda: done.append("done"))
    saving.close()
    assert done == ["done"]
    assert saving.stored() == 1
