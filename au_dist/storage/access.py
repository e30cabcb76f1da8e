"""Who asks S3, and how: keys, region, endpoint and proxy, found once, by one set of rules, for both clients.

Keys are looked for where every AWS tool looks (`botocore` does it): in the environment, as a web identity, in a
profile, from the container's service, from the EC2 metadata service. Without any, requests go unsigned, as public
buckets take them. Temporary keys are renewed before they end; a client gets them anew with each operation.
"""

import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from au_dist.core.errors import StorageError
from au_dist.core.proxies import go_directly, proxy_of

#: Seconds to wait for the metadata service; nobody else than AWS has one.
METADATA_S = 1.0

#: Where nothing says in which region we are.
USUAL_REGION = "us-east-1"

#: Seconds after which keys that were not found are looked for again.
AGAIN_S = 30.0

#: Servers older than Ceph 18 refuse the checksums that current clients send by default.
PORTABLE_S3 = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}

#: Where machines and containers of AWS hear who they are: never through a proxy.
_METADATA = ("169.254.169.254", "[fd00:ec2::254]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]")

#: What botocore's ways to keys are called here; those of one name are one source.
_SOURCES = {
    "env": "AWS_ACCESS_KEY_ID",
    "assume-role-with-web-identity": "AWS_WEB_IDENTITY_TOKEN_FILE",
    "container-role": "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI",
    "iam-role": "EC2 metadata service",
}


@dataclass(frozen=True)
class Access:
    """How S3 is asked now. Two of them are equal as long as a client may go on.

    Attributes:
        endpoint: URL of the server; None for Amazon's own.
        region: In which requests are signed.
        proxy: Through which the server is reached.
        keys: Access key, secret key and session token; None where requests are not signed.
        source: Where the keys come from, or where they were looked for, in words.
    """

    endpoint: str | None
    region: str
    proxy: str | None
    keys: tuple[str, str, str | None] | None = field(repr=False)
    source: str


@dataclass
class _Found:
    """What one look around has found."""

    endpoint: str | None
    region: str
    credentials: Any
    source: str
    until: float


_found: dict[tuple[Any, ...], _Found] = {}
_lock = threading.Lock()


def portable() -> None:
    """Set what all servers understand, unless it is set otherwise; either client reads it from the environment."""
    os.environ.update({name: text for name, text in PORTABLE_S3.items() if name not in os.environ})


def access() -> Access:
    """Return how S3 is to be asked now.

    Raises:
        StorageError: A source of keys is set up but gives none; or keys could not be renewed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    portable()
    go_directly(_METADATA)
    with _lock:
        around = _surroundings()
        found = _found.get(around)
        if found is None or found.until < time.monotonic():
            _found.clear()  # another identity: the keys of the last one are nobody's any more
            found = _found[around] = _look()
        try:
            frozen = found.credentials.get_frozen_credentials() if found.credentials else None
        except (BotoCoreError, ClientError, OSError, ValueError) as error:
            raise _unusable(found.source, error) from error
    keys = (frozen.access_key, frozen.secret_key, frozen.token or None) if frozen else None
    proxy = proxy_of(found.endpoint or f"https://s3.{found.region}.amazonaws.com")
    return Access(found.endpoint, found.region, proxy, keys, found.source)


def _surroundings() -> tuple[Any, ...]:
    """Return what decides who we are, so that it is noticed when it changes: variables, and files that hold keys."""
    files = [
        Path(os.environ.get(name) or f"~/.aws/{usual}").expanduser()
        for name, usual in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config"))
        if os.environ.get(name) or os.environ.get("HOME")
    ]
    variables = sorted((name, text) for name, text in os.environ.items() if name.startswith("AWS_"))
    return (*variables, *((str(file), file.stat().st_mtime_ns) for file in files if file.is_file()))


def _look() -> _Found:
    """Look who we are: which server, which region, whose keys."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session
    from botocore.utils import IMDSRegionProvider

    session, tried = Session(), dict[str, str]()
    try:
        endpoint = _endpoint(session)
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        session.set_config_variable("region", region or USUAL_REGION)  # also of the service that hands out roles
        credentials = _credentials(session, tried)
        source = next(reversed(tried))
        if not region and credentials and source == _SOURCES["iam-role"]:
            region = IMDSRegionProvider(session).provide()  # the machine's own
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        raise _unusable(next(reversed(tried), "the configuration"), error) from error
    if credentials:
        return _Found(endpoint, region or USUAL_REGION, credentials, source, float("inf"))
    said = "; ".join(f"{name}: {words}" for name, words in tried.items())
    return _Found(endpoint, region or USUAL_REGION, None, said, time.monotonic() + AGAIN_S)


def _credentials(session: Any, tried: dict[str, str]) -> Any:
    """Return credentials of the first source that has any; None when none has.

    One that is set up but fails raises what botocore says of it, and is not passed over.

    Args:
        session: botocore's.
        tried: Receives each source, and what it said; the last one is that which has them, or failed.
    """
    profile = f"profile {session.get_config_variable('profile') or 'default'}"
    for provider in session.get_component("credential_provider").providers:
        name = _SOURCES.get(provider.METHOD, profile)
        tried[name] = tried.pop(name, "not there")
        if provider.METHOD == "iam-role":
            tried[name] = _silence(session) or "has no role"
            if tried[name] != "has no role":
                return None
        if credentials := provider.load():
            return credentials
    return None


def _unusable(name: str, error: Exception) -> StorageError:
    return StorageError(
        "There are no credentials for the store",
        where=name,
        found=" ".join(str(error).split())[:300],
        fix="Mend this source of credentials, or take away what sets it up: none is passed over without a word.",
    )


def _silence(session: Any) -> str | None:
    """Return why the metadata service says nothing; None when somebody listens there.

    botocore asks it twice and does not say what went wrong.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return "switched off by AWS_EC2_METADATA_DISABLED"
    usual = "http://[fd00:ec2::254]" if _metadata_mode(session) == "ipv6" else f"http://{_METADATA[0]}"
    place = urlsplit(session.get_config_variable("ec2_metadata_service_endpoint") or usual)
    try:
        socket.create_connection((place.hostname or "", place.port or 80), timeout=METADATA_S).close()
    except OSError as error:
        return f"no answer from {place.netloc} ({error.strerror or error})"
    return None


def _metadata_mode(session: Any) -> str:
    return (session.get_config_variable("ec2_metadata_service_endpoint_mode") or "ipv4").lower()


def _endpoint(session: Any) -> str | None:
    """Return the server's URL: of the environment, or of the profile."""
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    return (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or services.get("s3", {}).get("endpoint_url")
        or profile.get("endpoint_url")
        or None
    )
