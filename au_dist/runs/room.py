"""Whether a cluster has room for a run's workers, and what to say where it has none."""

from collections.abc import Mapping, Sequence

from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import worker_counts

#: Ray counts resources in ten-thousandths.
_UNIT = 10_000

Nodes = Sequence[Mapping[str, float]]


def places(recipe: Recipe, node: Mapping[str, float]) -> int:
    """Return how many workers of a recipe a node holds."""
    workers = recipe.workers
    most = units(node.get("CPU", 0)) // units(workers.cpus)
    return min(most, units(node.get("GPU", 0)) // units(workers.gpus)) if workers.gpus else most


def holds(recipe: Recipe, nodes: Nodes, workers: int) -> bool:
    """Return whether nodes hold so many workers of a recipe, each whole on one, and the CPUs that read for them."""
    cpus = sum(units(node.get("CPU", 0)) for node in nodes)
    shared = cpus >= workers * (units(recipe.workers.cpus) + units(recipe.data.cpus))
    return shared and sum(places(recipe, node) for node in nodes) >= workers


def needs(recipe: Recipe, workers: int) -> str:
    """Return what workers of a recipe ask for, in words."""
    gpus = f" + {recipe.workers.gpus:g} GPU" if recipe.workers.gpus else ""
    return f"{workers} × ({recipe.workers.cpus:g} CPU{gpus} + {recipe.data.cpus:g} CPU for data)"


def there_is(free: Nodes, total: Nodes) -> str:
    """Return how much of a cluster is free, in words."""
    names = ("CPU", "GPU") if any(node.get("GPU") for node in total) else ("CPU",)
    parts = [f"{_sum(free, name):g} of {_sum(total, name):g} {name}" for name in names]
    most = f", {max(node.get('CPU', 0.0) for node in free):g} CPU on one node" if len(total) > 1 and free else ""
    return f"{' and '.join(parts)} are free{most}"


def why_it_waits(recipe: Recipe) -> str | None:
    """Return why the connected cluster places no workers of this driver's run; None where it does, or has."""
    import ray

    from au_dist.compat.ray import coming_nodes, free_nodes, has_workers, other_jobs

    least, free = worker_counts(recipe)[0], free_nodes()
    if holds(recipe, free, least) or has_workers():
        return None
    total = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    coming = [f"{count} more nodes on their way"] if (count := coming_nodes()) else []
    beside = [f"beside this run: {'; '.join(others)}"] if (others := other_jobs()) else []
    return "; ".join([f"it needs {needs(recipe, least)}", there_is(free, total), *coming, *beside])


def units(value: float) -> int:
    """Return an amount as Ray counts it."""
    return round(value * _UNIT)


def _sum(nodes: Nodes, name: str) -> float:
    return round(sum(node.get(name, 0.0) for node in nodes), 4)
