"""Jobs on a Ray cluster: submit, follow, list, stop, and the exit code; over Ray's job API.

Everything that is submitted (entry point, metadata, variables, the packed files) is kept by the cluster and shown to
everybody who may ask it, so credentials are refused in all of them. They come from the nodes' own environment: an
instance role, a Kubernetes secret, or the shell that typed `au-dist cluster up`.
"""

import asyncio
import functools
import os
import re
import shlex
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING

from au_dist.cluster.connection import asked, connect
from au_dist.cluster.packing import packed, refuse_secrets
from au_dist.core.errors import ClusterError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

#: Seconds that a job which is stopped has for its checkpoint before Ray kills it; Ray's own are 3.
STOP_S = 60

_POLL_S = 0.2
_RECONNECTS = 5


@dataclass(frozen=True)
class JobRow:
    """One job of a cluster.

    Args:
        job_id: The id that `submit` returned.
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        entrypoint: Its command.
        started: When, in seconds since the epoch; None before it did.
        ended: When, in seconds since the epoch; None before it did.
        exit_code: As of `exit_code`; None while it runs.
        message: What Ray says about its state, first line.
        metadata: What was handed in with it.
    """

    job_id: str
    status: str
    entrypoint: str
    started: float | None
    ended: float | None
    exit_code: int | None
    message: str
    metadata: Mapping[str, str]


def submit(
    entrypoint: Sequence[str],
    files: Mapping[str, Path | str | bytes],
    address: str | None = None,
    env: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    name: str | None = None,
    resources: Mapping[str, float] | None = None,
    allow_secrets: bool = False,
) -> tuple[str, bool]:
    """Start a job, a command in a folder that holds the given files; or find it, where it has a name and has not ended.

    Args:
        entrypoint: Program and arguments; run on the head, or wherever Ray puts drivers.
        files: Contents by relative name: a path to copy, or text, or bytes. `MAX_FILES_BYTES` in all.
        address: The cluster; see `connect`.
        env: Variables for the job and its workers. The cluster shows them to everybody who may ask it.
        metadata: Names and values to find the job by.
        name: The id of the job, of its second attempt ``name-2`` and so on; Ray's choice when None.
        resources: What the command itself takes of a node: ``num_cpus``, ``num_gpus``, ``memory`` in bytes.
        allow_secrets: Let credentials travel in spite of that.

    Returns:
        The job's id, and whether it was started by this.

    Raises:
        ClusterError: Files too large or badly named, a credential among what is sent, or the cluster does not take it.
    """
    contents = packed(files)
    if not allow_secrets:
        refuse_secrets(entrypoint, env or {}, metadata or {}, contents, os.environ)
    client = connect(address)
    with tempfile.TemporaryDirectory(prefix="au-dist-job-") as folder:
        for file, content in contents.items():
            path = Path(folder, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        runtime_env = {"working_dir": folder, "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S), **(env or {})}}
        options = {f"entrypoint_{what}": amount for what, amount in (resources or {}).items()}
        command, where, told = shlex.join(entrypoint), client.get_address(), dict(metadata or {})

        def start(job_id: str | None) -> str:
            return client.submit_job(
                entrypoint=command, submission_id=job_id, runtime_env=runtime_env, metadata=told, **options
            )

        while True:
            known = {row.job_id: row.exit_code is None for row in jobs(address)} if name else {}
            job_id, runs = attempt(name, known) if name else (None, False)
            if job_id and runs:
                return job_id, False
            try:
                return asked(functools.partial(start, job_id), where), True
            except ClusterError as error:  # somebody else may have been faster
                if not job_id or "already exists" not in str(error.__cause__):
                    raise
                time.sleep(_POLL_S)


def attempt(name: str, runs: Mapping[str, bool]) -> tuple[str, bool]:
    """Return the attempt of a job that runs, or else the id of the next one; and whether it runs.

    Args:
        name: What ids of its attempts begin with: ``name``, ``name-2`` and so on.
        runs: Whether a job runs, by the ids of all jobs.
    """
    ids = {int(found[1] or 1): job for job in runs if (found := re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", job))}
    last = max(ids, default=0)
    if last and runs[ids[last]]:
        return ids[last], True
    return (f"{name}-{last + 1}" if last else name), False


def follow(job_id: str, address: str | None = None) -> Iterator[str]:
    """The lines of a job's log from its first one on, as they come, until the job has ended.

    A connection that breaks is taken up again without repeating a line.

    Args:
        job_id: The job.
        address: The cluster; see `connect`.

    Yields:
        Lines without their line feed. Ray sends them about every three seconds.

    Raises:
        ClusterError: No such job, or the cluster is out of reach; the job itself goes on then.
    """
    from aiohttp import ClientError

    client = connect(address)
    status = _details(client, job_id).status  # an unknown id ends here
    done, failures = 0, 0
    while True:
        try:
            for number, line in enumerate(whole_lines(_tail(client, job_id))):
                if number >= done:
                    done, failures = number + 1, 0
                    yield line
            status = _details(client, job_id).status
        except (OSError, RuntimeError, ClientError, ClusterError) as error:  # all that a broken connection can raise
            failures += 1
            if failures > _RECONNECTS:
                raise ClusterError(
                    "The log of the job broke off",
                    where=job_id,
                    found=error,
                    fix=f"The job may well go on; `au-dist logs -f {job_id}` follows it again",
                ) from error
        if status.is_terminal():
            return
        time.sleep(_POLL_S * 2**failures)


def logs(job_id: str, address: str | None = None) -> str:
    """A job's whole log until now.

    Args:
        job_id: The job.
        address: The cluster; see `connect`.

    Raises:
        ClusterError: No such job, or the cluster is out of reach.
    """
    client = connect(address)
    _details(client, job_id)
    return asked(lambda: client.get_job_logs(job_id), job_id)


def jobs(address: str | None = None) -> list[JobRow]:
    """All jobs that were submitted to a cluster, the oldest first.

    Args:
        address: The cluster; see `connect`.

    Raises:
        ClusterError: The cluster is out of reach.
    """
    client = connect(address)
    submitted = [d for d in asked(client.list_jobs, client.get_address()) if d.submission_id is not None]
    return [_row(details) for details in sorted(submitted, key=lambda d: (d.start_time or 0, d.submission_id))]


def stop(job_id: str, address: str | None = None, *, timeout_s: float = STOP_S + 30.0) -> bool:
    """Stop a job and wait until it has ended.

    Args:
        job_id: The job.
        address: The cluster; see `connect`.
        timeout_s: How long to wait, in seconds. Ray kills what SIGTERM does not end within `STOP_S`.

    Returns:
        Whether it was running.

    Raises:
        ClusterError: No such job, it does not end, or the cluster is out of reach.
    """
    client = connect(address)
    if _details(client, job_id).status.is_terminal():
        return False
    asked(lambda: client.stop_job(job_id), job_id)
    _ended(client, job_id, timeout_s)
    return True


def exit_code(job_id: str, address: str | None = None, *, timeout_s: float = 10.0) -> int:
    """The exit code of a job's command, as a shell would give it.

    Args:
        job_id: The job.
        address: The cluster; see `connect`.
        timeout_s: How long to wait for a job that has not ended, in seconds.

    Returns:
        The command's own code; 128 + n where signal n ended it, 143 for a stopped job; 1 where it could not start.

    Raises:
        ClusterError: The job still runs, there is none, or the cluster is out of reach.
    """
    client = connect(address)
    return _code(_ended(client, job_id, timeout_s))


def code_of(status: str, driver_exit_code: int | None) -> int:
    """Translate how a job ended to the exit code of a command.

    Args:
        status: SUCCEEDED, FAILED or STOPPED.
        driver_exit_code: What Ray recorded; negative for a signal, None where Ray has none.
    """
    if status == "STOPPED":
        return 128 + 15
    if driver_exit_code is None:
        return 0 if status == "SUCCEEDED" else 1
    return driver_exit_code if driver_exit_code >= 0 else 128 - driver_exit_code


def _code(details: "JobDetails") -> int:
    return code_of(details.status.value, details.driver_exit_code)


def _details(client: "JobSubmissionClient", job_id: str) -> "JobDetails":
    return asked(lambda: client.get_job_info(job_id), job_id)


def _ended(client: "JobSubmissionClient", job_id: str, timeout_s: float) -> "JobDetails":
    begin = time.monotonic()
    while not (details := _details(client, job_id)).status.is_terminal():
        if time.monotonic() - begin > timeout_s:
            raise ClusterError(
                "The job has not ended",
                where=job_id,
                expected=f"its end within {timeout_s:.0f} s",
                found=details.status.value,
                fix=f"`au-dist logs -f {job_id}` follows it, `au-dist stop {job_id}` stops it",
            )
        time.sleep(_POLL_S)
    return details


def _row(details: "JobDetails") -> JobRow:
    return JobRow(
        job_id=details.submission_id or "",
        status=details.status.value,
        entrypoint=details.entrypoint,
        started=None if details.start_time is None else details.start_time / 1000,
        ended=None if details.end_time is None else details.end_time / 1000,
        exit_code=_code(details) if details.status.is_terminal() else None,
        message=(details.message or "").split("\n", 1)[0].split(", last available logs")[0],
        metadata=details.metadata or {},
    )


def _tail(client: "JobSubmissionClient", job_id: str) -> Iterator[str]:
    """Ray's asynchronous pieces of a log, one after the other.

    They are read in a thread of their own: Ctrl-C in the middle of an event loop is lost, or the loop never ends.
    """
    # Ray 2.60 hands aiohttp 3.14 an ssl=None that it frowns upon.
    warnings.filterwarnings("ignore", "ssl=None is deprecated", DeprecationWarning)
    pieces, given_up = Queue[str | Exception | None](), Event()

    async def read() -> None:
        async for piece in client.tail_job_logs(job_id):
            pieces.put(piece)
            if given_up.is_set():
                return

    def run() -> None:
        try:
            asyncio.run(read())
            pieces.put(None)
        except Exception as error:  # noqa: BLE001 - raised below, or who follows would wait for ever
            pieces.put(error)

    Thread(target=run, daemon=True).start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        given_up.set()


def whole_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Whole lines out of pieces that are cut anywhere."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
    if rest:
        yield rest
