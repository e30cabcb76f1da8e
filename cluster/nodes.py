"""Start single Ray nodes on this machine, and see whether they are there."""

import http.client
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from au_dist.cluster import processes
from au_dist.cluster.processes import Leader
from au_dist.core.errors import ClusterError

_POLL_S = 0.1
_LOG_LINES = 5
LOOPBACK = "127.0.0.1"

#: What Ray's head calls the file that tells Prometheus where its nodes are, in its temporary folder.
METRICS = "prom_metrics_service_discovery.json"

#: Memory of a node that can work, in MB.
LEAST_MEMORY_MB = 500
# What would send the cluster's own processes elsewhere, or authenticate them as somebody else.
_NOT_INHERITED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN")


@dataclass(frozen=True)
class Ports:
    """TCP ports of a cluster's head."""

    head: int
    dashboard: int
    client: int


def free_ports() -> Ports:
    """Three ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(3)]  # all open at once, or the same port could come twice
    try:
        for each in sockets:
            each.bind(("", 0))
        return Ports(*(each.getsockname()[1] for each in sockets))
    finally:
        for each in sockets:
            each.close()


def gpu_slices(nodes: int, per_node: int, visible: Sequence[str]) -> list[str]:
    """Deal the visible GPUs to the nodes, so that no two nodes hand out the same one.

    Args:
        nodes: How many nodes.
        per_node: GPUs for each.
        visible: Names of the GPUs, as in `CUDA_VISIBLE_DEVICES`.

    Returns:
        A value of `CUDA_VISIBLE_DEVICES` per node.

    Raises:
        ClusterError: Fewer are visible than asked for.
    """
    wanted = nodes * per_node
    if len(visible) < wanted:
        raise ClusterError(
            "There are not enough GPUs for this cluster",
            expected=f"{nodes} nodes x {per_node} GPUs = {wanted}",
            found=f"{len(visible)}" + (f", {', '.join(visible)}" if visible else ""),
            fix="Ask for fewer; CUDA_VISIBLE_DEVICES, where it is set, names those that may be used",
        )
    return [",".join(visible[i * per_node : (i + 1) * per_node]) for i in range(nodes)]


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs that may be used: those of `CUDA_VISIBLE_DEVICES`, else all that this machine's driver lists."""
    if (named := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device for device in named.split(",") if device]
    devices = [*Path("/dev").glob("nvidia[0-9]*")] or [*Path("/proc/driver/nvidia/gpus").glob("*")]
    return [str(index) for index in range(len(devices))]


def memory_mb(nodes: int, object_store_mb: int, free: int) -> int:
    """Return the memory that each node may give away, in MB: together with the object stores, no more than is free.

    Each node of Ray would claim what is free as if it were alone.

    Args:
        nodes: How many nodes.
        object_store_mb: Size of each node's object store in MB.
        free: Bytes that are free.

    Raises:
        ClusterError: The object stores leave nothing.
    """
    each = free // 1_000_000 // nodes - object_store_mb
    if each < LEAST_MEMORY_MB:
        raise ClusterError(
            "There is not enough memory for this cluster",
            expected=f"{nodes} x ({object_store_mb} MB of object store + {LEAST_MEMORY_MB} MB)",
            found=f"{free // 1_000_000} MB free",
            fix="Ask for fewer nodes",
        )
    return each


def free_memory() -> int:
    """Return the bytes that this machine has free, or this container, whichever are fewer."""
    free, limit = psutil.virtual_memory().available, Path("/sys/fs/cgroup/memory.max")
    with suppress(OSError, ValueError):  # of no container, or without a limit
        taken = int(limit.with_name("memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)$", limit.with_name("memory.stat").read_text(), re.MULTILINE)
        free = min(free, int(limit.read_text()) - taken + int(cached[1] if cached else 0))
    return free


def start_command(
    *,
    head: bool,
    ports: Ports,
    dashboard_host: str,
    cpus: int,
    gpus: int,
    memory_mb: int,
    object_store_mb: int,
    temp: Path,
    head_ip: str = LOOPBACK,
) -> list[str]:
    """The `ray start` command of one node. The token is not on it: it travels as a file.

    Args:
        head: Whether this is the head.
        ports: The head's ports.
        dashboard_host: The address that the dashboard listens on.
        cpus: CPUs that the node claims.
        gpus: GPUs that the node claims.
        memory_mb: Memory that the node claims, in MB.
        object_store_mb: Size of the object store in MB.
        temp: The node's own folder; short, for the sockets below it may have paths of 107 bytes at most.
        head_ip: Where the head is; all nodes are on this machine when it is loopback.
    """
    if head:
        place = [
            "--head",
            f"--port={ports.head}",
            f"--dashboard-host={dashboard_host}",
            f"--dashboard-port={ports.dashboard}",
            f"--ray-client-server-port={ports.client}",
        ]
    else:
        place = [f"--address={head_ip}:{ports.head}"]
    if head or head_ip == LOOPBACK:
        place.append(f"--node-ip-address={head_ip}")
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
        *place,
        "--dashboard-agent-listen-port=0",  # the default is one fixed port: a second node could not have it
        f"--num-cpus={cpus}",
        f"--num-gpus={gpus}",
        f"--memory={memory_mb * 1_000_000}",
        f"--object-store-memory={object_store_mb * 1_000_000}",
        f"--temp-dir={temp}",
    ]


def node_environment(
    inherited: Mapping[str, str], *, cluster_id: str, token_path: Path, devices: str | None
) -> dict[str, str]:
    """The environment of a node's processes, and so of its workers and of jobs' entry points.

    Args:
        inherited: The caller's environment.
        cluster_id: Marks every process of the cluster.
        token_path: The token's file.
        devices: `CUDA_VISIBLE_DEVICES` of this node, or None to leave it alone.
    """
    kept = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    return {
        **kept,
        **({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}),
        processes.MARKER: cluster_id,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def spawn(command: list[str], environment: Mapping[str, str], *, folder: Path, log: Path) -> Leader:
    """Start a process that outlives this one, in a session of its own.

    Args:
        command: Program and arguments.
        environment: Its whole environment.
        folder: Its working directory: never the caller's, whose modules would shadow those of Ray.
        log: Where its output goes.

    Returns:
        Its identity.
    """
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Not subprocess.Popen: an object that must be kept, and waited for, by somebody who wants to end before the child.
    pid = os.posix_spawnp(
        "env",
        ["env", f"--chdir={folder}", *command],
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), write, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    leader = processes.leader_of(pid)
    if leader is None:
        raise ClusterError("A node of the cluster ended at once", where=log, found=log_tail(log))
    return leader


def wait_for(condition: Callable[[], bool], what: str, leaders: Mapping[Path, Leader], timeout_s: float) -> None:
    """Wait until a condition holds, as long as every node lives.

    Args:
        condition: Asked ten times a second.
        what: What is waited for, for the error.
        leaders: Each node's process under its log file.
        timeout_s: When to give up, in seconds.

    Raises:
        ClusterError: A node died, with the end of its log; or the time is over.
    """
    begin = time.monotonic()
    while not condition():
        for log, leader in leaders.items():
            if not processes.is_alive(leader):
                raise ClusterError("A node of the cluster did not start", found=log_tail(log))
        if time.monotonic() - begin > timeout_s:
            raise ClusterError(
                "The cluster does not start",
                expected=f"{what} within {timeout_s:.0f} s",
                found=" / ".join(log_tail(log) for log in leaders),
                fix="Is the machine overloaded, or out of memory?",
            )
        time.sleep(_POLL_S)


def log_tail(log: Path) -> str:
    """The last lines of a log, in one line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-_LOG_LINES:]) or "an empty log"


def listens(port: int, ip: str = LOOPBACK) -> bool:
    """Whether something accepts connections on a port, of this machine if no other is named."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((ip, port)) == 0


@dataclass(frozen=True)
class NodeRow:
    """A node as the dashboard of its cluster has it.

    Attributes:
        name: Its id, shortened; the head is named as such.
        alive: Whether it is.
        cpus: CPUs that it has.
        gpus: GPUs that it has.
        memory: Bytes that it may give away.
    """

    name: str
    alive: bool
    cpus: float
    gpus: float
    memory: float


def nodes_of(dashboard: str, token: str) -> list[NodeRow]:
    """Return the nodes of a cluster, the head first, those that are gone too; none while its dashboard does not answer.

    Args:
        dashboard: Its URL.
        token: The authentication token.
    """
    place = urlsplit(dashboard)
    # http.client, not urllib or requests: those would ask a proxy of the environment for 127.0.0.1.
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=5.0)
    try:
        connection.request("GET", "/api/v0/nodes?detail=1", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        if answer.status != 200:
            return []
        nodes = json.loads(answer.read())["data"]["result"]["result"]
    except (OSError, http.client.HTTPException):
        return []
    finally:
        connection.close()
    return sorted(map(_row, nodes), key=lambda row: (row.name != "head", row.name))


def _row(node: Mapping[str, Any]) -> NodeRow:
    has = node.get("resources_total") or {}
    name = "head" if node.get("is_head_node") else str(node["node_id"])[:8]
    return NodeRow(name, node["state"] == "ALIVE", *(float(has.get(what, 0)) for what in ("CPU", "GPU", "memory")))
