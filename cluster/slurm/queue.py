"""The way into SLURM's queue."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from au_dist.core.errors import ClusterError

#: The batch script.
SCRIPT = Path(__file__).with_name("au-dist.sbatch")


def sbatch(name: str, options: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the command that queues a command of au-dist.

    Args:
        name: Name of the job, and of its logs.
        options: Options of sbatch, which go before those of the script.
        words: The command, without ``au-dist``.
    """
    return ["sbatch", f"--job-name={name}", *options, str(SCRIPT), *words]


def queue(command: Sequence[str]) -> str:
    """Give a command of `sbatch` to SLURM, with this Python; return the job's number.

    Raises:
        ClusterError: There is no SLURM here, or it does not take the job.
    """
    if shutil.which(command[0]) is None:
        raise ClusterError("There is no SLURM here", expected="the command sbatch", fix="Go to a login node of it.")
    environment = {**os.environ, "AU_DIST_PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not (number := re.search(r"Submitted batch job (\d+)", done.stdout)):
        found = " ".join((done.stderr or done.stdout).split())
        raise ClusterError("SLURM does not take the job", found=found or f"exit code {done.returncode}")
    return number[1]
