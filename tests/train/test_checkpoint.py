"""Checkpoints: whole or not there, and every damage is named."""

from collections.abc import Callable

import pytest
import torch
from recording import Recording
from states import state

from au_dist.config.running import Checkpoints
from au_dist.core.errors import CheckpointError, LeaseLostError
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint


@pytest.fixture
def run(tmp_path):
    store = open_store(tmp_path / "run")
    for step, auc in ((2, 0.6), (4, 0.8), (6, 0.7)):
        tensors = {"a": torch.full((3,), float(step))}
        checkpoint.write(store, tensors, {"a/exp_avg": tensors["a"]}, state(step, {"val_auc": auc}))
    return store


def test_newest_and_best(run):
    assert checkpoint.steps(run) == [2, 4, 6]
    assert checkpoint.state(checkpoint.newest(run)).step == 6
    assert checkpoint.state(checkpoint.best(run, "val_auc")).step == 4
    assert checkpoint.find(run.uri, "best").name == "step-00000004"
    assert checkpoint.find("run", "last", run.parent).name == "step-00000006"


def test_what_nobody_judged_is_best_at_its_end(run):
    assert checkpoint.state(checkpoint.best(run, "val_icc")).step == 6
    checkpoint.prune(run, Checkpoints(last_k=1, top_k=1), "val_icc")
    assert checkpoint.steps(run) == [6]


def sealed_are_whole(run: Store) -> Callable[[], None]:
    """Return what looks whether every checkpoint that counts as complete has all of its bytes."""

    def look() -> None:
        for step in checkpoint.steps(run):
            place = run.at(checkpoint.folder(step))
            for name in (checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.STATE):
                checkpoint.verified(place, name)

    return look


def test_a_checkpoint_is_complete_only_when_all_its_files_are_there(run):
    watched = Recording(run.uri, look=sealed_are_whole(run))
    tensors = {"a": torch.zeros(3)}
    checkpoint.write(watched, tensors, tensors, state(8, {"val_auc": 0.5}))
    place = "checkpoints/step-00000008"
    files = [checkpoint.WEIGHTS, checkpoint.OPTIMIZER, checkpoint.STATE, checkpoint.COMPLETE]
    assert [line for line in watched.log if line.startswith("write")] == [f"write {place}/{name}" for name in files]
    assert checkpoint.steps(run) == [2, 4, 6, 8]


def test_one_that_is_written_again_is_whole_or_not_there_at_any_moment(run):
    watched, tensors = Recording(run.uri, look=sealed_are_whole(run)), {"a": torch.zeros(3)}
    checkpoint.write(watched, tensors, tensors, state(6, {"val_auc": 0.5}))
    assert checkpoint.steps(run) == [2, 4, 6]
    assert watched.log[0] == "delete checkpoints/step-00000006/COMPLETE"


def test_what_is_pruned_is_unsealed_before_any_of_it_goes(run):
    watched = Recording(run.uri, look=sealed_are_whole(run))
    checkpoint.prune(watched, Checkpoints(last_k=1, top_k=1), "val_auc")
    assert watched.log == ["delete checkpoints/step-00000002/COMPLETE", "delete checkpoints/step-00000002"]


def test_a_run_that_keeps_weights_alone_names_no_file_that_is_gone(run, tmp_path):
    def look():
        for step in checkpoint.steps(run):
            place = run.at(checkpoint.folder(step))
            for name in checkpoint.seal(place):
                checkpoint.verified(place, name)

    watched = Recording(run.uri, look=look)
    size = run.size(f"checkpoints/step-00000002/{checkpoint.OPTIMIZER}")
    assert checkpoint.lighten(watched) == 3 * size
    assert checkpoint.steps(run) == [2, 4, 6]
    assert checkpoint.pull(checkpoint.best(run, "val_auc"), tmp_path / "pulled")
    assert not any(name.endswith(checkpoint.OPTIMIZER) for name in run.list("checkpoints", recursive=True))
    assert watched.log[:2] == [f"write {checkpoint.COMPLETE}", f"delete {checkpoint.OPTIMIZER}"]
    assert checkpoint.lighten(run) == 0


def test_checkpoints_that_are_removed_are_unsealed_first(run):
    watched = Recording(run.uri, look=sealed_are_whole(run))
    assert checkpoint.remove(watched) > 0
    assert checkpoint.steps(run) == []
    assert watched.log[:2] == ["delete checkpoints/step-00000002/COMPLETE", "delete checkpoints/step-00000002"]
    assert checkpoint.remove(run) == 0


def test_what_comes_after_the_step_that_a_run_goes_on_from_is_unsealed_and_stays(run):
    watched = Recording(run.uri, look=sealed_are_whole(run))
    checkpoint.invalidate(watched, 2)
    assert watched.log == [f"delete checkpoints/step-0000000{step}/COMPLETE" for step in (4, 6)]
    assert run.exists(f"checkpoints/step-00000006/{checkpoint.OPTIMIZER}")


def test_a_pulled_model_is_complete_only_when_all_its_files_are_there(run, tmp_path, monkeypatch):
    pulled: list[Recording] = []

    def recorded(uri):
        pulled.append(Recording(open_store(uri).uri))
        return pulled[-1]

    monkeypatch.setattr(checkpoint, "open_store", recorded)
    checkpoint.pull(checkpoint.newest(run), tmp_path / "model")
    (local,) = pulled
    assert local.log == [f"write {name}" for name in (checkpoint.WEIGHTS, checkpoint.STATE, checkpoint.COMPLETE)]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ({"last_k": 1}, [4, 6]),
        ({"last_k": 1, "top_k": 2}, [4, 6]),
        ({"last_k": 1, "top_k": 3}, [2, 4, 6]),
        ({"last_k": 2}, [4, 6]),
        ({"last_k": 1, "keep_multiples_of": 2}, [2, 4, 6]),
    ],
)
def test_pruning_keeps_the_newest_the_best_and_what_is_for_good(run, keep, kept):
    checkpoint.prune(run, Checkpoints(**keep), "val_auc")
    assert checkpoint.steps(run) == kept
    assert run.list("checkpoints") == [f"checkpoints/step-{step:08d}/" for step in kept]


def test_the_newest_whole_one_is_found_behind_damaged_ones(run):
    assert checkpoint.latest_valid(run)[0].name == "step-00000006"
    place = run.at("checkpoints/step-00000006")
    place.write(checkpoint.OPTIMIZER, place.read(checkpoint.OPTIMIZER)[:-3])
    found, faults = checkpoint.latest_valid(run)
    assert found.name == "step-00000004"
    assert len(faults) == 1
    assert "step-00000006/optimizer.safetensors" in faults[0]
    checkpoint.invalidate(run, 4)
    assert checkpoint.steps(run) == [2, 4]
    assert checkpoint.latest_valid(run) == (found, [])
    run.delete("checkpoints/step-00000004/weights.safetensors")
    run.write("checkpoints/step-00000002/COMPLETE", b"{")
    found, faults = checkpoint.latest_valid(run)
    assert found is None
    assert len(faults) == 2
    # Damage is no reason to end: such a checkpoint is only never the best.
    assert checkpoint.best(run, "val_auc").name == "step-00000004"


def test_nothing_is_written_by_one_who_may_not(run):
    def refused():
        raise LeaseLostError("gone")

    tensors, before = {"a": torch.zeros(3)}, run.list("checkpoints", recursive=True)
    with pytest.raises(LeaseLostError):
        checkpoint.write(run, tensors, tensors, state(6, {"val_auc": 1.0}), refused)
    assert run.list("checkpoints", recursive=True) == before
    answers = iter([None, refused])
    with pytest.raises(LeaseLostError):
        checkpoint.write(run, tensors, tensors, state(8, {"val_auc": 1.0}), lambda: (next(answers) or (lambda: None))())
    assert checkpoint.steps(run) == [2, 4, 6]


def test_an_incomplete_checkpoint_does_not_exist(run, tmp_path):
    run.delete("checkpoints/step-00000006/COMPLETE")
    assert checkpoint.state(checkpoint.newest(run)).step == 4
    with pytest.raises(CheckpointError, match=r"not complete.*COMPLETE"):
        checkpoint.pull(run.at("checkpoints/step-00000006"), tmp_path / "model")
    for step in (2, 4):
        run.delete(f"checkpoints/step-0000000{step}/COMPLETE")
    with pytest.raises(CheckpointError, match="not complete"):
        checkpoint.find(run.uri, "best")


def test_a_damaged_file_is_named(run, tmp_path):
    place = run.at("checkpoints/step-00000004")
    data = bytearray(place.read(checkpoint.WEIGHTS))
    data[-1] ^= 1
    place.write(checkpoint.WEIGHTS, bytes(data))
    with pytest.raises(CheckpointError, match=r"damaged.*weights.safetensors"):
        checkpoint.pull(place, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_pulled_models_are_whole(run, tmp_path):
    checkpoint.pull(checkpoint.newest(run), tmp_path / "model")
    place = checkpoint.find(str(tmp_path / "model"), "best")
    torch.testing.assert_close(checkpoint.tensors(place, checkpoint.WEIGHTS)["a"], torch.full((3,), 6.0))
    with pytest.raises(CheckpointError, match=r"something else.*Found state.json"):
        checkpoint.pull(run.at("checkpoints/step-00000004"), tmp_path / "model")


@pytest.mark.parametrize("left", [(), (checkpoint.WEIGHTS,), (checkpoint.WEIGHTS, checkpoint.STATE), None])
def test_a_model_that_is_there_is_not_copied_again(run, tmp_path, monkeypatch, left):
    """None of it, what a copy that broke off left of it, all of it."""
    place, target = Recording(checkpoint.newest(run).uri), tmp_path / "model"
    checkpoint.pull(place, target)
    files = {path.name: path.read_bytes() for path in target.iterdir()}
    for name in files:
        if left is not None and name not in left:
            (target / name).unlink()
    copied = []
    monkeypatch.setattr(checkpoint, "verified", lambda where, name: copied.append(name) or where.read(name))
    assert checkpoint.pull(place, target) == [checkpoint.WEIGHTS, checkpoint.STATE, checkpoint.COMPLETE]
    assert copied == [name for name in (checkpoint.WEIGHTS, checkpoint.STATE) if left is not None and name not in left]
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    (target / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"something else.*Found mine.txt"):
        checkpoint.pull(place, target)


def test_nothing_is_said_where_nothing_is(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        checkpoint.find(str(tmp_path), "best")
