"""Contrast sets without a finite loss are skipped by all ranks together; sets without labels are counted."""

import pytest
import torch
from loop_jobs import all_runs
from spawn import spawn

pytestmark = pytest.mark.slow

CASES = {
    "plain": {},
    "one": {"broken": (2,)},
    "half": {"broken": (5,), "accumulate": 2, "steps": 4},
    "whole": {"broken": (4, 5), "accumulate": 2, "steps": 4},
    "sharded": {"broken": (2,), "zero": 1},
    "sharded more": {"broken": (2,), "zero": 3},
    "too often": {"broken": tuple(range(2, 20)), "steps": 20, "skip": 0.03},
    "steep": {"steep": (2,)},
    "unlabelled": {"unlabelled": (1, 3)},
    "damaged": {"damaged": (1, 3)},
    "asked to stop": {"asked": 3},
    "asked between checkpoints": {"asked": 1, "every": 4, "steps": 10},
    "too many damaged": {"damaged": tuple(range(20)), "steps": 20, "unreadable": 0.01},
}


@pytest.fixture(scope="module", params=[1, 2])
def found(request):
    ranks = spawn(request.param, all_runs, list(CASES.values()))
    return [dict(zip(CASES, rank, strict=True)) for rank in ranks]


def finite(weights):
    return all(torch.isfinite(tensor).all() for tensor in weights.values())


@pytest.mark.parametrize(("case", "step", "set_"), [("one", 2, 2), ("sharded", 2, 2), ("sharded more", 2, 2)])
def test_a_set_without_a_value_moves_nothing(found, case, step, set_):
    for rank in found:
        run = rank[case]
        assert run["error"] is None
        assert all(finite(weights) for weights in run["weights"])
        before, after = run["weights"][step : step + 2]
        for name, tensor in before.items():
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=0, msg=name)
        assert run["rows"][step]["skipped_clips"] == [f"clip-{set_}-{index}" for index in range(4)]
        assert "loss" not in run["rows"][step]
        assert [row["step"] for row in run["rows"] if "skipped_clips" in row] == [step + 1]
        # Up to there it is the run without a fault, and it goes on after it.
        for name, tensor in rank["plain"]["weights"][step].items():
            torch.testing.assert_close(before[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
        assert any((run["weights"][-1][name] != tensor).any() for name, tensor in after.items())


def test_what_is_left_of_a_step_is_learnt_from(found):
    for rank in found:
        half, whole = rank["half"], rank["whole"]
        assert len(half["rows"][2]["skipped_clips"]) == 4
        assert len(whole["rows"][2]["skipped_clips"]) == 8
        assert "loss" in half["rows"][2]
        trained = [name for name in half["weights"][0] if name.endswith("layer.weight")]
        for name in trained:
            assert (half["weights"][3][name] != half["weights"][2][name]).any()
            assert (whole["weights"][3][name] == whole["weights"][2][name]).all()


def test_too_many_of_them_stop_the_run_and_are_listed(found):
    for rank in found:
        run = rank["too often"]
        assert "clip-2-0" in run["error"]
        assert "optim.skip" in run["error"]
        assert len(run["rows"]) == 6  # two good ones, three within the share, the one too many
        assert all(finite(weights) for weights in run["weights"])


def test_a_gradient_without_a_value_stops_the_run_before_anything_is_stored(found):
    for rank in found:
        assert "gradient is not finite" in rank["steep"]["error"]
        assert len(rank["steep"]["weights"]) == 3  # at the start, and after the two good steps
        assert all(finite(weights) for weights in rank["steep"]["weights"])


def test_sets_without_labels_are_counted_and_teach_nothing(found):
    for rank in found:
        rows = rank["unlabelled"]["rows"]
        assert [row.get("unlabelled_sets", 0) for row in rows] == [0, 1, 0, 1, 0, 0]
        assert rows[1]["loss"] == 0
        assert rows[1]["grad_norm"] == 0


def test_a_checkpoint_is_reported_when_it_is_stored(found):
    for rank in found:
        # In the test a checkpoint counts as stored when the next one is saved; the last ones when the run waits.
        assert rank["plain"]["reported"] == [(min(step + 3, 7), step, {"weights": step}) for step in range(1, 7)]


def test_a_run_that_is_asked_to_stop_stores_the_step_that_it_came_to(found):
    for rank in found:
        at_one, between = rank["asked to stop"], rank["asked between checkpoints"]
        assert [len(run["rows"]) for run in (at_one, between)] == [4, 5]
        # Only what was validated is reported.
        assert [step for _, step, _ in at_one["reported"]] == [1, 2, 3, 4]
        assert [step for _, step, _ in between["reported"]] == [4]
        for name, tensor in rank["plain"]["weights"][4].items():
            assert (at_one["weights"][4][name] == tensor).all()


def test_ranks_agree(found):
    for rank in found[1:]:
        for case, run in rank.items():
            lists = [[row.get("skipped_clips") for row in some["rows"]] for some in (run, found[0][case])]
            assert lists[0] == lists[1] != []


def test_clips_that_do_not_decode_are_listed_alike_on_all_ranks(found):
    for rank in found:
        run = rank["damaged"]
        assert run["error"] is None
        listed = {row["step"]: row["unreadable"] for row in run["rows"] if "unreadable" in row}
        assert listed == {2: ["clip-1-3 frame 0: no JPEG"], 4: ["clip-3-3 frame 0: no JPEG"]}
        assert len(run["rows"]) == 6


def test_too_many_clips_that_do_not_decode_end_the_run_on_all_ranks(found):
    for rank in found:
        run = rank["too many damaged"]
        # One of four clips a set: at most 1 % of 400 may be damaged.
        assert len(run["rows"]) == 5
        for words in ("step 5", "at most 0.01", "data.unreadable", "5 of 400", "clip-4-3 frame 0: no JPEG", "doctor"):
            assert words in run["error"]
