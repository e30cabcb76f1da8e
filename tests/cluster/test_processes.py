"""Only a cluster's own processes are found and stopped, and all of them. With real processes."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from au_dist.cluster import nodes, processes
from au_dist.cluster.processes import MARKER, Leader

# A leader, its child in the same session, and a grandchild that leaves the session; each says its pid.
FAMILY = """
import os, subprocess, sys, time
nap = [sys.executable, "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(nap, env={})
daemon = subprocess.Popen(nap, start_new_session=True)
print(child.pid, daemon.pid, flush=True)
time.sleep(60)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


@pytest.fixture
def cluster_id() -> Iterator[str]:
    name = secrets.token_hex(8)
    yield name
    processes.stop([], name, grace_s=0.0)


def start(code: str, cluster_id: str, folder: Path) -> tuple[Leader, str]:
    log = folder / f"{secrets.token_hex(4)}.log"
    environment = {**os.environ, MARKER: cluster_id}
    leader = nodes.spawn([sys.executable, "-c", code], environment, folder=folder, log=log)
    for _ in range(200):
        if (text := log.read_text()).endswith("\n"):
            return leader, text
        time.sleep(0.05)
    raise AssertionError(text)


def test_children_and_daemons_are_found_and_strangers_are_not(cluster_id: str, tmp_path: Path) -> None:
    leader, said = start(FAMILY, cluster_id, tmp_path)
    family = {leader.pid, *map(int, said.split())}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        assert processes.members([leader], cluster_id) == family
        assert processes.members([], cluster_id) == family  # `up` died before it wrote the leader down
        assert processes.stop([leader], cluster_id) == 3
        assert stranger.poll() is None
        stranger.kill()
    assert all(processes.leader_of(pid) is None for pid in family)
    assert processes.stop([leader], cluster_id) == 0


def test_who_ignores_sigterm_is_killed(cluster_id: str, tmp_path: Path) -> None:
    leader, _ = start(STUBBORN, cluster_id, tmp_path)
    assert processes.stop([leader], cluster_id, grace_s=0.2) == 1
    assert not processes.is_alive(leader)


def test_a_reused_pid_is_a_stranger(cluster_id: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as stranger:
        now = processes.leader_of(stranger.pid)
        assert now is not None
        before = Leader(stranger.pid, now.started - 1)
        assert not processes.is_alive(before)
        assert processes.members([before], cluster_id) == set()
        stranger.kill()


def test_a_zombie_counts_as_gone() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken its status
    os.kill(pid, 0)  # which does not see the difference
    assert processes.leader_of(pid) is None
    os.waitpid(pid, 0)
