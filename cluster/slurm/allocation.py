"""A Ray cluster on the machines of a SLURM allocation, for the length of one command.

`srun` starts a node of Ray on each machine (`au_dist.cluster.slurm.node`), and the command runs beside the head. Only
what was started here is stopped: other Rays of the same user on these machines go on, which `ray stop` would end.
"""

import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from au_dist.cluster.nodes import LOOPBACK, free_ports, log_tail, nodes_of
from au_dist.core.errors import ClusterError

#: The exit code of a command that was asked to stop and can go on.
AGAIN = 75

#: Seconds for all nodes to come; a shared file system may hand out Python slowly.
START_S = 600.0

#: Seconds for them to go.
END_S = 60.0

#: How often a job is queued again because its Ray was lost.
LOST = 3

#: What the job was asked for a task, which would leave a node of Ray with a part of its machine.
PARTS = ("SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK", "SLURM_GPUS_PER_TASK", "SLURM_EXACT", "SLURM_EXCLUSIVE")

#: What the nodes are told.
HEAD, TOKEN = "AU_DIST_RAY_HEAD", "RAY_AUTH_TOKEN"


def run(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command of au-dist on the allocation that this process is the batch script of.

    Args:
        words: The command, without ``au-dist``.
        environment: SLURM's variables, among others.

    Returns:
        Its exit code. After `AGAIN`, SLURM has been asked to run the job again.
    """
    try:
        return _run(words, environment)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - there is no other front door here
        return error.exit_code


def _run(words: Sequence[str], environment: Mapping[str, str]) -> int:
    if "SLURM_JOB_ID" not in environment:
        raise ClusterError(
            "This is no job of SLURM",
            expected="SLURM_JOB_ID",
            fix="Give it to sbatch, or use `au-dist submit --slurm`.",
        )
    job, machines = environment["SLURM_JOB_ID"], int(environment["SLURM_JOB_NUM_NODES"])
    ports, ip, token = free_ports(), own_ip(), secrets.token_hex(32)
    told = {
        **environment,
        "RAY_AUTH_MODE": "token",
        TOKEN: token,
        HEAD: " ".join(map(str, (ip, ports.head, ports.dashboard, ports.client))),
    }
    if ip == LOOPBACK and machines > 1:
        raise ClusterError(
            "This machine has no address that the others could reach", expected="one for its name", found=ip
        )
    logs = f"{environment.get('SLURM_JOB_NAME', 'au-dist')}-{job}-node-%n.log"
    with _asked() as asked, _nodes(step(machines, logs), told) as nodes:
        _await(nodes, machines, f"http://127.0.0.1:{ports.dashboard}", token, logs)
        print(f"Ray: {machines} nodes, head at {ip}:{ports.head}", flush=True)  # noqa: T201
        if asked:  # the command has not begun: it can be begun
            return _again(job, environment)
        driver = {**told, "RAY_ADDRESS": f"{ip}:{ports.head}"}
        code = _command([sys.executable, "-m", "au_dist", *words], driver, asked, nodes)
    return _again(job, environment) if code == AGAIN else code


def _again(job: str, environment: Mapping[str, str]) -> int:
    if not environment.get("AU_DIST_NO_REQUEUE"):
        print("it can go on: SLURM is asked to run the job again", flush=True)  # noqa: T201
        # One that is being cancelled is not to come back.
        subprocess.run(["scontrol", "requeue", "Incomplete", job], check=False)
    return AGAIN


def step(machines: int, logs: str) -> list[str]:
    """Return the command that starts a node of Ray on each machine, with all that the allocation has there.

    Neither a number of CPUs nor `--exclusive` is given: either would leave it with a part. A node that is lost ends no
    other.
    """
    return [
        *("srun", f"--nodes={machines}", f"--ntasks={machines}", "--ntasks-per-node=1", "--mem=0", "--export=ALL"),
        *("--cpu-bind=none", "--kill-on-bad-exit=0", f"--output={logs}"),
        *(sys.executable, "-m", "au_dist.cluster.slurm.node"),
    ]


def own_ip() -> str:
    """Return this machine's address in the network, loopback where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
    with suppress(OSError):  # without a way to the outside
        return socket.gethostbyname(socket.gethostname())
    return LOOPBACK


@contextmanager
def _asked() -> Iterator[list[int]]:
    """Yield a list of the signals that came: they are for the command, whenever it runs."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: asked.append(number))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _nodes(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the nodes, and stop them at the end."""
    own = {name: text for name, text in environment.items() if name not in PARTS}
    # In a session of its own: what is for the batch script is not for srun, which would end the nodes at once.
    with subprocess.Popen(command, env=own, start_new_session=True, stdin=subprocess.PIPE) as nodes:
        assert nodes.stdin is not None
        try:
            yield nodes
        finally:
            nodes.stdin.close()  # they end by themselves then, also where this process is killed
            try:
                nodes.wait(END_S)
            except subprocess.TimeoutExpired:
                nodes.terminate()


def _await(nodes: "subprocess.Popen[bytes]", machines: int, dashboard: str, token: str, logs: str) -> None:
    begin = time.monotonic()
    while sum(node.alive for node in nodes_of(dashboard, token)) < machines:
        late = time.monotonic() - begin > START_S
        if late or nodes.poll() is not None:
            ends = [f"{path.name}: {log_tail(path)}" for path in sorted(Path().glob(logs.replace("%n", "*")))]
            raise ClusterError(
                "Ray did not start on all machines" + (" in time" if late else ""),
                expected=f"{machines} nodes within {START_S:.0f} s",
                found=" / ".join(ends) or "no log of a node",
                fix="Python and au-dist have to be where every machine sees them.",
            )
        time.sleep(0.5)


def _command(
    command: Sequence[str], environment: Mapping[str, str], asked: list[int], nodes: "subprocess.Popen[bytes]"
) -> int:
    """Run a command and pass signals on to it; return its exit code as a shell would.

    Without a Ray it cannot go on: it is ended, and may be begun again a few times.
    """
    passed = 0
    with subprocess.Popen(command, env=environment) as process:
        while True:
            if nodes.poll() is not None and process.poll() is None:
                print("Ray has ended on the machines: see the logs of the nodes", file=sys.stderr, flush=True)  # noqa: T201
                process.kill()
                process.wait()
                return AGAIN if int(environment.get("SLURM_RESTART_COUNT") or 0) < LOST else 1
            for number in asked[passed:]:
                process.send_signal(signal.SIGTERM if number == signal.SIGUSR1 else number)
            passed = len(asked)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(0.5)
                code = code if code >= 0 else 128 - code
                # It was asked before it could listen, or while Ray listened for it.
                return AGAIN if asked and code in (signal.SIGTERM, 128 + signal.SIGTERM) else code
