"""What a local cluster writes down about itself: its record, its token and its lock."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from au_dist.cluster.processes import Leader
from au_dist.core.errors import ClusterError


@dataclass(frozen=True)
class Shape:
    """What was asked for with `up`; `object_store_mb` is per node."""

    nodes: int
    cpus_per_node: int
    gpus_per_node: int
    object_store_mb: int
    dashboard_host: str


@dataclass(frozen=True)
class Record:
    """What `cluster.json` keeps, written again after every process that is started, so that none is forgotten."""

    cluster_id: str
    boot_id: str
    temp: str
    address: str
    dashboard: str
    shape: Shape
    leaders: tuple[Leader, ...]


def token_path(directory: Path) -> Path:
    """The file with the authentication token."""
    return directory.absolute() / "token"


def record_path(directory: Path) -> Path:
    """The file with the record."""
    return directory / "cluster.json"


def read(directory: Path) -> Record | None:
    """The record of a directory, or None where no cluster was started."""
    try:
        stored = json.loads(record_path(directory).read_text())
    except FileNotFoundError:
        return None
    leaders = tuple(Leader(**leader) for leader in stored.pop("leaders"))
    return Record(**{**stored, "shape": Shape(**stored["shape"])}, leaders=leaders)


def write(record: Record, directory: Path) -> None:
    """Write the record of a directory, atomically."""
    write_private(record_path(directory), json.dumps(asdict(record), indent=1))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One `up` or `down` at a time per directory; the other one waits."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise ClusterError(
            "The local cluster's own folder cannot be written to",
            where=directory,
            found=error.strerror,
            fix="Set AU_DIST_HOME to a folder that you may write to.",
        ) from error
    with lock as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
