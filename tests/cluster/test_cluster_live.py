"""One real cluster of two nodes, and jobs on it."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from campaign_files import write_campaign

from au_dist.cluster import jobs, local, processes, record
from au_dist.cluster.connection import connect
from au_dist.cluster.local import LocalCluster
from au_dist.core.errors import ClusterError
from au_dist.storage.store import Store

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]

# Finds its file and its cluster, works on both nodes, and ends with a code of its own.
HELLO = """
import os, ray
print("recipe:", open("recipe.yaml").read(), flush=True)
ray.init(log_to_driver=False)

@ray.remote(num_cpus=1)
class OneOfANode:
    def where(self):
        return ray.get_runtime_context().get_node_id(), os.path.exists("recipe.yaml"), os.environ["AU_DIST_TEST_SECRET"]

actors = [OneOfANode.remote() for _ in range(2)]
answers = ray.get([actor.where.remote() for actor in actors])
print("nodes:", len({node for node, *_ in answers}), "files:", all(there for _, there, _ in answers), flush=True)
print("credentials from the cluster:", {value for *_, value in answers} == {"from-the-shell-of-up"})
raise SystemExit(7)
"""
# Leaves a process behind that has left its session, as careless programs do.
CARELESS = """
import subprocess, sys, time
nap = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
print("nap", nap.pid, flush=True)
time.sleep(300)
"""
COUNT = "import time\nfor i in range(20):\n    print('line', i, flush=True)\n    time.sleep(0.2)\n"
NODES = """
import json, ray
from au_dist.cluster.preflight import cluster_resources
ray.init(log_to_driver=False, logging_level="error")
print(json.dumps([node["CPU"] for node in cluster_resources()]))
"""
FOLLOW = (
    "import sys\nfrom au_dist.cluster.jobs import follow\nfor line in follow(sys.argv[1]):\n    print(line, flush=True)"
)


#: Longer than Ray itself waits.
STORING = """
import signal, sys, time

def asked(*_):
    time.sleep(5)
    print("stored", flush=True)
    sys.exit(75)

signal.signal(signal.SIGTERM, asked)
print("begun", flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AU_DIST_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AU_DIST_TEST_SECRET", "from-the-shell-of-up")
        for name in [*filter(lambda name: name.startswith("RAY_A"), os.environ)]:
            patch.delenv(name)
        running = local.up(nodes=2, cpus_per_node=1, object_store_mb=80)
        patch.delenv("AU_DIST_TEST_SECRET")
        try:
            yield running
        finally:
            local.down()


def python(code: str, **files: str) -> str:
    name = "program.py"
    return jobs.submit([sys.executable, name], {name: code, **files}, metadata={"kind": "test"})[0]


def line_of(job_id: str, start: str) -> str:
    for _ in range(150):
        for line in jobs.logs(job_id).splitlines():
            if line.startswith(start):
                return line
        time.sleep(0.1)
    raise AssertionError(jobs.logs(job_id))


def test_up_again_is_the_same_cluster_and_another_shape_is_refused(cluster: LocalCluster) -> None:
    assert local.up(nodes=2, cpus_per_node=1, object_store_mb=80) == cluster == local.current()
    with pytest.raises(ClusterError, match=r"nodes = 2, not 3.*cluster down"):
        local.up(nodes=3, cpus_per_node=1, object_store_mb=80)


def test_the_token_is_the_owners_and_on_no_command_line(cluster: LocalCluster) -> None:
    token = cluster.token_path.read_text()
    assert stat.S_IMODE(cluster.token_path.stat().st_mode) == 0o600
    left = record.read(local.default_directory())
    assert left is not None
    ours = processes.members(left.leaders, left.cluster_id)
    assert len(ours) > 10
    commands = [(Path("/proc") / str(pid) / "cmdline").read_text() for pid in ours]
    assert not any(token in command for command in commands)


def test_the_job_server_listens_on_loopback_only(cluster: LocalCluster) -> None:
    port = int(cluster.dashboard.rpartition(":")[2])
    tables = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = [fields[1] for fields in tables if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]


def test_without_the_token_nobody_gets_in(cluster: LocalCluster) -> None:
    stranger = cluster.dashboard.replace("127.0.0.1", "localhost")  # the same place, not known as the local cluster
    with pytest.raises(ClusterError, match="does not accept our token"):
        connect(stranger)


def test_an_address_where_nobody_listens(cluster: LocalCluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterError, match="does not answer"):
            jobs.jobs(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_no_proxy_is_asked_for_a_cluster_of_this_machine(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:  # it would never answer
        proxy.settimeout(0.0)
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        job_id = python("print('ran')")
        assert "ran" in list(jobs.follow(job_id))
        assert job_id in [row.job_id for row in jobs.jobs()]
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_job_works_on_both_nodes_and_its_code_comes_back(cluster: LocalCluster) -> None:
    job_id = python(HELLO, **{"recipe.yaml": "seed: 1"})
    lines = list(jobs.follow(job_id))
    assert "recipe: seed: 1" in lines
    assert "nodes: 2 files: True" in lines
    assert "credentials from the cluster: True" in lines
    assert jobs.exit_code(job_id) == 7
    row = next(row for row in jobs.jobs() if row.job_id == job_id)
    assert (row.status, row.exit_code, row.metadata["kind"]) == ("FAILED", 7, "test")
    assert row.started is not None
    assert row.ended is not None
    assert 0 < row.ended - row.started < 60


def test_success_is_zero(cluster: LocalCluster) -> None:
    job_id = python("print('done')")
    assert jobs.exit_code(job_id, timeout_s=30) == 0
    assert "done" in jobs.logs(job_id).splitlines()


def test_a_job_is_stopped(cluster: LocalCluster) -> None:
    job_id = python("import time; print('begun', flush=True); time.sleep(300)")
    line_of(job_id, "begun")
    with pytest.raises(ClusterError, match="has not ended"):
        jobs.exit_code(job_id, timeout_s=0)
    assert jobs.stop(job_id) is True
    assert jobs.stop(job_id) is False
    assert jobs.exit_code(job_id) == 143


def test_a_job_that_is_stopped_has_time_for_its_checkpoint(cluster: LocalCluster) -> None:
    job_id = python(STORING)
    line_of(job_id, "begun")
    assert jobs.stop(job_id) is True
    assert "stored" in jobs.logs(job_id).splitlines()


def test_an_unknown_job_is_named(cluster: LocalCluster) -> None:
    for ask in (jobs.logs, jobs.stop, jobs.exit_code, lambda name: list(jobs.follow(name))):
        with pytest.raises(ClusterError, match=r"no such job \(nobody\)"):
            ask("nobody")


def test_a_driver_outside_gets_in_with_the_environment(cluster: LocalCluster) -> None:
    environment = {**os.environ, **local.environment(cluster)}
    done = subprocess.run([sys.executable, "-c", NODES], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["cluster", "preflight", "examples/probe.yaml", "workers.count=1"], "1 worker fits"),
        (["evaluate", "nothing/here"], "There is no checkpoint here"),
        (["train", "examples/probe.yaml", "shards=nothing/here", "data.cpus=0.1"], "There are no shards here"),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_every_verb_finds_the_local_cluster(cluster: LocalCluster, words: list[str], answer: str) -> None:
    command = [sys.executable, "-m", "au_dist", *words, "--address", "local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer in done.stdout + done.stderr


def test_its_state_is_shown_and_its_memory_is_no_more_than_there_is(cluster: LocalCluster) -> None:
    job_id = python(CARELESS)
    rows = local.nodes(cluster)
    assert [(row.name == "head", row.alive, row.cpus, row.gpus) for row in rows] == [
        (True, True, 1.0, 0.0),
        (False, True, 1.0, 0.0),
    ]
    assert 0 < sum(row.memory for row in rows) < psutil.virtual_memory().total
    command = [sys.executable, "-m", "au_dist", "cluster", "status"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert cluster.address in said
    assert said.count("alive") == 2
    assert f"jobs under way: {job_id}" in said
    jobs.stop(job_id)


def test_rays_own_commands_reach_it_with_what_env_prints(cluster: LocalCluster) -> None:
    script = f'eval "$({sys.executable} -m au_dist cluster env)"; {sys.executable} -m ray.scripts.scripts status'
    said = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "0.0/2.0 CPU" in said
    assert cluster.token_path.read_text() not in said


def test_a_job_that_runs_is_found_and_one_that_has_ended_is_tried_again(cluster: LocalCluster) -> None:
    def start() -> tuple[str, bool]:
        return jobs.submit([sys.executable, "sleep.py"], {"sleep.py": "import time\ntime.sleep(60)\n"}, name="own-1a2b")

    assert start() == ("own-1a2b", True)
    assert start() == ("own-1a2b", False)
    jobs.stop("own-1a2b")
    assert start() == ("own-1a2b-2", True)
    assert start() == ("own-1a2b-2", False)
    jobs.stop("own-1a2b-2")


def test_any_verb_can_be_a_job(cluster: LocalCluster, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "au_dist", "submit", "evaluate", "nothing/here", "--checkpoint", "last"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "There is no checkpoint here" in done.stdout
    assert str(tmp_path / "nothing" / "here") in done.stdout
    rows = [row for row in jobs.jobs() if row.job_id.startswith("evaluate-here-")]
    assert [row.metadata["verb"] for row in rows] == ["evaluate"]


def test_of_a_job_that_is_no_longer_followed_it_is_said_how_it_is_followed_and_ended(cluster: LocalCluster) -> None:
    job_id = python(COUNT.replace("20", "300"))
    command = [sys.executable, "-m", "au_dist", "logs", "-f", job_id, "--address", "local"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        words = process.stderr.read()
    assert process.returncode == 130
    assert f"interrupted: job {job_id} goes on" in words
    assert f"`au-dist logs -f {job_id}`" in words
    assert f"`au-dist stop {job_id}`" in words
    assert jobs.stop(job_id)


def test_a_campaign_that_never_fits_the_local_cluster_is_refused(
    cluster: LocalCluster, shards: Store, tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path, shards.uri, recipe={"workers": {"count": 1, "cpus": 64.0}})
    command = [sys.executable, "-m", "au_dist", "tune", "run", str(campaign), "--address", "local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Not even one trial fits on the cluster" in done.stderr
    assert not (tmp_path / "campaigns").exists()


def test_a_broken_connection_repeats_and_loses_no_line(cluster: LocalCluster) -> None:
    job_id = python(COUNT)
    with Relay(int(cluster.dashboard.rpartition(":")[2])) as relay:
        environment = {**os.environ, **local.environment(cluster), "RAY_API_SERVER_ADDRESS": relay.address}
        command = [sys.executable, "-c", FOLLOW, job_id]
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            lines = []
            for line in follower.stdout:
                lines.append(line.strip())
                if line.strip() == "line 0" and not relay.cuts:
                    relay.cut()
    assert follower.returncode == 0
    assert relay.cuts > 0
    assert [line for line in lines if line.startswith("line ")] == [f"line {i}" for i in range(20)]


def test_down_leaves_no_process_and_no_file(cluster: LocalCluster) -> None:
    """The last test: it stops the cluster of the others, with a job on it."""
    job_id = python(CARELESS)
    nap = int(line_of(job_id, "nap").split()[1])
    left = record.read(local.default_directory())
    assert left is not None
    assert nap in processes.members(left.leaders, left.cluster_id)
    assert local.down() > 10
    assert processes.members(left.leaders, left.cluster_id) == set()
    assert processes.leader_of(nap) is None
    assert local.current() is None
    assert not Path(left.temp).exists()
    assert not cluster.token_path.exists()
    with pytest.raises(ClusterError, match="no cluster to talk to"):
        jobs.jobs()


class Relay:
    """Hands on TCP connections to a port of this machine, and can break all of them at once."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._port = port
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> "Relay":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in [self._server, *self._open]:
            each.close()

    def cut(self) -> None:
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
                self.cuts += 1
            except OSError:  # closed by its peer already
                continue

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pump, args=(source, sink)))
                self._threads[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
