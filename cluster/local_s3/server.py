"""A real S3 server on this machine: install it, start it, stop it.

The server is the RADOS Gateway of Ceph (Debian's and Ubuntu's packages) over one monitor and one disk daemon, all on
127.0.0.1. It checks signatures, keeps every acknowledged object across ``kill -9`` and honours ``If-None-Match``,
which mock servers do not; so the demonstration and the tests meet the behaviour of a real store.

    python -m au_dist.cluster.local_s3 install                     the packages, by apt-get (root)
    python -m au_dist.cluster.local_s3 up [--dir DIR] [--port N]   start; the first time, create
    eval "$(python -m au_dist.cluster.local_s3 env [--dir DIR])"   point pyarrow, s3fs, Ray and boto3 at it
    python -m au_dist.cluster.local_s3 down [--dir DIR] [--kill]   stop; the objects stay in DIR
"""

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from au_dist.cluster.local_s3 import ceph
from au_dist.core.errors import AuDistError, StorageError

DEFAULT_DIR = Path(".demo/s3")
DEFAULT_PORT = 9200
PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")
STATE = "store.json"


def missing_binaries() -> list[str]:
    """Return the programs of the S3 server that are not on the search path."""
    return [name for name in ceph.BINARIES if shutil.which(name) is None]


def install() -> bool:
    """Install the packages of the S3 server if its programs are absent.

    Returns:
        Whether anything was installed.

    Raises:
        StorageError: There is no apt-get, this is not root, or apt-get failed.
    """
    if not missing_binaries():
        return False
    by_hand = f"Have an administrator install the packages {', '.join(PACKAGES)} (on Debian or Ubuntu: apt-get install)"
    if shutil.which("apt-get") is None:
        raise StorageError("Cannot install the local S3 server: this machine has no apt-get", fix=by_hand)
    if os.geteuid() != 0:
        raise StorageError("Cannot install the local S3 server: only root may install packages", fix=by_hand)
    options = ("-y", "-q", "-o", "DPkg::Lock::Timeout=120")
    command = ("apt-get", *options, "install", "--no-install-recommends", *PACKAGES)
    done = _apt(*command)
    if done.returncode:  # no package lists yet, or older ones than the archive
        done = _apt("apt-get", *options, "update")
        done = done if done.returncode else _apt(*command)
    if done.returncode or missing_binaries():
        output = ceph.last_lines(done.stdout) or f"still no {', '.join(missing_binaries())}"
        raise StorageError(
            "Installing the local S3 server failed", where=shlex.join(command), found=output, fix=by_hand
        )
    return True


def up(directory: Path | str = DEFAULT_DIR, port: int | None = None, *, gib: int = 8, timeout_s: float = 180) -> bool:
    """Start the store in a directory, creating it the first time, and return when it answers.

    Args:
        directory: Where the store keeps its objects, logs and credentials.
        port: S3 port on 127.0.0.1. None takes that of the last start; the first time 9200 or the next free one.
        gib: Capacity in GiB, settled at creation; the disk fills only as objects come.
        timeout_s: Seconds after which to give up and stop whatever was started.

    Returns:
        True when the store was started, False when it was running already.

    Raises:
        StorageError: The programs are absent, the directory cannot be used, the port is taken, or a daemon did not
            come up (then with the end of its log).
    """
    if absent := missing_binaries():
        fix = "Run: python -m au_dist.cluster.local_s3 install"
        raise StorageError("The local S3 server is not installed", found=f"no {', '.join(absent)}", fix=fix)
    deadline = time.monotonic() + timeout_s
    root = _prepare(Path(directory))
    with _locked(root, deadline):
        state = _read(root / STATE)
        fresh = not state.get("ready")
        if not fresh and all(ceph.running(root, name) for name in ceph.DAEMONS) and ceph.answers(state["port"]):
            if port not in (None, state["port"]):
                raise StorageError(
                    "The local S3 server is running on another port",
                    where=root,
                    expected=f"port {port}",
                    found=f"port {state['port']}",
                    fix="Stop it first: python -m au_dist.cluster.local_s3 down",
                )
            return False
        ceph.stop(root, deadline)  # what is left of a store that lost a daemon
        old_mon_port = state.get("mon_port")
        state["port"] = _settle_port(state.get("port") if port is None else port)
        state["mon_port"] = _free_port(old_mon_port or _mon_port_hint(root))
        state.setdefault("block_bytes", gib * 2**30)
        try:
            if fresh:
                ceph.create(root, state)
            elif state["mon_port"] != old_mon_port:
                ceph.move_monitor(root, state["mon_port"])
            ceph.configure(root, state)
            # Recorded before the start, which may fail: the monitor has its new port by now.
            ceph.write_private(root / STATE, json.dumps(state, indent=1))
            ceph.start(root, state, fresh=fresh, deadline=deadline)
        except BaseException:
            ceph.stop(root, deadline, kill=True)
            raise
        ceph.write_private(root / STATE, json.dumps({**state, "ready": True}, indent=1))
    return True


def down(directory: Path | str = DEFAULT_DIR, *, kill: bool = False, timeout_s: float = 30) -> bool:
    """Stop the store and return when its daemons are gone. The objects stay.

    Args:
        directory: The directory given to ``up``.
        kill: SIGKILL at once, as in a crash.
        timeout_s: Seconds that the daemons get to end by themselves before they are killed.

    Returns:
        Whether anything was running.

    Raises:
        StorageError: Another process is starting or stopping this store.
    """
    root = Path(directory).resolve()
    if not (root / STATE).is_file():
        return False
    deadline = time.monotonic() + timeout_s
    with _locked(root, deadline):
        return ceph.stop(root, deadline, kill=kill)


def environment(directory: Path | str = DEFAULT_DIR) -> dict[str, str]:
    """Return the environment variables that point S3 clients at the store.

    The two checksum settings are needed in every process: Ceph 16 refuses what the newer AWS clients do by default,
    and pyarrow cannot write at all without them.

    Raises:
        StorageError: No store was started in the directory yet, or it is another user's.
    """
    root = Path(directory).resolve()
    try:
        state, keys = _read(root / STATE), _read(root / "credentials.json")
        endpoint = f"http://{ceph.HOST}:{state['port']}"
    except (FileNotFoundError, NotADirectoryError, KeyError) as error:
        fix = f"Start it: python -m au_dist.cluster.local_s3 up --dir {shlex.quote(str(directory))}"
        raise StorageError("There is no local S3 server", where=root, fix=fix) from error
    except PermissionError as error:
        fix = "Only the user who started it may read them"
        raise StorageError("Cannot read the credentials of the local S3 server", where=root, fix=fix) from error
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": keys["access_key"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(environment: Mapping[str, str], name: str) -> None:
    """Create a bucket; one of ours that exists is left as it is.

    Args:
        environment: As ``environment(directory)`` returns it.
        name: Name of the bucket: 3 to 63 lower-case letters, digits and hyphens.

    Raises:
        StorageError: The store did not create it.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    client = Session().create_client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, retries={"total_max_attempts": 2}),
    )
    try:
        client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError, ValueError) as error:
        fix = "Is the store up, and is the name 3 to 63 lower-case letters, digits and hyphens?"
        raise StorageError("Could not create the bucket", where=f"s3://{name}", found=error, fix=fix) from error
    finally:
        client.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    begun = time.monotonic()
    try:
        if options.verb == "env":
            lines = [f"export {name}={shlex.quote(value)}" for name, value in environment(options.dir).items()]
            sys.stdout.write("\n".join(lines) + "\n")
            return 0
        if options.verb == "install":
            said = "installed" if install() else "installed already"
        elif options.verb == "up":
            said = "up" if up(options.dir, options.port, gib=options.gib) else "already running"
            said += f" at {environment(options.dir)['AWS_ENDPOINT_URL']}"
        else:
            said = "stopped" if down(options.dir, kill=options.kill) else "was not running"
    except AuDistError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"local S3 server: {said} ({time.monotonic() - begun:.1f} s)\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m au_dist.cluster.local_s3", description="A real S3 server on this machine."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install", help="install the packages by apt-get (root)")
    up_, down_, env = (
        verbs.add_parser(verb, help=text)
        for verb, text in (
            ("up", "start it; the first time, create it"),
            ("down", "stop it; the objects stay"),
            ("env", "print export lines for S3 clients"),
        )
    )
    for sub in (up_, down_, env):
        sub.add_argument("--dir", type=Path, default=DEFAULT_DIR, help=f"where it lives (default {DEFAULT_DIR})")
    up_.add_argument("--port", type=int, help=f"S3 port (default: as last time; at first from {DEFAULT_PORT} on)")
    up_.add_argument("--gib", type=int, default=8, help="capacity of a new store in GiB (default 8)")
    down_.add_argument("--kill", action="store_true", help="kill -9 at once")
    return parser


def _apt(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _prepare(directory: Path) -> Path:
    """Make the directory of a store, or find it; a directory with other things in it is refused."""
    root = directory.resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not (root / STATE).exists():
            if any(path.name != "lock" for path in root.iterdir()):
                raise StorageError(
                    "The directory for the local S3 server holds something else",
                    where=root,
                    expected="an empty or absent directory, or a store made earlier",
                    fix="Give another one with --dir",
                )
            root.chmod(0o700)
            ceph.write_private(root / STATE, "{}")
        (root / "lock").touch()
    except OSError as error:
        fix = "Give a directory that you may write to with --dir"
        what = "Cannot write to the directory for the local S3 server"
        raise StorageError(what, where=root, found=error.strerror, fix=fix) from error
    return root


@contextlib.contextmanager
def _locked(root: Path, deadline: float) -> Iterator[None]:
    """Hold the lock of the directory, so that two starts at once do not mix."""
    with (root / "lock").open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    what = "Another process is starting or stopping this local S3 server"
                    raise StorageError(what, where=root, fix="Wait for it to end, or end it") from None
                time.sleep(0.1)
        yield


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        fix = "Stop the store, delete its directory and start over"
        raise StorageError("A file of the local S3 server is damaged", where=path, found=error, fix=fix) from error


def _settle_port(wanted: int | None) -> int:
    if wanted is None:
        return _free_port(DEFAULT_PORT)
    if not 0 < wanted < 65536:
        raise StorageError("There is no such port", where="--port", expected="1 to 65535", found=wanted)
    if error := _binding_error(wanted):
        fix = "Stop what uses it, or give another one with --port"
        raise StorageError(
            "The local S3 server cannot have its port", where=f"{ceph.HOST}:{wanted}", found=error.strerror, fix=fix
        )
    return wanted


def _free_port(first: int) -> int:
    for port in range(first, min(first + 500, 65536)):
        if _binding_error(port) is None:
            return port
    raise StorageError("No port is free for the local S3 server", where=f"{ceph.HOST}:{first} and the 500 after it")


def _binding_error(port: int) -> OSError | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ceph.HOST, port))
        except OSError as error:
            return error
    return None


def _mon_port_hint(root: Path) -> int:
    """A port below those that the kernel hands out, different for each directory."""
    return 20000 + zlib.crc32(str(root).encode()) % 10000
