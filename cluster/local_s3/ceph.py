"""The daemons of the S3 server: one Ceph monitor, one disk daemon and the RADOS Gateway, all in one directory.

They run inside the directory, with relative paths and without unix sockets: its length and its spaces do not matter,
and a stopped store may be moved. `au_dist.cluster.local_s3.server` decides; nothing
here does.
"""

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from au_dist.core.errors import StorageError

HOST = "127.0.0.1"
BINARIES = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")

# In order of start; they stop in the reverse one. A name is also that of the log and of the file with the process id.
DAEMONS: dict[str, tuple[str, ...]] = {
    "mon.a": ("ceph-mon", "-f", "-i", "a"),
    "osd.0": ("ceph-osd", "-f", "-i", "0"),
    "client.rgw.a": ("radosgw", "-f", "-n", "client.rgw.a", "--debug-rgw=0"),
}
CAPABILITIES: dict[str, dict[str, str]] = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "client.rgw.a": {"mon": "allow rw", "osd": "allow rwx", "mgr": "allow rw"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
}
# The gateway keeps nothing itself, and right after a start its threads need up to 6 s to notice that they shall end.
GRACE_S = {"client.rgw.a": 1.0}
FOLDERS = ("mon", "osd", "log", "run", "crash")
FILES = ("keyring", "monmap", "ceph.conf", "credentials.json")

CONF = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
ms bind msgr1 = false
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1

# radosgw hangs without authentication
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = keyring

mon data = mon
osd data = osd
crash dir = crash
log file = log/$name.log
mon cluster log to file = false
# otherwise a daemon that gives up loses, every second time, the lines that say why
log flush on exit = true
debug osd = 0/5
debug rocksdb = 1/5
# no sockets in the file system: their paths are limited to 107 bytes
admin socket =

# one copy of everything, on one disk daemon
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 500
mon data avail warn = 3
mon data avail crit = 1
# a lone monitor need not gather changes for a second: 15 -> 5 s for the first start
paxos propose interval = 0.05
paxos min wait = 0.01

osd objectstore = bluestore
# a sparse file: it takes room on the disk as objects come
bluestore block size = {block_bytes}
bluestore cache autotune = false
bluestore cache size = 134217728
osd memory target = 1073741824
# the disk is closed and opened seven times at each start, and each time waits for one poll (250 ms by default)
bdev aio poll ms = 25
# a killed gateway is remembered as a watcher, for 30 s by default, and making a bucket waits for it
objecter tick interval = 1
osd client watch timeout = 4
osd class load list = *
osd class default list = *

# without tcp_nodelay small requests wait for delayed acknowledgements: 23 instead of 493 GETs/s
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 32
rgw run sync thread = false
rgw enable usage log = false
rgw dns name = 127.0.0.1
"""


def create(root: Path, state: dict[str, Any]) -> None:
    """Make an empty cluster, deleting what a first start that did not finish has left.

    Args:
        root: The directory of the store.
        state: Has ``port``, ``mon_port`` and ``block_bytes``; receives ``fsid`` and ``osd_uuid``.

    Raises:
        StorageError: One of Ceph's programs failed.
    """
    for name in FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
    for name in FILES:
        (root / name).unlink(missing_ok=True)
    state.update(fsid=str(uuid.uuid4()), osd_uuid=str(uuid.uuid4()))
    configure(root, state)
    write_private(root / "keyring", "")
    for name, capabilities in CAPABILITIES.items():
        options = [part for service, what in capabilities.items() for part in ("--cap", service, what)]
        _run(root, "ceph-authtool", "keyring", "-g", "-n", name, *options)
    monitor = ("--addv", "a", f"[v2:{HOST}:{state['mon_port']}]")
    _run(root, "monmaptool", "--create", "--fsid", state["fsid"], *monitor, "monmap")
    # The monitor learns every key of the ring here.
    _run(root, "ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")


def configure(root: Path, state: dict[str, Any]) -> None:
    """Write ``ceph.conf``; it follows this file and the state at every start."""
    write_private(root / "ceph.conf", CONF.format(**state))


def move_monitor(root: Path, port: int) -> None:
    """Give a stopped monitor another port; its own was taken by something else meanwhile."""
    _run(root, "ceph-mon", "-i", "a", "--extract-monmap", "monmap")
    _run(root, "monmaptool", "--rm", "a", "monmap")
    _run(root, "monmaptool", "--addv", "a", f"[v2:{HOST}:{port}]", "monmap")
    _run(root, "ceph-mon", "-i", "a", "--inject-monmap", "monmap")


def start(root: Path, state: dict[str, Any], *, fresh: bool, deadline: float) -> None:
    """Start the three daemons one after the other and return when the gateway answers.

    Args:
        root: The directory of the store, configured.
        state: As after ``create``.
        fresh: Whether disk and S3 user are still to be made; then ``credentials.json`` is written.
        deadline: ``time.monotonic()`` after which to give up.

    Raises:
        StorageError: A daemon ended, or the deadline passed; carries the end of the daemon's log.
    """
    _spawn(root, "mon.a")
    while not _listens(state["mon_port"]):
        _check(root, deadline, "the monitor to listen")
    if fresh:
        _run(root, "ceph", "osd", "new", state["osd_uuid"], deadline=deadline)
        _run(root, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", state["osd_uuid"], deadline=deadline)
    else:  # after a kill the monitor takes the old disk daemon for alive, and the gateway would wait 8 s for it
        _run(root, "ceph", "osd", "down", "0", deadline=deadline)
    _spawn(root, "osd.0")
    while json.loads(_run(root, "ceph", "osd", "stat", "--format=json", deadline=deadline))["num_up_osds"] < 1:
        _check(root, deadline, "the disk daemon to join")
    if fresh:  # the gateway makes up the keys, so that they never stand on a command line
        user = ("--uid=au-dist", "--display-name=au-dist")
        keys = json.loads(_run(root, "radosgw-admin", "user", "create", *user, deadline=deadline))["keys"][0]
        credentials = {"access_key": keys["access_key"], "secret_key": keys["secret_key"]}
        write_private(root / "credentials.json", json.dumps(credentials, indent=1))
    _spawn(root, "client.rgw.a")
    while not answers(state["port"]):
        _check(root, deadline, "the gateway to answer")


def stop(root: Path, deadline: float, *, kill: bool = False) -> bool:
    """Stop what runs and return when it is gone; what has not ended in time is killed.

    A store that has lost a daemon is killed at once: the others would wait for it. Acknowledged objects survive that.

    Returns:
        Whether anything was running.
    """
    # One after the other: told all at once, the gateway waits 5 s for a disk daemon that has gone already.
    names = [name for name in reversed(DAEMONS) if running(root, name) is not None]
    kill = kill or len(names) < len(DAEMONS)
    for name in names:
        told, patience = False, min(deadline, time.monotonic() + GRACE_S.get(name, float("inf")))
        while (pid := running(root, name)) is not None:
            late = time.monotonic() > patience
            if late or not told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if kill or late else signal.SIGTERM)
                told = True
            time.sleep(0.02)
    for name in DAEMONS:
        (root / "run" / name).unlink(missing_ok=True)
    return bool(names)


def running(root: Path, name: str) -> int | None:
    """Return the process id of a daemon while it runs; a zombie does not, nor a stranger with the same number."""
    try:
        pid, started = (root / "run" / name).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


def answers(port: int) -> bool:
    """Return whether a gateway answers on a port; the anonymous list of buckets is allowed, and empty."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status == 200 and response.getheader("x-amz-request-id") is not None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, and that appears complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    partial.replace(path)


def last_lines(text: str, lines: int = 12) -> str:
    """Return the end of a log, without colours and without the repetitions of Ceph's."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    return "\n".join(list(dict.fromkeys(line for line in plain if line.strip()))[-lines:])


def _environment() -> dict[str, str]:
    """Ours, less what leads Ceph's programs to another cluster, or its Python command to another library."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CEPH_", "PYTHON"))}
    return {**ours, "CEPH_CONF": "ceph.conf"}


def _run(root: Path, *command: str, deadline: float | None = None) -> str:
    """Run one of Ceph's programs in the directory of the store and return its standard output."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=root, env=_environment(), text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
    ) as process:
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    if deadline is not None:
                        _check(root, deadline, shlex.join(command[:3]))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        fix = "Try again; if it stays so, stop the store, delete its directory and start over"
        what = "A command of the local S3 server failed"
        raise StorageError(what, where=shlex.join(command), found=last_lines(err) or "nothing said", fix=fix)
    return out


def _spawn(root: Path, name: str) -> None:
    """Start a daemon that outlives this process, and record which process it is."""
    # By way of a shell that ends at once: the daemon is nobody's child and in a session of its own, so that no Ctrl-C
    # reaches it and no Popen object complains that it was left running.
    script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
    command = ["sh", "-c", script, "sh", f"log/{name}.log", *DAEMONS[name]]
    pid = int(subprocess.check_output(command, cwd=root, env=_environment(), text=True, start_new_session=True))
    write_private(root / "run" / name, f"{pid} {_started(pid)}")


def _started(pid: int) -> str | None:
    """The start time of a process in kernel ticks; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _check(root: Path, deadline: float, awaited: str) -> None:
    """Wait a moment longer; raise when a daemon has ended or the time is up."""
    spawned = [name for name in DAEMONS if (root / "run" / name).exists()]
    ended = [name for name in spawned if running(root, name) is None]
    if not ended and time.monotonic() < deadline:
        time.sleep(0.05)
        return
    name = (ended or spawned)[-1]
    log = root / "log" / f"{name}.log"
    raise StorageError(
        "The local S3 server did not start" + (f": {name} ended" if ended else " in time"),
        where=log,
        expected=awaited,
        found="this:\n" + last_lines(log.read_text(errors="replace")) + "\n(end of the log).",
        fix="If it happens again, stop the store, delete its directory and start over",
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((HOST, port)) == 0
