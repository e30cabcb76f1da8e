"""Addresses at which there is no Ray to join."""

import tempfile
from pathlib import Path

import pytest

from au_dist.core.errors import ClusterError
from au_dist.runs.session import not_connected, ray_session


@pytest.fixture(autouse=True)
def _joined_none(monkeypatch):
    """Other tests of this process may have."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)


def test_the_file_of_the_last_cluster_is_named_where_that_is_gone(monkeypatch):
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        left = Path(folder, "ray", "ray_current_cluster")
        left.parent.mkdir()
        left.write_text("127.0.0.1:9")
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_ADDRESS", "auto")
        with pytest.raises(ClusterError, match="does not answer") as caught, ray_session():
            pass
    assert str(left) in str(caught.value)
    assert "RAY_ADDRESS" in str(caught.value)


def test_a_job_server_is_no_cluster_to_join(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(ClusterError, match=r"job server.*from RAY_ADDRESS.*au-dist submit"), ray_session():
        pass


@pytest.mark.parametrize("raised", [Exception("The current node timed out during startup."), TypeError("a fault")])
def test_a_ray_that_starts_too_slowly_is_said_and_faults_are_not_hidden(monkeypatch, raised):
    """Ray raises a bare `Exception` on a busy machine, which cannot be made so on demand."""

    def too_late(**_):
        raise raised

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", too_late)
    expected = ClusterError if type(raised) is Exception else TypeError
    with pytest.raises(expected, match=r"timed out(?s:.)*same command again|a fault"), ray_session():
        pass


def test_another_ray_is_not_taken_for_none() -> None:
    """As Ray 2.60 says it of a cluster of 2.59."""
    words = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n    Python: 3.11.7\n"
        "This process on node 10.0.0.7 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    said = str(not_connected(RuntimeError(words), "10.0.0.1:6379", False))
    assert said.startswith("The cluster runs another Ray or Python (10.0.0.1:6379). Found Version mismatch: ")
    assert "Ray: 2.59.0" in said
    assert "Ray: 2.60.0" in said
    assert "does not answer" in str(not_connected(RuntimeError("gone"), "10.0.0.1:6379", False))
