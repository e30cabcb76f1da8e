"""How many trials fit on a cluster at once: computed, because Ray waits without a word for CPUs that never come.

A trial is a process that only waits (it asks for no CPU), a group of training workers, and the tasks of Ray Data that
read for them. Workers are placed whole on one node and stay; tasks come and go, so their share may lie anywhere, but
one of them must always find room.
"""

from au_dist.config.sections import READING_TASKS
from au_dist.core.errors import ClusterError
from au_dist.core.nodes import units
from au_dist.recipes.recipe import Recipe
from au_dist.runs.room import Nodes, holds, places, reads
from au_dist.train.plan import worker_counts


def trials_at_once(recipe: Recipe, nodes: Nodes, limit: int) -> int:
    """Return how many trials of a recipe fit at once, at least 1.

    Args:
        recipe: The recipe that trials start from.
        nodes: What each node has, as Ray counts it: ``{"CPU": 8, "GPU": 1}``.
        limit: The largest useful number.

    Raises:
        ClusterError: Not even one fits; the message has the arithmetic.
    """
    count = next((k for k in range(limit, 0, -1) if fits(recipe, nodes, k)), 0)
    if count == 0:
        workers, most = recipe.workers, worker_counts(recipe)[-1]
        gpus = f" + {workers.gpus:g} GPU" if workers.gpus else ""
        total = most * (workers.cpus + recipe.data.cpus)
        there = ", ".join(f"{node.get('CPU', 0):g} CPU + {node.get('GPU', 0):g} GPU" for node in nodes)
        raise ClusterError(
            "Not even one trial fits on the cluster",
            expected=(
                f"room for {most} workers x ({workers.cpus:g} CPU{gpus}), each whole on one node, and "
                f"{most} x {recipe.data.cpus:g} CPU for data, {total:g} CPU in all, and for one data task "
                f"of {recipe.data.cpus / READING_TASKS:g} CPU on some node wherever the workers are"
            ),
            found=f"{len(nodes)} nodes: {there}" if nodes else "no node at all",
            fix="Lower workers.count, workers.cpus or data.cpus in the campaign's recipe, or add nodes.",
        )
    return count


def fits(recipe: Recipe, nodes: Nodes, trials: int) -> bool:
    """Return whether so many trials of a recipe fit on nodes, however Ray places their workers."""
    worker_cpu, task = units(recipe.workers.cpus), units(recipe.data.cpus / READING_TASKS)
    workers = trials * worker_counts(recipe)[-1]
    blocking, always_room = 0, False
    for node in nodes:
        cpu, most = units(node.get("CPU", 0)), places(recipe, node)
        # So many workers on this node leave no room for a task.
        needed = max(0, (cpu - task) // worker_cpu + 1) if cpu >= task and reads(recipe, node) else 0
        if needed > most:
            always_room = True
        blocking += needed
    return holds(recipe, nodes, workers) and (always_room or blocking > workers)
