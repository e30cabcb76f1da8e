"""The parts of `au-dist cluster up` that need no Ray."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_dist.cli.verbs import app
from au_dist.cluster import local, processes, record
from au_dist.cluster.nodes import (
    LEAST_MEMORY_MB,
    Ports,
    free_ports,
    gpu_slices,
    memory_mb,
    node_environment,
    start_command,
    visible_gpus,
)
from au_dist.cluster.processes import MARKER, Leader
from au_dist.cluster.record import Record, Shape
from au_dist.core.errors import ClusterError

SHAPE = Shape(nodes=2, cpus_per_node=2, gpus_per_node=0, object_store_mb=200, dashboard_host="127.0.0.1")


def leave_behind(directory: Path, **changes: Any) -> Record:
    """What a cluster that is gone leaves on disk."""
    temp = directory / "temp"
    temp.mkdir(parents=True)
    left = Record(
        cluster_id="0123",
        boot_id=processes.boot_id(),
        temp=str(temp),
        address="127.0.0.1:1",
        dashboard="http://127.0.0.1:2",
        shape=SHAPE,
        leaders=(Leader(2**22 + 1, 1),),  # above the largest pid
    )
    left = Record(**{**vars(left), **changes})
    record.write(left, directory)
    return left


def test_home_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AU_DIST_HOME", str(tmp_path))
    assert local.default_directory() == tmp_path / "cluster"
    monkeypatch.delenv("AU_DIST_HOME")
    assert local.home() == Path.home() / ".au-dist"


def test_without_a_cluster_there_is_nothing_to_stop(tmp_path: Path) -> None:
    assert local.current(tmp_path / "none") is None
    assert local.down(tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"nodes": 0}, "nodes"),
        ({"cpus_per_node": 1.5}, "whole number"),
        ({"cpus_per_node": 0}, "CPUs per node"),
        ({"gpus_per_node": -1}, "GPUs per node"),
        ({"object_store_mb": 20}, "object store"),
    ],
)
def test_an_impossible_shape_is_refused(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        local.up(directory=tmp_path, **asked)
    assert local.current(tmp_path) is None


def test_the_record_comes_back_as_it_was_and_private(tmp_path: Path) -> None:
    left = leave_behind(tmp_path)
    assert record.read(tmp_path) == left
    assert stat.S_IMODE(record.record_path(tmp_path).stat().st_mode) == 0o600
    assert json.loads(record.record_path(tmp_path).read_text())["leaders"][0]["started"] == 1


def test_what_a_crash_left_is_cleared(tmp_path: Path) -> None:
    left = leave_behind(tmp_path)
    assert local.current(tmp_path) is None
    assert local.down(tmp_path) == 0
    assert record.read(tmp_path) is None
    assert not Path(left.temp).exists()


def test_after_a_reboot_its_pids_are_other_peoples(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        leader = processes.leader_of(other.pid)
        assert leader is not None
        leave_behind(tmp_path, leaders=(leader,), boot_id="the boot before")
        assert local.current(tmp_path) is None
        assert local.down(tmp_path) == 0
        assert other.poll() is None
        other.kill()


def test_a_job_cannot_take_down_its_own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = leave_behind(tmp_path)
    monkeypatch.setenv(MARKER, left.cluster_id)
    with pytest.raises(ClusterError, match="it runs on"):
        local.down(tmp_path)
    assert record.read(tmp_path) == left


def test_the_command_has_its_own_places_and_no_token(tmp_path: Path) -> None:
    claims = {"cpus": 3, "gpus": 0, "memory_mb": 900, "object_store_mb": 200}
    common = {"dashboard_host": "127.0.0.1", "ports": Ports(1, 2, 3), **claims}
    head = start_command(head=True, temp=tmp_path / "0", **common)
    node = start_command(head=False, temp=tmp_path / "1", **common)
    assert {"--head", "--port=1", "--dashboard-host=127.0.0.1", "--dashboard-port=2", "--num-cpus=3"} <= set(head)
    assert "--memory=900000000" in node
    assert {"--address=127.0.0.1:1", f"--temp-dir={tmp_path / '1'}"} <= set(node)
    assert not any("token" in argument.lower() for argument in [*head, *node])


def test_the_environment_carries_credentials_but_no_other_cluster() -> None:
    inherited = {
        "AWS_SECRET_ACCESS_KEY": "s",
        "RAY_ADDRESS": "other:1",
        "RAY_AUTH_TOKEN": "t",
        "RAY_AUTH_MODE": "disabled",
    }
    given_on = node_environment(inherited, cluster_id="c", token_path=Path("/t"), devices=None)
    assert given_on == {
        "AWS_SECRET_ACCESS_KEY": "s",
        MARKER: "c",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": "/t",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def test_ports_differ() -> None:
    ports = free_ports()
    assert len({ports.head, ports.dashboard, ports.client}) == 3


@given(nodes=st.integers(1, 5), per_node=st.integers(1, 4), spare=st.integers(0, 3))
def test_no_gpu_is_dealt_twice(nodes: int, per_node: int, spare: int) -> None:
    visible = [f"GPU-{i:x}" for i in range(nodes * per_node + spare)]
    dealt = [slice_.split(",") for slice_ in gpu_slices(nodes, per_node, visible)]
    assert [len(each) for each in dealt] == [per_node] * nodes
    assert [device for each in dealt for device in each] == visible[: nodes * per_node]


def test_too_few_gpus_are_counted_and_named() -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,GPU-7,2"}) == ["0", "GPU-7", "2"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    with pytest.raises(ClusterError, match=r"2 nodes x 2 GPUs = 4.*Found 3, 0, GPU-7, 2"):
        gpu_slices(2, 2, ["0", "GPU-7", "2"])


def test_gpus_that_cannot_be_dealt_evenly_are_refused() -> None:
    with pytest.raises(ClusterError, match=r"a multiple of 2 nodes.*Found 3 GPUs"):
        app(["cluster", "up", "--gpus", "3"], standalone_mode=False)


@given(nodes=st.integers(1, 9), store=st.integers(80, 1000), free=st.integers(0, 2**40))
def test_no_more_memory_is_claimed_than_there_is(nodes: int, store: int, free: int) -> None:
    try:
        each = memory_mb(nodes, store, free)
    except ClusterError:
        assert nodes * (store + LEAST_MEMORY_MB + 1) * 1_000_000 > free
    else:
        assert each >= LEAST_MEMORY_MB
        assert free - nodes * 1_000_000 < nodes * (each + store) * 1_000_000 <= free


def test_a_home_that_may_not_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ClusterError, match="AU_DIST_HOME"):
        local.up(directory=tmp_path / "home" / "cluster")


def test_a_user_whom_the_machine_does_not_know_has_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AU_DIST_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda text: text)
    assert local.home() == Path("/.au-dist")
    assert local.current() is None
