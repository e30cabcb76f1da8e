"""A folder for Ray's sockets, whose paths may have 107 bytes: a scheduler's temporary folder is often too long."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

from au_dist.core.errors import ClusterError

#: Characters; below it a session's sockets need about 70.
LONGEST = 30

#: Where to go instead, the first that there is.
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def short_folder() -> str:
    """Return a folder that Ray can use: the usual temporary one, or where that is too long or not there, another.

    Raises:
        ClusterError: None may be written to.
    """
    usual = _usual()
    for folder in (usual, *_SHORT):
        if len(os.fsencode(folder)) <= LONGEST and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ClusterError(
        "There is no folder for Ray's sockets",
        where=usual,
        expected=f"a folder of at most {LONGEST} characters that may be written to, here or one of {', '.join(_SHORT)}",
        fix="Set RAY_TMPDIR to one.",
    )


def use_short_folder() -> None:
    """Have a Ray that starts in this process use a short folder; one that is not the usual goes with the process."""
    folder = short_folder()
    if folder != _usual():
        os.environ["RAY_TMPDIR"] = _own(folder)


def _usual() -> str:
    """Return where Ray would go."""
    return next((text for name in ("RAY_TMPDIR", "TMPDIR") if (text := os.environ.get(name))), "/tmp")


@functools.cache
def _own(parent: str) -> str:
    folder = tempfile.mkdtemp(prefix="aud-", dir=parent)
    atexit.register(shutil.rmtree, Path(folder), ignore_errors=True)
    return folder
