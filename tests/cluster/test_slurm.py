"""A Ray inside a SLURM allocation: real daemons, two machines that are this one."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from au_dist.cli.verbs import app
from au_dist.cluster.slurm.allocation import run, step
from au_dist.cluster.slurm.node import cpus, gpus, memory_mb
from au_dist.cluster.slurm.queue import SCRIPT, queue, sbatch
from au_dist.compat.ray_folder import short_folder
from au_dist.core.cpus import own_cpus
from au_dist.core.errors import ClusterError
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint

CONFIG = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=one NodeHostname=localhost Port={one} CPUs=2 RealMemory=4000
NodeName=two NodeHostname=localhost Port={two} CPUs=2 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

RECIPE = {
    "name": "small",
    "task": "detection",
    "data": {"size": 32, "lanes": 2, "frames_per_clip": 1, "cpus": 0.1, "protocol": {"folds": 2}},
    "model": {"embed_dim": 8, "num_neighbors": 2, "bottleneck_channels": 0},
    "batch": {"clips": 4},
    "optim": {"epochs": 40},
    "checkpoint": {"ledger": True},
    "workers": {"count": 2, "cpus": 0.5},
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start SLURM with two machines, and stop it."""
    if os.geteuid() or not all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch"))):
        pytest.skip("SLURM's daemons are not here, or may not be started")
    folder = tmp_path / "slurm"
    (folder / "state").mkdir(parents=True)
    key = folder / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    ports = free(3)
    (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, port=ports[0], one=ports[1], two=ports[2]))
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge", f"--key-file={key}"]
    munge += [f"--{name}={folder}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")]
    commands = [munge, ["slurmctld", "-D"], *(["slurmd", "-D", "-N", name] for name in ("one", "two"))]
    daemons = []
    try:
        for command in commands:
            with (folder / "daemons.log").open("a") as log:
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
            if command is munge:
                until = time.monotonic() + 20
                while not (folder / "munge").exists() and time.monotonic() < until:
                    time.sleep(0.1)
        until = time.monotonic() + 60
        while asked("sinfo", "--noheader", "--states=idle", "--format=%D").strip() != "2":
            if time.monotonic() > until:
                pytest.skip(f"SLURM does not start on this machine: {(folder / 'daemons.log').read_text()[-500:]}")
            time.sleep(0.5)
        yield
        asked("scancel", "--me")
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def free(count: int) -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def waited(condition, seconds: float, what: object = "") -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what() if callable(what) else what
        time.sleep(0.2)


def au_dist(folder: Path, *words: object) -> str:
    command = [sys.executable, "-m", "au_dist", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(runs: Store) -> bytes:
    return checkpoint.find("small", "last", runs).read(checkpoint.WEIGHTS)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.slurm
def test_a_training_that_slurm_interrupts_is_the_one_that_nothing_interrupted(
    slurm: None, tmp_path: Path, shards: Store
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "shards": shards.uri, "runs": "runs"}))
    said = au_dist(folder, "submit", "--slurm", "--sbatch", "--nodes=2 --cpus-per-task=2", "recipe.yaml")
    job = said.split()[1]
    log = folder / f"small-{job}.log"

    def so_far() -> str:
        return log.read_text() if log.exists() else asked("scontrol", "show", "job", job)

    waited(lambda: "step      3" in so_far(), 120, so_far)
    asked("scancel", "--batch", "--signal=TERM", job)
    waited(lambda: "SLURM is asked to run the job again" in so_far(), 60, so_far)
    waited(lambda: "JobState=PENDING" in asked("scontrol", "show", "job", job), 60, so_far)
    # It would wait for two minutes. What SLURM signs in the second in which it queued the job again, counts as revoked.
    time.sleep(3)
    asked("scontrol", "update", f"JobId={job}", "StartTime=now")
    waited(lambda: re.search("JobState=(COMPLETED|FAILED)", asked("scontrol", "show", "job", job)), 180, so_far)
    assert so_far().count("Ray: 2 nodes") == 2
    assert "going on from here" in so_far()
    assert "JobState=COMPLETED" in asked("scontrol", "show", "job", job)
    assert not [*Path(short_folder()).glob(f"aud-s{job}-*")]

    au_dist(folder, "train", "recipe.yaml", "runs=alone")
    au_dist(folder, "verify-order", "runs/small", "--against", "alone/small")
    assert weights(open_store(folder / "runs")) == weights(open_store(folder / "alone"))


def test_a_node_is_as_large_as_its_share() -> None:
    assert cpus({}) == own_cpus()
    assert cpus({"SLURM_CPUS_ON_NODE": "1"}) == 1
    assert cpus({"SLURM_CPUS_ON_NODE": "4096"}) == own_cpus()
    assert gpus({"SLURM_JOB_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": "0,1"}) == 2
    assert gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == 0
    assert memory_mb({"SLURM_MEM_PER_NODE": "4000"}, 2, 9_000_000_000) == 4000
    assert memory_mb({"SLURM_MEM_PER_CPU": "1000"}, 2, 9_000_000_000) == 2000
    assert memory_mb({"SLURM_MEM_PER_NODE": "64000"}, 2, 9_000_000_000) == 9000
    assert memory_mb({}, 2, 9_000_000_000) == 9000
    given = {"SLURM_MEM_PER_GPU": "3000", "SLURM_JOB_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert memory_mb(given, 2, 9_000_000_000) == 6000


def test_nodes_have_all_that_the_allocation_has() -> None:
    assert {"--nodes=2", "--ntasks=2", "--output=x.log"} <= {*step(2, "x.log")}
    assert not [word for word in step(2, "x.log") if word.startswith(("--exclusive", "--cpus-per-task"))]


def test_what_is_queued_is_the_command_as_it_was_typed(tmp_path: Path) -> None:
    assert sbatch("a", ["--nodes=4"], ["train", "r.yaml"]) == [
        *("sbatch", "--job-name=a", "--nodes=4", str(SCRIPT), "train", "r.yaml")
    ]
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0


def test_what_is_no_matter_of_slurm_and_what_looks_like_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="not with --slurm"):
        app(["submit", "--slurm", "--driver-cpus", "1", "evaluate", "s3://b/a"], standalone_mode=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-from-all")
    with pytest.raises(ClusterError, match="value of AWS_SECRET_ACCESS_KEY"):
        app(["submit", "--slurm", "--print", "evaluate", "s3://b/hidden-from-all"], standalone_mode=False)


def test_without_slurm_it_is_said_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="There is no SLURM here"):
        queue(["sbatch", "x"])
    assert run(["train", "x"], {}) == 2
    assert "This is no job of SLURM" in capsys.readouterr().err
