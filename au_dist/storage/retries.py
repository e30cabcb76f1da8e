"""What the failures of storage clients mean, and patience with those that pass."""

import itertools
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from au_dist.core.errors import AbsentError, AuDistError, RefusedError, StorageError, UnavailableError

_CAUSES = (
    (
        r"ExpiredToken|EXPIRED_TOKEN|RequestExpired|REQUEST_EXPIRED|token has expired",
        "the credentials have expired",
        "Renew them and run the same command again; what was done is kept.",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|INVALID_ACCESS_KEY|INVALID_SIGNATURE|SIGNATURE_DOES_NOT_MATCH"
        r"|ACCESS_DENIED|AccessDenied|\b403\b|Forbidden|INVALID_CLIENT_TOKEN"
        r"|NoCredentials|Unable to locate credentials",
        "the store refused the credentials",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may use this bucket.",
    ),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|AUTHORIZATION_HEADER_MALFORMED|IllegalLocationConstraint"
        r"|HTTP status 301|\b301\b",
        "the bucket is in another region",
        "Set AWS_REGION to the bucket's region.",
    ),
    (
        r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket does not exist|bucket .* not found",
        "the bucket does not exist",
        "Create the bucket or correct the address.",
    ),
    (
        r"NETWORK_CONNECTION|curlCode|Couldn't connect|Connection refused|timed? ?out|EndpointConnection"
        r"|Could not connect|resolve host|ConnectTimeout|FSTimeout|Cannot connect",
        "the store cannot be reached",
        "Check AWS_ENDPOINT_URL and the network, and that the store is up.",
    ),
    (
        r"SLOW_DOWN|SERVICE_UNAVAILABLE|SlowDown|INTERNAL_FAILURE|InternalError|\b(429|50[0234])\b",
        "the store is overloaded",
        "Try again later; what was done is kept.",
    ),
    (r"No space left", "the disk is full", "Free some space and run the same command again."),
    (r"PATH_NOT_FOUND|NO_SUCH_KEY|NoSuchKey|[Nn]ot found|No such file|does not exist", "it is not there", None),
)

#: Causes that are handled: what another try may mend, and what may have been asked in vain.
_KINDS: dict[str, type[StorageError]] = {
    "the store cannot be reached": UnavailableError,
    "the store is overloaded": UnavailableError,
    "the store refused the credentials": RefusedError,
    "it is not there": AbsentError,
}

#: Seconds to go on trying: longer than the restart of a store. The longest pause between two tries.
PATIENCE_S, PAUSE_S = 80.0, 8.0

Made = TypeVar("Made")


def known_failure(error: BaseException, verb: str, uri: str) -> StorageError | None:
    """Return what a storage client's error means, if that is known: credentials, network, load, space.

    Args:
        error: The client's.
        verb: What was tried.
        uri: With what.
    """
    if isinstance(error, AuDistError):
        return error if isinstance(error, StorageError) else None
    words = re.sub(r"'[^']*'", "''", words_of(error))  # a name may hold any number or word
    for pattern, cause, fix in _CAUSES:
        if re.search(pattern, words):
            kind = _KINDS.get(cause, StorageError)
            return kind(f"Cannot {verb}: {cause}", where=uri, fix=fix)
    return None


def with_retry(function: Callable[[], Made], verb: str, uri: str, patience_s: float = PATIENCE_S) -> Made:
    """Return what a function returns, tried again with growing, random pauses while the store is away or overloaded.

    The clients try a request again themselves, but not without end, nor what takes several requests.

    Args:
        function: May be called again after a failure.
        verb: What it does, for messages.
        uri: With what.
        patience_s: Seconds after the first try to begin no other.

    Raises:
        StorageError: What is known of the store's failure. Other errors of the function pass.
    """
    begun = time.monotonic()
    for attempt in itertools.count():
        try:
            return function()
        except Exception as error:
            failure = known_failure(error, verb, uri)
            if not isinstance(failure, UnavailableError) or time.monotonic() - begun > patience_s:
                if failure is None or failure is error:
                    raise
                raise failure from error
        time.sleep(random.uniform(0, min(PAUSE_S, 0.1 * 2**attempt)))
    raise AssertionError


def words_of(error: BaseException) -> str:
    """Return all that a storage client says of a failure."""
    # s3fs keeps the server's answer in the cause, and may have no words of its own.
    words = [str(part) for part in (error, error.__cause__) if part is not None and str(part) not in ("", "None")]
    return " ".join(words) or type(error).__name__
