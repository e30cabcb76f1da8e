"""A Ray of our own starts whatever the environment says of tokens, and has one that only its owner reads."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import os
from au_dist.core.errors import ClusterError
from au_dist.runs.session import ray_session
try:
    with ray_session():
        import ray
        ray.get(ray.remote(num_cpus=0.1)(lambda: 1).remote())
        path = os.environ.get("RAY_AUTH_TOKEN_PATH")
        print("ran", oct(os.stat(path).st_mode & 0o777) if path else "without a file", path)
except ClusterError as error:
    print("refused", error)
"""


def run(**environment):
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, env={**kept, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.ray
def test_a_ray_of_our_own_has_a_token_of_its_own_where_ray_asks_for_one(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    said = run(HOME=str(home), RAY_AUTH_MODE="token")
    assert said.startswith("ran 0o600")
    assert not os.path.exists(said.split()[-1])  # gone with the process
    assert list(home.iterdir()) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_token_that_is_not_there_is_said(tmp_path):
    said = run(RAY_AUTH_TOKEN_PATH=str(tmp_path / "nowhere"), RAY_AUTH_MODE="token")
    assert said.startswith("refused Ray does not accept our token")
    assert "or unset it" in said


@pytest.mark.slow
@pytest.mark.ray
def test_a_long_temporary_folder_and_no_home_are_no_hindrance(tmp_path):
    """As a scheduler gives them: `TMPDIR` of more than 60 bytes, `HOME` that is not there on this machine."""
    folder = tmp_path / ("slurm_jobdir." + "1" * 60)
    folder.mkdir()
    assert run(TMPDIR=str(folder), HOME="/no/such/home").startswith("ran")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_proxy_is_no_hindrance():
    nobody = "http://127.0.0.1:9"
    assert run(HTTP_PROXY=nobody, HTTPS_PROXY=nobody, http_proxy=nobody).startswith("ran")


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_that_others_left_behind_is_not_joined():
    """Ray would look for it at the address in this file, for ten minutes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        left = Path(folder, "ray", "ray_current_cluster")
        left.parent.mkdir()
        left.write_text("127.0.0.1:9")
        begun = time.monotonic()
        assert run(RAY_TMPDIR=folder).startswith("ran")
        assert time.monotonic() - begun < 120


@pytest.mark.slow
@pytest.mark.ray
def test_nothing_that_a_ray_of_our_own_began_is_left_behind():
    """Not even what no longer is below it, as a worker that breaks while it ends, which may compute for ever."""
    script = """
import subprocess
from au_dist.runs.session import ray_session
with ray_session():
    import ray
    begin = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    print(ray.get(ray.remote(num_cpus=0.1)(lambda: subprocess.check_output(begin, shell=True)).remote()).decode())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sleeper = int(done.stdout.split()[0])
    assert not psutil.pid_exists(sleeper) or psutil.Process(sleeper).status() == psutil.STATUS_ZOMBIE
