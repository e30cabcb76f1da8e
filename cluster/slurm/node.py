"""A node of Ray on one machine of a SLURM allocation, as large as the share that the allocation has of it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread

from au_dist.cluster import processes
from au_dist.cluster.nodes import Ports, free_memory, listens, start_command, wait_for
from au_dist.cluster.slurm.allocation import HEAD, START_S
from au_dist.compat.ray_folder import short_folder
from au_dist.core.cpus import own_cpus

#: The part of a node's memory that its object store may take, as Ray's own rule.
STORE = 0.3

#: MB of it at least; Ray refuses less than 75 MiB.
LEAST_STORE = 80


def cpus(environment: Mapping[str, str]) -> int:
    """Return the CPUs of this machine that are the allocation's, whether or not SLURM binds processes to them."""
    return min(own_cpus(), int(environment.get("SLURM_CPUS_ON_NODE") or own_cpus()))


def gpus(environment: Mapping[str, str]) -> int:
    """Return how many GPUs SLURM has given to the allocation here; those that it has not given are not used."""
    named = environment.get("CUDA_VISIBLE_DEVICES") if environment.get("SLURM_JOB_GPUS") else None
    return len([one for one in (named or "").split(",") if one])


def memory_mb(environment: Mapping[str, str], own_cpus: int, free: int) -> int:
    """Return the memory in MB that the allocation has here: what was asked for, else what is free."""
    each = (("SLURM_MEM_PER_NODE", 1), ("SLURM_MEM_PER_CPU", own_cpus), ("SLURM_MEM_PER_GPU", gpus(environment)))
    for name, times in each:
        if asked := int(environment.get(name) or 0) * times:
            return min(asked, free // 1_000_000)
    return free // 1_000_000


def main() -> int:
    """Run the node until it is asked to end."""
    ip, *numbers = os.environ[HEAD].split()
    ports, head = Ports(*map(int, numbers)), os.environ["SLURM_NODEID"] == "0"
    if not head:
        wait_for(lambda: listens(ports.head, ip), "a head", {}, START_S)
    count = cpus(os.environ)
    memory = memory_mb(os.environ, count, free_memory())
    store = max(LEAST_STORE, min(int(STORE * memory), shutil.disk_usage("/dev/shm").free // 1_250_000))
    temp = Path(tempfile.mkdtemp(prefix=f"aud-s{os.environ['SLURM_JOB_ID']}-", dir=short_folder()))
    command = start_command(
        head=head,
        ports=ports,
        dashboard_host="127.0.0.1",
        cpus=count,
        gpus=gpus(os.environ),
        memory_mb=memory - store,
        object_store_mb=store,
        temp=temp,
        head_ip=ip,
    )
    name = f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ['SLURM_NODEID']}"
    kept = {key: text for key, text in os.environ.items() if key != "RAY_ADDRESS"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ended = Event()
    Thread(target=_until_the_end, args=(ended,), daemon=True).start()
    try:
        with subprocess.Popen(command, env={**kept, processes.MARKER: name}, cwd=temp, start_new_session=True) as node:
            leader = processes.leader_of(node.pid)
            try:
                while node.poll() is None and not ended.wait(0.5):
                    pass
                return 0 if ended.is_set() else node.returncode
            finally:
                processes.stop([leader] if leader else [], name)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _until_the_end(ended: Event) -> None:
    """Wait until the batch script closes its end of our input, or is no more."""
    while os.read(0, 4096):  # not by sys.stdin, whose lock would be held at our own end
        pass
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
