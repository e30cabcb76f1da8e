"""A Ray cluster of several nodes on this machine: up, down, and how a driver reaches it.

Each node is a `ray start --block` of its own with its own short `--temp-dir`: nodes that share one lose modules of
their jobs' working directories. Ray's token authentication is always on, because the ports of Ray's own processes
listen on every interface of the machine, wherever the dashboard listens.
"""

import os
import secrets
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from au_dist.cluster import nodes as ray_nodes
from au_dist.cluster import processes
from au_dist.cluster.processes import Leader
from au_dist.cluster.record import Record, Shape, locked, read, record_path, token_path, write, write_private
from au_dist.compat.ray_folder import short_folder
from au_dist.core.errors import ClusterError

_START_TIMEOUT_S = 120.0
_MIN_OBJECT_STORE_MB = 80  # Ray refuses less than 75 MiB


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster on this machine.

    Args:
        address: host:port for `ray.init`.
        dashboard: URL of the dashboard and the job server.
        nodes: How many of its nodes are alive, the head included.
        token_path: The file with the authentication token, readable by its owner only.
        metrics: The file that tells Prometheus where the nodes offer what is measured.
    """

    address: str
    dashboard: str
    nodes: int
    token_path: Path
    metrics: Path


def home() -> Path:
    """The folder for au-dist's own state on this machine: `AU_DIST_HOME`, or `~/.au-dist`."""
    person = os.path.expanduser("~")  # stays as it is for a user whom the machine does not know
    return Path(os.environ.get("AU_DIST_HOME") or Path(person if os.path.isabs(person) else "/", ".au-dist"))


def default_directory() -> Path:
    """Where the local cluster keeps its token, its record and its lock."""
    return home() / "cluster"


def record_file(directory: Path | None = None) -> Path:
    """The file in which the address of the local cluster is written."""
    return record_path(default_directory() if directory is None else directory)


def up(
    nodes: int = 2,
    cpus_per_node: float = 2,
    directory: Path | None = None,
    dashboard_host: str = "127.0.0.1",
    object_store_mb: int = 200,
    gpus_per_node: int = 0,
) -> LocalCluster:
    """Start a cluster of several nodes on this machine, or return it when it runs already.

    The nodes inherit this process's environment: that is how jobs get credentials for object storage, which are
    written nowhere.

    Args:
        nodes: How many Ray nodes, the head included.
        cpus_per_node: CPUs that each node claims; a whole number, and more than the machine has is allowed.
        directory: Where token and record live; None is `default_directory()`.
        dashboard_host: The address that the dashboard and the job server listen on.
        object_store_mb: Size of each node's object store in MB.
        gpus_per_node: GPUs per node; node i sees the i-th slice of the visible ones.

    Returns:
        The cluster, every node of it alive and its job server answering.

    Raises:
        ClusterError: An argument is impossible, a cluster of another shape runs, or Ray does not start.
    """
    shape = _checked_shape(nodes, cpus_per_node, gpus_per_node, object_store_mb, dashboard_host)
    directory = default_directory() if directory is None else directory
    with locked(directory):
        record = read(directory)
        if record is not None and _head_is_alive(record):
            return _same(record, shape, directory)
        if record is not None:
            _remove(record, directory)  # what a crash or a reboot left behind
        return _start(shape, directory)


def down(directory: Path | None = None) -> int:
    """Stop the cluster of a directory, its jobs included, and wait until its processes are gone.

    Its token, its sessions and their logs are removed with it. Other Rays on this machine are left alone.

    Args:
        directory: As for `up`.

    Returns:
        How many processes were stopped; 0 when there was no cluster.

    Raises:
        ClusterError: Processes do not go, or this is one of the cluster's own jobs.
    """
    directory = default_directory() if directory is None else directory
    if not directory.is_dir():
        return 0
    with locked(directory):
        record = read(directory)
        return 0 if record is None else _remove(record, directory)


def current(directory: Path | None = None) -> LocalCluster | None:
    """The cluster of a directory if its head is alive.

    Args:
        directory: As for `up`.

    Returns:
        The cluster with the number of nodes that are alive now, or None.
    """
    directory = default_directory() if directory is None else directory
    record = read(directory)
    return _cluster(record, directory) if record is not None and _head_is_alive(record) else None


def nodes(cluster: LocalCluster) -> list[ray_nodes.NodeRow]:
    """The nodes of a running cluster, those that are gone too; none while its dashboard does not answer."""
    return ray_nodes.nodes_of(cluster.dashboard, cluster.token_path.read_text())


def environment(cluster: LocalCluster) -> dict[str, str]:
    """The environment variables with which a driver, or Ray's own commands, reach a cluster.

    To be set before `ray` is imported: Ray reads the authentication mode once. No secret is in them.

    Args:
        cluster: A running cluster.
    """
    return {
        "RAY_ADDRESS": cluster.address,
        "RAY_API_SERVER_ADDRESS": cluster.dashboard,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(cluster.token_path),
    }


def _checked_shape(nodes: int, cpus: float, gpus: int, object_store_mb: int, dashboard_host: str) -> Shape:
    if not sys.platform.startswith("linux"):
        raise ClusterError(
            "A local cluster of several nodes needs Linux", found=sys.platform, fix="Run the recipe without a cluster"
        )
    rules = (
        ("nodes", nodes, nodes >= 1, "at least 1"),
        ("CPUs per node", cpus, cpus >= 1 and cpus == int(cpus), "a whole number of at least 1, as Ray takes no other"),
        ("GPUs per node", gpus, gpus >= 0, "at least 0"),
        ("object store MB", object_store_mb, object_store_mb >= _MIN_OBJECT_STORE_MB, f">= {_MIN_OBJECT_STORE_MB}"),
    )
    for name, value, right, expected in rules:
        if not right:
            raise ClusterError("The cluster cannot have this shape", where=name, expected=expected, found=value)
    return Shape(nodes, int(cpus), gpus, object_store_mb, dashboard_host)


def _same(record: Record, shape: Shape, directory: Path) -> LocalCluster:
    running, asked = asdict(record.shape), asdict(shape)
    differ = [f"{name} = {running[name]}, not {asked[name]}" for name in asked if running[name] != asked[name]]
    cluster = _cluster(record, directory)
    if not differ and cluster.nodes < shape.nodes:
        raise ClusterError(
            "The local cluster has lost nodes",
            where=directory,
            expected=f"{shape.nodes} alive",
            found=cluster.nodes,
            fix="Stop it with `au-dist cluster down` and start it again",
        )
    if differ:
        raise ClusterError(
            "Another local cluster runs already",
            where=directory,
            found=f"one at {record.address} with {', '.join(differ)}",
            fix="Stop it with `au-dist cluster down` first, or set AU_DIST_HOME to another folder for a second one",
        )
    return cluster


def _start(shape: Shape, directory: Path) -> LocalCluster:
    devices = None
    if per_node := shape.gpus_per_node:
        devices = ray_nodes.gpu_slices(shape.nodes, per_node, ray_nodes.visible_gpus(os.environ))
    memory_mb = ray_nodes.memory_mb(shape.nodes, shape.object_store_mb, ray_nodes.free_memory())
    token = secrets.token_hex(32)
    write_private(token_path(directory), token)
    ports = ray_nodes.free_ports()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(shape.dashboard_host, shape.dashboard_host)
    record = Record(
        cluster_id=secrets.token_hex(8),
        boot_id=processes.boot_id(),
        temp=tempfile.mkdtemp(prefix="aud-", dir=short_folder()),
        address=f"127.0.0.1:{ports.head}",
        dashboard=f"http://{host}:{ports.dashboard}",
        shape=shape,
        leaders=(),
    )
    logs: dict[Path, Leader] = {}
    try:
        for index in range(shape.nodes):
            if index == 1:
                ray_nodes.wait_for(lambda: ray_nodes.listens(ports.head), "a head", logs, _START_TIMEOUT_S)
            temp = Path(record.temp) / str(index)
            temp.mkdir()
            command = ray_nodes.start_command(
                head=index == 0,
                ports=ports,
                dashboard_host=shape.dashboard_host,
                cpus=shape.cpus_per_node,
                gpus=shape.gpus_per_node,
                memory_mb=memory_mb,
                object_store_mb=shape.object_store_mb,
                temp=temp,
            )
            variables = ray_nodes.node_environment(
                os.environ,
                cluster_id=record.cluster_id,
                token_path=token_path(directory),
                devices=None if devices is None else devices[index],
            )
            write(record, directory)  # before the process: its marker finds it whatever happens next
            log = Path(record.temp) / f"node-{index}.log"
            logs[log] = ray_nodes.spawn(command, variables, folder=temp, log=log)
            record = replace(record, leaders=tuple(logs.values()))
        write(record, directory)

        def ready() -> bool:
            return sum(node.alive for node in ray_nodes.nodes_of(record.dashboard, token)) == shape.nodes

        ray_nodes.wait_for(ready, f"{shape.nodes} nodes", logs, _START_TIMEOUT_S)
    except BaseException:  # an interrupt too: nothing stays half-started
        _remove(record, directory)
        raise
    return _cluster(record, directory)


def _remove(record: Record, directory: Path) -> int:
    if os.environ.get(processes.MARKER) == record.cluster_id:
        raise ClusterError(
            "A job cannot take down the cluster it runs on", where=directory, fix="Run `au-dist cluster down` outside"
        )
    stopped = 0
    if record.boot_id == processes.boot_id():  # else its pids are other people's by now
        try:
            stopped = processes.stop(record.leaders, record.cluster_id)
        except TimeoutError as error:
            raise ClusterError("The cluster does not stop", where=directory, found=error) from error
    shutil.rmtree(record.temp, ignore_errors=True)
    token_path(directory).unlink(missing_ok=True)
    record_path(directory).unlink(missing_ok=True)
    return stopped


def _cluster(record: Record, directory: Path) -> LocalCluster:
    alive = sum(processes.is_alive(leader) for leader in record.leaders)
    metrics = Path(record.temp) / "0" / ray_nodes.METRICS
    return LocalCluster(record.address, record.dashboard, alive, token_path(directory), metrics)


def _head_is_alive(record: Record) -> bool:
    return record.boot_id == processes.boot_id() and bool(record.leaders) and processes.is_alive(record.leaders[0])
