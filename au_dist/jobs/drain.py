"""Nodes that the cluster is about to take away."""

import ray


def draining() -> set[str]:
    """Return the ids of nodes that drain: a spot machine that is reclaimed, one that is scaled down.

    Ray has no public door to them; its own Train asks in this way.
    """
    return set(ray._private.state.state.get_draining_nodes())
