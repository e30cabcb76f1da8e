"""A folder with the user's own `cluster.py`, `tuning.py`, `numpy.py` and `ray.py` breaks nothing.

Runs and campaigns are started in one by `tests/runs/test_asked_to_stop.py` and `tests/tuning/test_run.py`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(sys.executable).with_name("au-dist"))


@pytest.mark.parametrize("command", [[SCRIPT], [sys.executable, "-m", "au_dist"]], ids=["script", "module"])
def test_help_answers(own_folder, monkeypatch, command):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=own_folder)
    assert "was imported" not in done.stdout + done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    assert "Distributed training" in done.stdout
