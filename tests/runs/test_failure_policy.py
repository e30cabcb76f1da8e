"""What every start would meet again ends a run; what may pass does not."""

import subprocess
import sys
import time

import pytest
import ray
from ray.train.v2._internal.exceptions import WorkerHealthCheckTimeoutError

from au_dist.core.errors import ClusterError, LeaseLostError, ShardError, UnavailableError
from au_dist.runs.failure_policy import FailurePolicy, lost, our_error


class WrappedError(Exception):
    """As Ray hands on what a worker raised."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


@pytest.mark.parametrize("error", [ShardError("missing"), LeaseLostError("gone")])
def test_what_is_met_again_ends_the_run(error):
    with pytest.raises(type(error)):
        FailurePolicy().after_exception(None, {0: RuntimeError("connection closed by peer"), 1: WrappedError(error)})


@pytest.mark.parametrize("error", [UnavailableError("away"), RuntimeError("connection closed by peer")])
def test_what_may_pass_does_not(error):
    FailurePolicy().after_exception(None, {0: WrappedError(error)})
    assert our_error(WrappedError(error)) is (error if isinstance(error, UnavailableError) else None)


def test_workers_whose_driver_is_gone_are_not_started_again():
    told = []
    with pytest.raises(ClusterError, match="driver of this run has ended"):
        FailurePolicy(told.append, lambda: True).after_exception(None, {0: RuntimeError("connection closed by peer")})
    assert told == []


@pytest.mark.ray
def test_what_runs_knows_that_its_driver_is_gone(joined):
    driver = """
import ray

ray.init(namespace="orphans", log_to_driver=False)

@ray.remote(num_cpus=0, name="orphan", lifetime="detached")
class Orphan:
    def driver_is_gone(self):
        from au_dist.compat.ray import driver_is_gone
        return driver_is_gone()

print(ray.get(Orphan.remote().driver_is_gone.remote()))
"""
    said = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"
    orphan = ray.get_actor("orphan", namespace="orphans")
    until = time.monotonic() + 20
    while not (gone := ray.get(orphan.driver_is_gone.remote())) and time.monotonic() < until:
        time.sleep(0.1)
    assert gone
    ray.kill(orphan)


def test_who_is_gone_is_told_and_not_who_missed_it():
    told = []
    gone = RuntimeError("Worker 1: the actor died because its node has died.\nclass_name: X")
    FailurePolicy(told.append).after_exception(None, {0: RuntimeError("connection closed by peer\nmore"), 1: gone})
    assert told == ["rank 1 (its process is gone)"]
    assert lost({1: WorkerHealthCheckTimeoutError("x"), 0: gone}) == (
        "rank 0 (its process is gone), rank 1 (no answer any more)"
    )
    parted = RuntimeError("[/x/gloo/pair.cc:545] Read error [::1]:13970: Connection reset by peer\nmore")
    assert lost({0: parted, 1: ValueError("a\nb")}) == "rank 0 (it lost the connection to another), rank 1 (a)"
