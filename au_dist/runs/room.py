"""Whether a cluster has room for a run's workers, and what to say where it has none."""

from collections.abc import Sequence

from au_dist.core.nodes import Node, has_labels, labelled, units, words
from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import worker_counts

Nodes = Sequence[Node]


def places(recipe: Recipe, node: Node) -> int:
    """Return how many workers of a recipe a node holds."""
    workers = recipe.workers
    if not has_labels(node, workers.node_labels):
        return 0
    most = units(node.get("CPU", 0)) // units(workers.cpus)
    return min(most, units(node.get("GPU", 0)) // units(workers.gpus)) if workers.gpus else most


def holds(recipe: Recipe, nodes: Nodes, workers: int) -> bool:
    """Return whether nodes hold so many workers of a recipe, each whole on one, and the CPUs that read for them."""
    reading = workers * units(recipe.data.cpus)
    either = [node for node in nodes if places(recipe, node) or reads(recipe, node)]
    shared = _cpus(either) >= reading + workers * units(recipe.workers.cpus)
    alone = _cpus([node for node in nodes if reads(recipe, node)]) >= reading
    return shared and alone and sum(places(recipe, node) for node in nodes) >= workers


def reads(recipe: Recipe, node: Node) -> bool:
    """Return whether a node may read for a recipe's workers."""
    return has_labels(node, recipe.data.node_labels)


def needs(recipe: Recipe, workers: int) -> str:
    """Return what workers of a recipe ask for, in words."""
    gpus = f" + {recipe.workers.gpus:g} GPU" if recipe.workers.gpus else ""
    each = f"{recipe.workers.cpus:g} CPU{gpus}{words(recipe.workers.node_labels)}"
    return f"{workers} × ({each} + {recipe.data.cpus:g} CPU for data{words(recipe.data.node_labels)})"


def there_is(free: Nodes, total: Nodes) -> str:
    """Return how much of a cluster is free, in words."""
    names = ("CPU", "GPU") if any(node.get("GPU") for node in total) else ("CPU",)
    parts = [f"{_sum(free, name):g} of {_sum(total, name):g} {name}" for name in names]
    most = f", {max(node.get('CPU', 0.0) for node in free):g} CPU on one node" if len(total) > 1 and free else ""
    return f"{' and '.join(parts)} are free{most}"


def why_it_waits(recipe: Recipe) -> str | None:
    """Return why the connected cluster places no workers of this driver's run; None where it does, or nobody knows."""
    try:
        return _why_it_waits(recipe)
    except Exception:  # noqa: BLE001 - what only explains a wait ends no run
        return None


def _why_it_waits(recipe: Recipe) -> str | None:
    import ray

    from au_dist.compat.ray import coming_nodes, free_nodes, has_workers, other_jobs

    least, free = worker_counts(recipe)[0], free_nodes()
    if holds(recipe, free, least) or has_workers():
        return None
    total = [labelled(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]]
    coming = [f"{count} more nodes on their way"] if (count := coming_nodes()) else []
    beside = [f"beside this run: {'; '.join(others)}"] if (others := other_jobs()) else []
    return "; ".join([f"it needs {needs(recipe, least)}", there_is(free, total), *coming, *beside])


def _cpus(nodes: Nodes) -> int:
    return sum(units(node.get("CPU", 0)) for node in nodes)


def _sum(nodes: Nodes, name: str) -> float:
    return round(sum(node.get(name, 0.0) for node in nodes), 4)
