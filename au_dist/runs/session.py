"""A connection to Ray: the cluster that an address names, or a small one inside this process."""

import atexit
import contextlib
import functools
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from au_dist.compat.ray_folder import use_short_folder
from au_dist.compat.reach import reach
from au_dist.core.cpus import own_cpus
from au_dist.core.errors import ClusterError
from au_dist.storage.access import PORTABLE_S3

#: Behaviour of Ray and its libraries that has no other door than the environment.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # A worker that does not answer for so long is taken for lost.
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Its dashboard shows the groups of workers.
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    **PORTABLE_S3,
}

#: What only a Ray inside this process is told: it would warn of the many processes that small CPU shares allow, which
#: are meant; and memory that a training step frees is kept for the next one, a tenth of a step's time on CPUs. It
#: has no dashboard.
EMBEDDED_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_worker_maximum_startup_concurrency": "8",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}

#: Ray Data needs CPUs beside the workers; on a laptop Ray is told there are at least this many.
EMBEDDED_CPUS = 4

OBJECT_STORE_BYTES = 320 << 20

#: Name of the environment variable that tells the processes of a Ray inside this process.
MARK = "AU_DIST_EMBEDDED_RAY"

#: What says which token Ray goes by.
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@functools.cache
def _own_token() -> str:
    """Return the file with the token of the Rays of this process; only its owner reads it.

    Without one Ray (2.59 and later) writes a token into the home folder, which may not be writable, for all to read.
    """
    folder = tempfile.mkdtemp(prefix="au-dist-ray-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder, "token")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(secrets.token_hex(32))
    return str(file)


def _reach(address: str, source: str) -> None:
    """Return when a cluster answers that a driver can join."""
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            "This is the address of a job server, which a driver cannot join",
            where=f"{address}, from {source}",
            expected="host:port of the cluster's head, such as 10.0.0.1:6379",
            fix="`au-dist submit RECIPE` sends a recipe there as a job.",
        )
    reach(address, source)


@contextmanager
def ray_session(
    address: str | None = None, log_level: int = logging.ERROR, source: str = "the address that was given"
) -> Iterator[None]:
    """Connect to Ray for the length of a block.

    Args:
        address: A cluster's address; `RAY_ADDRESS` when None; without either, Ray is started in this process.
        log_level: Level of Ray's own messages.
        source: Where the address comes from, for messages.

    Raises:
        ClusterError: The cluster does not answer.
    """
    if not address:
        address, source = os.environ.get("RAY_ADDRESS"), "RAY_ADDRESS"
    if address == "local":  # Ray's word for one in this process
        address = None
    for name, text in {**ENVIRONMENT, **({} if address else EMBEDDED_ENVIRONMENT)}.items():
        os.environ.setdefault(name, text)
    if not address and not any(name in os.environ for name in TOKENS):
        os.environ["RAY_AUTH_TOKEN_PATH"] = _own_token()
    if not address:
        use_short_folder()
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        _reach(address, source)
    mark = secrets.token_hex(8)
    options = {"log_to_driver": False, "logging_level": log_level, "configure_logging": True}
    try:
        # Ray would put the current folder on the import path of all workers, and start its processes there: a file of
        # the user's named `numpy.py` would break them.
        with contextlib.chdir("/"):
            if address:
                ray.init(address=address, **options)
            else:
                with _marked(mark):
                    ray.init(
                        address="local",  # or it would join any other cluster of this machine
                        num_cpus=max(EMBEDDED_CPUS, own_cpus()),
                        object_store_memory=OBJECT_STORE_BYTES,
                        # A dozen processes; a cluster started with `au-dist cluster up` has it.
                        include_dashboard=False,
                        **options,
                    )
    except ray.exceptions.AuthenticationError as error:
        raise ClusterError(
            "Ray does not accept our token",
            where=address,
            found=" ".join(str(error).split())[:200],
            fix="Set RAY_AUTH_TOKEN_PATH to the file with the cluster's token"
            + (", and RAY_AUTH_MODE=token." if address else ", or unset it: a Ray of our own then has its own."),
        ) from error
    except Exception as error:
        # Where its processes take too long to start, Ray raises no error of a kind of its own.
        late = type(error) is Exception
        if not late and not isinstance(error, ConnectionError | RuntimeError | ValueError | OSError):
            raise
        raise not_connected(error, address, late) from error
    try:
        yield
    finally:
        try:
            ray.shutdown()
        finally:
            if not address:
                _kill_marked(mark)


def not_connected(error: Exception, address: str | None, late: bool) -> ClusterError:
    """Return what to say of an error with which Ray does not start, or is not joined.

    Args:
        error: Ray's.
        address: Of the cluster; None where Ray was to start in this process.
        late: Whether its processes took too long to start.
    """
    found = " ".join(str(error).split())[:200]
    if not address:
        again = "Its processes took too long to start, as on a busy machine: give the same command again."
        return ClusterError("Ray cannot be started", found=found, fix=again if late else None)
    if "Version mismatch" in found:
        fix = "Install the cluster's versions here, or let `au-dist submit` run the command on the cluster itself."
        return ClusterError("The cluster runs another Ray or Python", where=address, found=found, fix=fix)
    fix = "Check the address, or start one with `au-dist cluster up`."
    return ClusterError("The Ray cluster does not answer", where=address, found=found, fix=fix)


@contextmanager
def _marked(mark: str) -> Iterator[None]:
    """Let what starts in a block carry a mark."""
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]


def _kill_marked(mark: str) -> None:
    """End what a Ray of ours left behind: a worker that broke while it ended may compute for ever."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                process.kill()
