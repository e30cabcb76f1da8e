"""The way to a cluster's job server, and what goes wrong on it, in words."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from au_dist.cluster import local
from au_dist.compat.names import CHATTY_LOGGERS
from au_dist.compat.reach import reach
from au_dist.core.errors import ClusterError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # in Ray's own order

T = TypeVar("T")


def connect(address: str | None = None) -> "JobSubmissionClient":
    """Reach the job server of a cluster.

    Args:
        address: `http://host:8265` of the dashboard, or anything `ray.init` takes. None is what
            `RAY_API_SERVER_ADDRESS` or `RAY_ADDRESS` say, or else the local cluster.

    Returns:
        Ray's client. The token of the local cluster is taken from its file, for others from `RAY_AUTH_TOKEN_PATH`
        or wherever Ray looks for it.

    Raises:
        ClusterError: There is no cluster, it does not answer, or it wants another token.
    """
    cluster, source = local.current(), "--address"
    if address is None:
        set_ones = [(name, value) for name in _ADDRESS_VARIABLES if (value := os.environ.get(name))]
        source, address = set_ones[0] if set_ones else (str(local.record_file()), None)
    headers = None
    if cluster is not None and address in (None, cluster.address, cluster.dashboard):
        source, address = str(local.record_file()), cluster.dashboard
        headers = {"Authorization": f"Bearer {cluster.token_path.read_text()}"}
    if address is None:
        raise ClusterError(
            "There is no cluster to talk to",
            expected=f"an address, one of {' and '.join(_ADDRESS_VARIABLES)}, or a local cluster",
            fix="Start one with `au-dist cluster up`, or give the address of a dashboard such as http://127.0.0.1:8265",
        )
    reach(address, source)
    from ray.job_submission import JobSubmissionClient

    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    with _without_address_variables():
        return asked(lambda: JobSubmissionClient(address, headers=headers), address)


def asked(question: Callable[[], T], where: object) -> T:
    """Ask Ray's client something; what it raises becomes a `ClusterError`.

    Args:
        question: The call.
        where: The job or the address it is about.

    Raises:
        ClusterError: As it says.
    """
    from ray.exceptions import AuthenticationError

    try:
        return question()
    except AuthenticationError as error:
        raise ClusterError(
            "The cluster does not accept our token",
            where=where,
            found=_first_line(error),
            fix="Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file with this cluster's token",
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        if "status code 404" in str(error):
            raise ClusterError(
                "The cluster has no such job", where=where, fix="`au-dist jobs` lists those that it has"
            ) from error
        raise ClusterError(
            "The cluster does not do what it was asked", where=where, found=_first_line(error)
        ) from error


@contextmanager
def _without_address_variables() -> Iterator[None]:
    # Ray lets these override an address that was given explicitly; for us what is explicit wins.
    kept = {name: os.environ.pop(name) for name in _ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
