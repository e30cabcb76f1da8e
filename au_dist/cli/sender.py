"""Which au-dist sent a job: another one than that of the nodes might read a recipe in another way."""

import os
from importlib.metadata import version

from au_dist.core.errors import ClusterError

#: The variable that tells a job.
SENT_BY = "AU_DIST_SENT_BY"


def sender() -> dict[str, str]:
    """Return what tells a job by whom it was sent."""
    return {SENT_BY: version("au-dist")}


def check_sender() -> None:
    """Refuse to work for another version.

    Raises:
        ClusterError: This is a job that another version sent.
    """
    theirs = os.environ.pop(SENT_BY, None)  # not for commands that this one starts
    if theirs and theirs != version("au-dist"):
        raise ClusterError(
            "The cluster has another au-dist than the one that sent this job",
            expected=f"au-dist {theirs}, as where `au-dist submit` was given",
            found=f"au-dist {version('au-dist')} on this node",
            fix="Install the same version on both.",
        )
