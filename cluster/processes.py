"""Find and stop every process of one local cluster, and only those. Linux only: it reads /proc.

A process belongs to a cluster when it lives in the session of one of the cluster's `ray start` leaders, or when its
environment carries the cluster's marker. Both tests are needed: Ray's dashboard processes overwrite their environment
with their title, and the entry points of jobs begin sessions of their own.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MARKER = "AU_DIST_CLUSTER_ID"
"""Name of the environment variable that every process of a local cluster inherits."""

_PROC = Path("/proc")
_POLL_S = 0.05


@dataclass(frozen=True)
class Leader:
    """A `ray start --block` process, the leader of its session.

    Args:
        pid: Its process id, which is the id of its session too.
        started: When it started, in clock ticks since boot: with the pid, an identity that is not reused.
    """

    pid: int
    started: int


@dataclass(frozen=True)
class _Stat:
    session: int
    started: int


def boot_id() -> str:
    """An id of this boot of the machine; pids recorded under another one mean nothing."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def leader_of(pid: int) -> Leader | None:
    """The identity of a running process.

    Args:
        pid: Process id.

    Returns:
        None when there is no such process, or only its zombie.
    """
    stat = _stat(_PROC / str(pid))
    return None if stat is None else Leader(pid, stat.started)


def is_alive(leader: Leader) -> bool:
    """Whether this very process runs; zombies and strangers under a reused pid do not count."""
    return leader_of(leader.pid) == leader


def members(leaders: Sequence[Leader], cluster_id: str) -> set[int]:
    """Pids of a cluster's running processes.

    Args:
        leaders: The cluster's recorded leaders, running or not.
        cluster_id: The value of `MARKER` in the environment of its processes.

    Returns:
        Pids without this process and without zombies.
    """
    running = {int(entry.name): stat for entry in _PROC.iterdir() if entry.name.isdigit() and (stat := _stat(entry))}
    marker = f"{MARKER}={cluster_id}".encode()
    marked = {pid for pid in running if marker in _environment(pid)}
    # A dead leader's pid stays reserved while its session has members, so a living stranger under it means that the
    # session is not ours. The sessions of marked processes count too: `up` may have died before it could record them.
    strangers = {leader.pid for leader in leaders if leader_of(leader.pid) not in (None, leader)}
    sessions = ({leader.pid for leader in leaders} - strangers) | {running[pid].session for pid in marked}
    return {pid for pid, stat in running.items() if pid in marked or stat.session in sessions} - {os.getpid()}


def stop(leaders: Sequence[Leader], cluster_id: str, *, grace_s: float = 3.0, patience_s: float = 20.0) -> int:
    """Stop a cluster's processes: ask them, then kill them, and return when they are gone.

    Args:
        leaders: The cluster's recorded leaders.
        cluster_id: The value of `MARKER` in the environment of its processes.
        grace_s: Seconds between SIGTERM and SIGKILL. Left alone, a raylet with busy actors takes half a minute.
        patience_s: Seconds to wait for killed processes to go.

    Returns:
        How many processes were stopped.

    Raises:
        TimeoutError: Some are still there after `patience_s`.
    """
    seen: set[int] = set()
    begin = time.monotonic()
    while left := members(leaders, cluster_id):
        waited = time.monotonic() - begin
        if waited > grace_s + patience_s:
            raise TimeoutError(f"processes {sorted(left)} are still there {waited:.0f} s after they were killed")
        # Newcomers (a worker that was just being forked) get their signal too; nobody gets SIGTERM twice.
        for pid in left if waited > grace_s else left - seen:
            _signal(pid, signal.SIGKILL if waited > grace_s else signal.SIGTERM)
        seen |= left
        time.sleep(_POLL_S)
    for leader in leaders:
        _reap(leader.pid)
    return len(seen)


def _stat(entry: Path) -> _Stat | None:
    try:
        # The name in parentheses may itself hold spaces and parentheses: the fields begin after the last one.
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    return _Stat(session=int(fields[3]), started=int(fields[19]))


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's: not ours in either case
        return []


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    """Take the exit status of a child, so that a long-living caller of `up` and `down` collects no zombies."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
