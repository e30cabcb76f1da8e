"""Failures of storage that pass are waited out; others are said at once."""

import pytest

from au_dist.core.errors import ShardError, StorageError, UnavailableError
from au_dist.storage import retries
from au_dist.storage.retries import known_failure, with_retry

BUSY = OSError("AWS Error SLOW_DOWN during GetObject operation: Please reduce your request rate.")


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, without making them; the clock goes on by each."""
    made, clock = [], [0.0]

    def sleep(seconds):
        made.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(retries.time, "sleep", sleep)
    monkeypatch.setattr(retries.time, "monotonic", lambda: clock[0])
    return made


def failing(errors):
    left = list(errors)

    def function():
        if left:
            raise left.pop(0)
        return "done"

    return function


def test_a_store_that_is_busy_is_asked_again(pauses):
    assert with_retry(failing([BUSY] * 6), "read", "s3://b/x") == "done"
    assert len(pauses) == 6
    assert all(0 <= pause <= 0.1 * 2**index for index, pause in enumerate(pauses))
    assert len(set(pauses)) > 1  # not all clients at once


def test_patience_ends(pauses):
    with pytest.raises(UnavailableError, match=r"Cannot read: the store is overloaded \(s3://b/x\)"):
        with_retry(failing([BUSY] * 1000), "read", "s3://b/x", patience_s=30)
    assert 30 < sum(pauses) < 30 + retries.PAUSE_S
    with pytest.raises(UnavailableError):
        with_retry(failing([BUSY]), "read", "s3://b/x", patience_s=-1)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("AWS Error UNKNOWN (HTTP status 403): ExpiredToken The provided token has expired.", "have expired"),
        ("AWS Error ACCESS_DENIED during HeadObject operation", "refused the credentials"),
        ("AWS Error NO_SUCH_BUCKET", "bucket does not exist"),
        ("AWS Error UNKNOWN (HTTP status 301) during GetObject operation: No response body.", "in another region"),
        ("An error occurred (AuthorizationHeaderMalformed): expecting 'eu-west-1'", "in another region"),
        ("AWS Error REQUEST_EXPIRED during GetObject", "have expired"),
        ("Failed to open local file '/data/run-503/timeout'. Detail: [errno 2] No such file", "it is not there"),
    ],
)
def test_what_waiting_does_not_mend_is_said_at_once(pauses, text, cause):
    with pytest.raises(StorageError, match=cause) as caught:
        with_retry(failing([OSError(text)]), "read", "s3://b/x")
    assert not isinstance(caught.value, UnavailableError)
    assert not pauses


def test_other_errors_pass(pauses):
    for error in (ValueError("odd"), ShardError("A shard is missing", where="s3://b/403")):
        assert known_failure(error, "read", "x") is None
        with pytest.raises(type(error)) as caught:
            with_retry(failing([error]), "read", "x")
        assert caught.value is error
    assert not pauses
