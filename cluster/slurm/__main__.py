"""What the batch script of an allocation runs: a Ray on all of its machines, one command, and the end of that Ray."""

import os
import sys

from au_dist.cluster.slurm.allocation import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ))
