"""What a node is like: asked on the node itself, in a task of Ray."""

import os
import platform
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from au_dist.core.errors import AuDistError
from au_dist.storage.store import open_store

#: Packages whose versions have a say in what a run computes.
PACKAGES = ("au-dist", "ray", "torch", "deepspeed", "numpy", "pyarrow")

#: What is written to a store and read again, in bytes.
TRIED_BYTES = 8 << 20

#: Seconds that a question to a card may take: the first use of one loads libraries.
CARD_S = 60

_TRY_CARD = "import torch; torch.zeros(1, device='cuda').add_(1).item()"


@dataclass(frozen=True)
class StoreTrial:
    """What a node found at a place.

    Attributes:
        write_s: Seconds that writing `TRIED_BYTES` took; NaN where it is not written to.
        read_s: Seconds that reading them took.
        error: What went wrong, in words.
    """

    write_s: float = float("nan")
    read_s: float = float("nan")
    error: str | None = None


@dataclass(frozen=True)
class NodeFacts:
    """A node.

    Attributes:
        name: Its host.
        versions: Of Python and of `PACKAGES`; "none" where one is missing.
        disk_free: Share of the disk of Ray's temporary folder that is free.
        disk_free_bytes: The same in bytes.
        shm_bytes: Size of /dev/shm; 0 where there is none.
        cards: NVIDIA's cards with their driver, as `nvidia-smi` names them.
        card_error: Why torch cannot use them; None where it can, or nobody asked.
        store: What was found at the run's place.
    """

    name: str
    versions: dict[str, str]
    disk_free: float
    disk_free_bytes: int
    shm_bytes: int
    cards: tuple[str, ...] = ()
    card_error: str | None = None
    store: StoreTrial = field(default_factory=StoreTrial)


def node_facts(runs: str, mark: str | None, temporary: str, cards: bool) -> NodeFacts:
    """Return what this node is like.

    Args:
        runs: Where runs are stored: it is written to, read, and left as it was.
        mark: A file there that the asking machine has written; None where nothing is asked of the place.
        temporary: Ray's temporary folder on this node.
        cards: Whether torch has to be able to use the node's cards.
    """
    folder = next(path for path in (Path(temporary), *Path(temporary).parents) if path.exists())
    disk, shm = shutil.disk_usage(folder), Path("/dev/shm")
    return NodeFacts(
        name=platform.node(),
        versions=versions(),
        disk_free=disk.free / disk.total,
        disk_free_bytes=disk.free,
        shm_bytes=shutil.disk_usage(shm).total if shm.is_dir() else 0,
        cards=_cards() if cards else (),
        card_error=_card_error() if cards else None,
        store=StoreTrial() if mark is None else try_store(runs, mark),
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES` here."""
    return {"Python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def clock() -> float:
    """Return this node's time, in seconds."""
    return time.time()


def try_store(runs: str, mark: str) -> StoreTrial:
    """Find a file that another machine has written, write one, read it, and take it away."""
    data, name = os.urandom(TRIED_BYTES), f".tried-{uuid.uuid4().hex}"
    try:
        store = open_store(runs).check()
        if not store.exists(mark):
            return StoreTrial(error="what the driver has just written there is not there: it is another folder")
        began = time.monotonic()
        store.write(name, data)
        written = time.monotonic()
        try:
            same = store.read(name) == data
            read = time.monotonic()
        finally:
            store.delete(name)
    except (AuDistError, OSError) as error:
        return StoreTrial(error=str(error))
    return StoreTrial(written - began, read - written, None if same else "what was read is not what was written")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _cards() -> tuple[str, ...]:
    question = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(question, capture_output=True, text=True, timeout=CARD_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in run.stdout.splitlines() if line.strip())


def _card_error() -> str | None:
    """Return why torch cannot use this node's first card, in a process that may see all of them."""
    seen = {name: text for name, text in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        run = subprocess.run(
            [sys.executable, "-c", _TRY_CARD], env=seen, capture_output=True, text=True, timeout=CARD_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it does not answer within {CARD_S} s"
    return None if run.returncode == 0 else last_line(run.stderr.splitlines())


def last_line(lines: Sequence[str]) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason is given")[:300]
