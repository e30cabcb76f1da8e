"""The lease on a run: it is held by the command that was started last. One that was thought dead may still write."""

import json
import socket
import time
import uuid

from au_dist.core.errors import LeaseLostError
from au_dist.storage.store import Store

#: The name that runs in storage have.
LEASE = "owner.json"


def new_word() -> str:
    """Return a word that only this command knows."""
    return uuid.uuid4().hex


def acquire(run: Store, word: str | None = None) -> str:
    """Take the lease on a run from whoever holds it; return the word that it is held by, a new one if none is given."""
    word = word or new_word()
    lease = {"word": word, "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
    run.write(LEASE, json.dumps(lease, indent=1).encode())
    return word


def check_lease(run: Store, word: str, what: str = "run") -> None:
    """Check that the command that knows a word still holds the lease on a run, or on a campaign.

    Raises:
        LeaseLostError: Another command has taken it.
    """
    lease = json.loads(run.read(LEASE))
    if lease["word"] != word:
        raise LeaseLostError(
            f"Another command has taken over this {what}",
            where=run.uri,
            found=f"one on {lease['host']}, since {lease['since']}",
            fix="Let that one go on; a second one needs another name.",
        )
