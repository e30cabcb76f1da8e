"""What has no public door in Ray itself; every private name is in `au_dist.compat.names`."""

import ray._private.state


def draining() -> set[str]:
    """Return the ids of nodes that drain: a spot machine that is reclaimed, one that is scaled down.

    Ray Train asks in this way, too. Its public door, `ray.train.get_preemption_info`, is a barrier of all workers, and
    knows neither the driver's node nor those on which no worker is.
    """
    return set(ray._private.state.state.get_draining_nodes())
