"""What has no public door in Ray itself; every private name is in `au_dist.compat.names`."""

import json
from collections import Counter
from collections.abc import Mapping

import ray._private.state
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.experimental.internal_kv import _internal_kv_get

from au_dist.core.nodes import has_labels, labelled

#: Seconds after which a machine that an autoscaler started, and that has not come, is waited for no longer.
COMING_S = 1800.0


def draining() -> set[str]:
    """Return the ids of nodes that drain: a spot machine that is reclaimed, one that is scaled down.

    Ray Train asks in this way, too. Its public door, `ray.train.get_preemption_info`, is a barrier of all workers, and
    knows neither the driver's node nor those on which no worker is.
    """
    return set(ray._private.state.state.get_draining_nodes())


def free_nodes() -> list[dict[str, float]]:
    """Return what is free on each node, with its labels, without those that drain."""
    gone, labels = draining(), {node["NodeID"]: node["Labels"] for node in ray.nodes()}
    free = ray._private.state.state.available_resources_per_node()
    return [labelled(amounts, labels.get(node, {})) for node, amounts in free.items() if node not in gone]


def nodes_with(labels: Mapping[str, str]) -> set[str]:
    """Return the ids of nodes that have all of some labels."""
    return {node["NodeID"] for node in ray.nodes() if has_labels(labelled({}, node["Labels"]), labels)}


def has_workers() -> bool:
    """Return whether this job has workers of Ray Train, or has been given their place."""
    state, mine = ray._private.state.state, ray.get_runtime_context().get_job_id()
    actors = state.actor_table(None, ray.JobID.from_hex(mine), None).values()
    return any(actor["ActorClassName"].endswith("RayTrainWorker") and actor["State"] != "DEAD" for actor in actors)


def coming_nodes() -> int:
    """Return how many nodes an autoscaler is starting, or has asked for; 0 where there is none, or nobody says."""
    try:
        return _coming_nodes()
    except Exception:  # noqa: BLE001 - a cluster too busy to answer, another release's words: no run is lost for that
        return 0


def _coming_nodes() -> int:
    if text := _internal_kv_get("__autoscaling_status"):  # of `ray up`
        report = json.loads(text).get("autoscaler_report", {})
        return len(report.get("pending_nodes", [])) + sum(report.get("pending_launches", {}).values())
    status = get_cluster_status(ray.get_runtime_context().gcs_address)  # of Kubernetes
    return len(status.pending_nodes) + sum(launch.count for launch in status.pending_launches)


def driver_is_gone() -> bool:
    """Return whether the driver of this job has ended: Ray is about to kill all that belongs to it."""
    mine = ray.get_runtime_context().get_job_id()
    return any(job["IsDead"] for job in ray._private.state.state.job_table() if job["JobID"] == mine)


def other_jobs() -> list[str]:
    """Return the jobs that live on the cluster beside this one, each with its driver and its processes, in words."""
    state, mine = ray._private.state.state, ray.get_runtime_context().get_job_id()
    living: dict[str, Counter[str]] = {}
    for actor in state.actor_table(None, None, "ALIVE").values():
        living.setdefault(actor["JobID"], Counter())[actor["ActorClassName"].rpartition(".")[2]] += 1
    found = []
    for job in state.job_table():
        if job["IsDead"] or job["JobID"] == mine:
            continue
        actors = living.get(job["JobID"], Counter()).most_common(3)
        what = f", {', '.join(f'{count} {name}' for name, count in actors)}" if actors else ""
        found.append(f"job {job['JobID']} (process {job['DriverPid']} on {job['DriverIPAddress']}{what})")
    return found
