"""Which command a run belongs to: the one that was started last. One that was thought dead may still write."""

import json
import socket
import time
import uuid

from au_dist.core.errors import TakenOverError
from au_dist.storage.store import Store

OWNER = "owner.json"


def take_over(run: Store) -> str:
    """Make a run this command's own; return a word that only it knows."""
    word = uuid.uuid4().hex
    owner = {"word": word, "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
    run.write(OWNER, json.dumps(owner, indent=1).encode())
    return word


def check_owner(run: Store, word: str) -> None:
    """Check that a run still belongs to the command that knows a word.

    Raises:
        TakenOverError: Another command has taken it over.
    """
    owner = json.loads(run.read(OWNER))
    if owner["word"] != word:
        raise TakenOverError(
            "Another command has taken over this run",
            where=run.uri,
            found=f"one on {owner['host']}, since {owner['since']}",
            fix="Let that one go on; a second one needs another name.",
        )
