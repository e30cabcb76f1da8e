"""Will a run fit on a cluster? Asked before it starts, because Ray waits without a word for CPUs that never come.

Pure arithmetic, but for `cluster_resources`. A worker, the controllers and a data task are bundles: each has to fit on
one node. CPUs are counted in ten-thousandths, as Ray does.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from au_dist.core.errors import ClusterError
from au_dist.core.nodes import has_labels, labelled, units, words
from au_dist.core.words import number_of

Resources = Mapping[str, float]
"""What a node has: `{"CPU": 8, "GPU": 1}`, and its labels (`au_dist.core.nodes`); other names are not looked at."""


@dataclass(frozen=True)
class Needs:
    """What a run asks of a cluster.

    Args:
        workers: Training processes.
        cpus_per_worker: CPUs of each.
        gpus_per_worker: GPUs of each.
        data_cpus: CPUs for reading and decoding, in tasks of one CPU at most.
        controllers_cpus: CPUs of the run's driver and controllers, which stand on one node.
        worker_labels: Labels of the nodes that may have workers; all may when empty.
        data_labels: The same of those that may read.
    """

    workers: int
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    data_cpus: float = 0.0
    controllers_cpus: float = 0.0
    worker_labels: Mapping[str, str] = field(default_factory=dict)
    data_labels: Mapping[str, str] = field(default_factory=dict)


def check_fits(needs: Needs, resources: Sequence[Resources]) -> None:
    """Refuse a run that does not fit.

    Args:
        needs: What it asks for.
        resources: What each node has, in use or not.

    Raises:
        ClusterError: It does not fit: what is asked, what there is, and how many workers would fit.
    """
    fitting = largest_fit(needs, resources)
    if fitting >= needs.workers:
        return
    raise ClusterError(
        "The run does not fit on the cluster",
        expected=_asked_for(needs),
        found=_there_is(resources),
        fix=_advice(needs, resources, fitting),
    )


def largest_fit(needs: Needs, resources: Sequence[Resources]) -> int:
    """How many workers fit beside the data tasks and the controllers, up to the number asked for.

    Args:
        needs: What is asked for.
        resources: What each node has.

    Returns:
        0 to `needs.workers`; -1 where not even data tasks and controllers fit.
    """
    tasks, task_cpu = _data_tasks(needs)
    worker_cpu, worker_gpu = units(needs.cpus_per_worker), units(needs.gpus_per_worker)
    nodes = [
        (
            units(node.get("CPU", 0)),
            units(node.get("GPU", 0)),
            has_labels(node, needs.worker_labels),
            has_labels(node, needs.data_labels),
        )
        for node in resources
    ]
    controllers = units(needs.controllers_cpus)

    def most_tasks(cpu: int, gpu: int, works: bool, reads: bool) -> list[int]:
        """On one node: the data tasks that fit beside 0, 1, 2... workers."""
        counts = []
        for workers in range(needs.workers + 1 if works else 1):
            left = cpu - workers * worker_cpu
            if left < 0 or gpu < workers * worker_gpu:
                break
            counts.append(min(tasks, left // task_cpu) if task_cpu and reads else tasks * (not task_cpu))
        return counts

    # The controllers stand on one node; nodes that are alike need to be tried once only.
    best = -1
    for home in dict.fromkeys(nodes) if controllers else [None]:
        if home is not None and home[0] < controllers:
            continue
        rest = list(nodes)
        if home is not None:
            rest.remove(home)
            rest.append((home[0] - controllers, *home[1:]))
        options = [most_tasks(*node) for node in rest]
        best = max(best, _most_workers(options, needs.workers, tasks))
    return best


def cluster_resources(autoscaling: Path | None = None) -> list[dict[str, float]]:
    """What the nodes of the cluster have; Ray must be initialised.

    Args:
        autoscaling: The `ray up` file of an autoscaled cluster, whose nodes may not all exist yet. None is the copy
            that `ray up` leaves in the home folder of the head, where there is one.

    Returns:
        Resources per living node, or per node that the autoscaler may start where those are more.
    """
    import ray

    alive = [labelled(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]]
    path = Path.home() / "ray_bootstrap_config.yaml" if autoscaling is None else autoscaling
    if autoscaling is None and not path.is_file():
        return alive
    declared = declared_resources(path)
    return declared if len(declared) > len(alive) else alive


def declared_resources(path: Path) -> list[dict[str, float]]:
    """What the nodes of a `ray up` file have when all of them have been started.

    Args:
        path: The file; its node types must state `resources`.

    Returns:
        Resources per node, the head's first; never more than the file's `max_workers` others. Where that limit bites,
        the node types that come first in the file are counted first.

    Raises:
        ClusterError: It is no such file.
    """
    import yaml

    try:
        config = yaml.safe_load(path.read_text("utf-8"))
        types = config["available_node_types"]
        head = config["head_node_type"]
        workers = [
            labelled(types[name]["resources"], types[name].get("labels", {}))
            for name in types
            if name != head
            for _ in range(types[name].get("max_workers", 0))
        ]
        first = labelled(types[head]["resources"], types[head].get("labels", {}))
        return [first, *workers[: config.get("max_workers", 2)]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            "The resources of the cluster cannot be read from its file",
            where=path,
            expected="a `ray up` file whose node types state their resources",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _data_tasks(needs: Needs) -> tuple[int, int]:
    """How many data tasks, and the units of CPU of each."""
    count = math.ceil(needs.data_cpus)
    return count, units(needs.data_cpus / count) if count else 0


def _most_workers(options: Sequence[Sequence[int]], wanted: int, tasks: int) -> int:
    """Choose a number of workers per node, so that there are most of them and all data tasks still fit.

    Args:
        options: Per node, the data tasks that fit beside 0, 1, 2... workers.
        wanted: Stop there.
        tasks: Data tasks that must fit in all.

    Returns:
        The number of workers, or -1.
    """
    # room[w]: the most data tasks that the nodes so far hold beside w workers.
    room = {0: 0}
    for option in options:
        after: dict[int, int] = {}
        for placed, held in room.items():
            for workers, more in enumerate(option):
                count = placed + workers
                if count > wanted:
                    break
                after[count] = max(after.get(count, -1), min(tasks, held + more))
        room = after
    return max((count for count, held in room.items() if held >= tasks), default=-1)


def _asked_for(needs: Needs) -> str:
    worker = f"{needs.cpus_per_worker:g} CPU" + (f" + {needs.gpus_per_worker:g} GPU" if needs.gpus_per_worker else "")
    parts = [f"{number_of(needs.workers, 'worker')} x ({worker}){words(needs.worker_labels)}"]
    if needs.data_cpus:
        parts.append(f"{needs.data_cpus:g} CPU for data{words(needs.data_labels)}")
    if needs.controllers_cpus:
        parts.append(f"{needs.controllers_cpus:g} CPU for controllers")
    cpus = needs.workers * needs.cpus_per_worker + needs.data_cpus + needs.controllers_cpus
    gpus = needs.workers * needs.gpus_per_worker
    return f"{' + '.join(parts)} = {cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")


def _there_is(resources: Sequence[Resources]) -> str:
    alike = Counter((node.get("CPU", 0), node.get("GPU", 0)) for node in resources)
    if not alike:
        return "no node at all"
    nodes = ", ".join(f"{count} x ({cpu:g} CPU, {gpu:g} GPU)" for (cpu, gpu), count in alike.items())
    cpus = sum(node.get("CPU", 0) for node in resources)
    gpus = sum(node.get("GPU", 0) for node in resources)
    return f"{number_of(len(resources), 'node')}: {nodes}, {cpus:g} CPU and {gpus:g} GPU in all"


def _advice(needs: Needs, resources: Sequence[Resources], fitting: int) -> str:
    if fitting > 0:
        return (
            f"At most {number_of(fitting, 'worker')} would fit, each whole on one node: ask for that many, or add nodes"
        )
    bare = Needs(1, needs.cpus_per_worker, needs.gpus_per_worker, worker_labels=needs.worker_labels)
    if largest_fit(bare, resources) < 1:
        return "No worker fits, as no single node has what one needs: ask for less per worker, or for larger nodes"
    return "No worker fits beside the CPUs for data and controllers: ask for less of those, or add nodes"
