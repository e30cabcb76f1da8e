"""A run that is asked to stop stores where it is; damaged checkpoints and other commands do it no harm.

The folders of its recipe are relative to the one that the command is given in, which is not that of the workers.
"""

import json
import signal
import subprocess
import sys
import time

import pytest
from small_run import write_recipe

from au_dist.checks.verify_order import verify
from au_dist.runs.leases import acquire
from au_dist.storage.store import open_store
from au_dist.train import checkpoint

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def run(own_folder):
    return open_store(own_folder / "runs" / "run")


def start(folder):
    write_recipe(folder, checkpoint={"every_steps": 20, "last_k": 3, "ledger": True}, workers={"max_failures": 2})
    command = [sys.executable, "-m", "au_dist", "train", "recipe.yaml"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)


def wait_beyond(run, step, process):
    begun = time.monotonic()
    while max([0, *checkpoint.steps(run)]) <= step and process.poll() is None and time.monotonic() - begun < 120:
        time.sleep(0.05)


def test_asked_to_stop_then_damaged_then_taken_over(run, own_folder, request):
    process = start(own_folder)  # with a Ray of its own
    wait_beyond(run, 0, process)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=150)
    assert process.returncode == 75, text
    assert "was imported" not in text
    reached = checkpoint.steps(run)[-1]
    assert f"step {reached} of " in text
    assert "The same command goes on from there" in text
    assert checkpoint.state(checkpoint.newest(run)).order.contrast_sets == reached
    assert len((own_folder / "runs/run/metrics.jsonl").read_text().splitlines()) >= reached

    place = checkpoint.newest(run)
    place.write(checkpoint.OPTIMIZER, place.read(checkpoint.OPTIMIZER)[:-9])
    whole = checkpoint.steps(run)[-2]
    request.getfixturevalue("joined")
    process = start(own_folder)
    wait_beyond(run, reached, process)
    acquire(run)
    text, _ = process.communicate(timeout=150)
    assert process.returncode == 2, text
    assert f"step-{reached:08d}/optimizer.safetensors" in text
    assert f"step {whole:>6}  going on from here" in text
    assert "Another command has taken over this run" in text
    assert "Traceback" not in text
    assert verify(run).faults == []
    done = checkpoint.latest_valid(run)[0]
    rows = [json.loads(line) for line in run.read("metrics.jsonl").decode().splitlines()]
    assert [row["step"] for row in rows if "lr" in row][: checkpoint.state(done).step] == list(
        range(1, checkpoint.state(done).step + 1)
    )
