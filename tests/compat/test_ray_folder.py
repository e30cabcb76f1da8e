"""Ray starts where its sockets' paths fit."""

import os
import tempfile
from pathlib import Path

import pytest

from au_dist.compat import ray_folder
from au_dist.compat.ray_folder import LONGEST, short_folder, use_short_folder
from au_dist.core.errors import ClusterError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def long(tmp_path):
    folder = tmp_path / ("slurm_jobdir." + "1" * 60)
    folder.mkdir()
    return folder


def test_the_usual_folder_is_kept():
    use_short_folder()
    assert short_folder() == "/tmp"
    assert os.environ["RAY_TMPDIR"] == ""


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize("kind", ["long", "absent", "bytes"])
def test_a_folder_that_does_not_do_is_left_for_a_short_one(monkeypatch, long, name, kind):
    there = {"long": long, "absent": "/no/such/folder", "bytes": Path("/tmp", "é" * 15)}[kind]
    monkeypatch.setenv(name, str(there))
    use_short_folder()
    chosen = os.environ["RAY_TMPDIR"]
    assert len(chosen) <= LONGEST
    assert Path(chosen).stat().st_mode & 0o777 == 0o700
    use_short_folder()
    assert os.environ["RAY_TMPDIR"] == chosen


def test_a_short_folder_is_taken_as_it_is(monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        assert short_folder() == folder


def test_where_there_is_none_it_is_said(monkeypatch, long):
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(ray_folder, "_SHORT", ("/no/such/folder",))
    with pytest.raises(ClusterError, match="RAY_TMPDIR"):
        short_folder()
