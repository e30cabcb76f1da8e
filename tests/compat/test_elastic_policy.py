"""A run has as many workers as fit and share the lanes evenly, and changes their number cheaply."""

import pytest
from ray.train import ScalingConfig
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, NoopDecision, ResizeDecision

from au_dist.compat import ray_train as compat
from au_dist.compat.ray_train import SteppedPolicy
from au_dist.core.errors import NoRoomError


@pytest.fixture
def gone(monkeypatch):
    """The nodes that drain; no Ray is asked."""
    nodes = set()
    monkeypatch.setattr(compat, "draining", lambda: nodes)
    return nodes


@pytest.fixture
def policy(gone):
    steps, coming = [4], [0]
    config = ScalingConfig(num_workers=(2, 8), resources_per_worker={"CPU": 0.5})
    made = SteppedPolicy(config, (2, 4, 8), 0.0, lambda: steps[-1], lambda: coming[-1])
    made.steps, made.coming = steps, coming
    return made


def room(policy, *cpus):
    return policy._count_possible_workers({str(k): {"CPU": count} for k, count in enumerate(cpus)})


def test_sizes_share_the_lanes_evenly(policy):
    assert [room(policy, *cpus) for cpus in ((4, 9), (2, 1.5), (1.5,), (1,), (0.4,), ())] == [8, 4, 2, 2, 0, 0]


def test_nodes_that_drain_are_no_room(policy, gone):
    assert room(policy, 2, 2) == 8
    gone.add("1")
    assert room(policy, 2, 2) == 4


def test_nodes_without_the_workers_labels_are_no_room(policy, monkeypatch):
    monkeypatch.setattr(compat, "nodes_with", lambda labels: {"1"} if labels == {"pool": "train"} else set())
    policy._labels = {"pool": "train"}
    assert room(policy, 2, 2) == 4
    assert room(policy, 2) == 0


def test_a_running_group_changes_its_size_when_a_checkpoint_was_stored(policy, monkeypatch):
    wanted = ResizeDecision(num_workers=4, resources_per_worker={"CPU": 0.5})
    name = "make_decision_for_running_worker_group"
    monkeypatch.setattr(ElasticScalingPolicy, name, lambda *_: wanted)
    monkeypatch.setattr(compat, "LOOK_S", 0.0)
    for _ in range(3):
        assert isinstance(policy.make_decision_for_running_worker_group(None, None), NoopDecision)
    policy.steps.append(8)
    assert policy.make_decision_for_running_worker_group(None, None) is wanted
    # Once more in the same way, and not at all where there is room for nothing else any more.
    assert isinstance(policy.make_decision_for_running_worker_group(None, None), NoopDecision)
    policy.steps.append(12)
    monkeypatch.setattr(ElasticScalingPolicy, name, lambda *_: NoopDecision())
    assert isinstance(policy.make_decision_for_running_worker_group(None, None), NoopDecision)


def test_too_little_room_ends_with_the_arithmetic(policy, monkeypatch):
    room(policy, 0.7)
    monkeypatch.setattr(ElasticScalingPolicy, "make_decision_for_non_running_worker_group", lambda _: NoopDecision())
    policy._timeout_s = 60.0
    assert isinstance(policy.make_decision_for_non_running_worker_group(), NoopDecision)
    policy._timeout_s = 0.0
    with pytest.raises(NoRoomError, match=r"room for 2 workers of 0.5 CPU. Found room for 1"):
        policy.make_decision_for_non_running_worker_group()


def test_the_time_that_machines_take_to_come_is_not_counted(policy, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(compat.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ElasticScalingPolicy, "make_decision_for_non_running_worker_group", lambda _: NoopDecision())
    policy._timeout_s = 60.0
    policy.coming.append(1)
    for now[0] in (1.0, 100.0, 300.0):
        assert isinstance(policy.make_decision_for_non_running_worker_group(), NoopDecision)
    policy.coming.append(0)
    now[0] = 359.0
    assert isinstance(policy.make_decision_for_non_running_worker_group(), NoopDecision)
    now[0] = 360.0
    with pytest.raises(NoRoomError):
        policy.make_decision_for_non_running_worker_group()
    policy._short_since = None
    policy.coming.append(1)  # for ever
    for now[0] in (400.0, 400.0 + compat.COMING_S - 1):
        assert isinstance(policy.make_decision_for_non_running_worker_group(), NoopDecision)
    now[0] += 61.0
    with pytest.raises(NoRoomError):
        policy.make_decision_for_non_running_worker_group()
