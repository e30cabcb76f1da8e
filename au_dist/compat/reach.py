"""Whether a Ray is at an address, found out in seconds: Ray itself may be silent for ten minutes."""

import json
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from au_dist.core.errors import ClusterError
from au_dist.core.proxies import go_directly

#: Seconds within which something must be known, names looked up and all.
LIMIT_S = 9.0

_KNOCK_S = 5.0
_PORTS = {"http": 80, "https": 443, "ray": 10001}

Made = TypeVar("Made")


class _NoRayError(Exception):
    """Somebody is there, but no Ray."""


def reach(address: str, source: str) -> None:
    """Return when a Ray answers at an address.

    Args:
        address: ``http://host:port`` of a dashboard, ``host:port`` or ``ray://host:port`` of a head, or ``auto``, the
            last cluster that was started on this machine.
        source: Where the address comes from, in words.

    Raises:
        ClusterError: Nobody answers there, or no Ray, or it is no address.
    """
    if address == "auto":
        address, source = _last_started(source)
    scheme, host, port = _parts(address, source)
    go_directly()
    ask = _ask_dashboard if scheme in ("http", "https") else _ask_head
    try:
        _within(LIMIT_S, lambda: ask(address, host, port))
    except _NoRayError as error:
        raise ClusterError(
            "What answers at this address is no Ray cluster",
            where=_place(address, source),
            found=error,
            fix=f"Correct what {source} says: host:6379 of a head, ray://host:10001, or http://host:8265 for jobs.",
        ) from error
    except OSError as error:
        raise ClusterError(
            "The cluster does not answer",
            where=_place(address, source),
            found=getattr(error, "reason", error),
            fix=f"Is it up? If it is gone, correct or take away what {source} says; `au-dist cluster up` starts one "
            "here. A remote dashboard is on loopback there: `ray dashboard ray_config.yaml` opens a tunnel",
        ) from error


def _place(address: str, source: str) -> str:
    return f"{address}, from {source}"


def _parts(address: str, source: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = place.port or _PORTS.get(place.scheme)
    except ValueError:
        port = None
    if place.hostname is None or port is None or place.scheme not in ("", *_PORTS):
        raise ClusterError(
            "This is no address of a cluster",
            where=_place(address, source),
            expected="http://host:port, host:port or ray://host:port",
        )
    return place.scheme, place.hostname, port


def _last_started(source: str) -> tuple[str, str]:
    """Return the address of the last cluster of this machine, and where that is written."""
    from ray._common.utils import get_ray_address_file
    from ray._private.services import get_ray_address_from_environment

    try:
        return get_ray_address_from_environment("auto", None), f"{source} (auto) and {get_ray_address_file(None)}"
    except ConnectionError as error:
        raise ClusterError(
            "No cluster runs on this machine", where=f"auto, from {source}", fix="Start one, or give its address."
        ) from error


def _ask_dashboard(address: str, host: str, port: int) -> None:
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=_KNOCK_S) as answer:
            if "ray_version" in json.load(answer):
                return
    except HTTPError as error:
        if error.code in (401, 403):
            return  # it wants a token: its client says which
        raise _NoRayError(f"status {error.code} of {address}/api/version") from error
    except URLError:
        raise
    except (TimeoutError, ConnectionError):
        raise
    except (ValueError, TypeError, OSError) as error:
        raise _NoRayError(f"{address}/api/version is not Ray's") from error
    raise _NoRayError(f"{address}/api/version is not Ray's")


def _ask_head(address: str, host: str, port: int) -> None:
    """Ask whether a head lives; any service that speaks gRPC is taken for the one of Ray's client (``ray://``)."""
    begun = time.monotonic()
    socket.create_connection((host, port), timeout=_KNOCK_S).close()
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
        return  # certificates are Ray's to find
    import grpc

    # A private name (`au_dist.compat.names`): a head answers, if only that it wants a token.
    left = LIMIT_S - 1 - (time.monotonic() - begun)
    code = _call(f"{host}:{port}", "/ray.rpc.NodeInfoGcsService/CheckAlive", left)
    if code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
        raise _NoRayError("no answer to what Ray asks")
    if code == grpc.StatusCode.UNIMPLEMENTED and "://" not in address:
        raise _NoRayError("another service, perhaps another port of a Ray cluster")


def _call(target: str, method: str, timeout_s: float) -> object:
    """Return the status of an empty request."""
    import grpc

    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def _within(seconds: float, function: Callable[[], Made]) -> Made:
    """Return what a function returns, or raise what it raises, in time: names may be looked up without end."""
    ended: list[Made | BaseException] = []

    def run() -> None:
        try:
            ended.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised below
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]
