"""Which connections go through a proxy: those of HTTP_PROXY and HTTPS_PROXY, but never one to this machine.

One rule for all clients. Those that look at the environment themselves (botocore, requests) are told by `NO_PROXY`.
"""

import ipaddress
import os
from collections.abc import Iterable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "[::1]")


def proxy_of(url: str) -> str | None:
    """Return the proxy through which a URL is reached; None where it is reached directly."""
    place = urlsplit(url)
    if is_here(place.hostname or "") or proxy_bypass(place.netloc):
        return None
    proxy = getproxies().get(place.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy or None


def is_here(host: str) -> bool:
    """Return whether a host is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".").rpartition(".")[2] == "localhost"


def go_directly(hosts: Iterable[str] = ()) -> None:
    """Tell clients that look at the environment themselves to reach this machine, and other hosts, without a proxy.

    Args:
        hosts: The others, as they stand in URLs.
    """
    proxies = getproxies()
    if not set(proxies) - {"no"}:
        return
    known = [host for host in proxies.get("no", "").replace(" ", "").split(",") if host]
    wanted = ",".join(dict.fromkeys([*known, *_THIS_MACHINE, *hosts]))
    if "*" not in known:
        os.environ.update(NO_PROXY=wanted, no_proxy=wanted)
