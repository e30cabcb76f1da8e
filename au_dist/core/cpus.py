"""How many CPUs are this process's: a scheduler may have given it some of the machine's only."""

import os


def own_cpus() -> int:
    """Return how many CPUs this process may run on."""
    # Not os.cpu_count(): in an allocation of 4 of 64 CPUs it says 64.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
