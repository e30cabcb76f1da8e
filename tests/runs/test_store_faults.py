"""A run on a store that refuses a fifth of its requests finishes; expired credentials end it, and it goes on later."""

import json
import os
import subprocess
import sys
import time

import pytest
import s3_faults
from small_run import write_recipe

from au_dist.checks.verify_order import verify
from au_dist.ingest.synthetic import ingest_synthetic
from au_dist.storage.store import open_store
from au_dist.synthetic.clips import SynthSpec
from au_dist.train import checkpoint

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow]


@pytest.fixture
def place(s3_store, monkeypatch):
    """A bucket with a set of shards, seen without the proxy."""
    for name, value in s3_store.environment.items():
        monkeypatch.setenv(name, value)
    place = open_store(f"s3://{s3_store.bucket}/faults")
    ingest_synthetic(SynthSpec(12, 1, 40, 1, size=32, stride=10), place.at("shards"))
    return place


def start(place, folder, endpoint):
    recipe = write_recipe(
        folder,
        shards=place.at("shards").uri,
        runs=place.at("runs").uri,
        batch={"clips": 8},
        optim={"epochs": 3.0},
        checkpoint={"ledger": True},
        workers={"max_failures": 0},
    )
    command = [sys.executable, "-m", "au_dist", "train", str(recipe)]
    store = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
    store["AWS_ENDPOINT_URL"] = endpoint
    # The processes of a Ray that runs already are told too how to reach the store.
    told = json.dumps({"runtime_env": {"env_vars": store}})
    environment = {**os.environ, **store, "RAY_JOB_CONFIG_JSON_ENV_VAR": told}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_refusals_are_waited_out_and_expired_credentials_are_said(joined, s3_store, place, tmp_path):
    run = place.at("runs", "run")
    with s3_faults.before(s3_store.endpoint) as (endpoint, faults):
        faults.refused = 0.2
        process = start(place, tmp_path, endpoint)
        begun = time.monotonic()
        while not checkpoint.steps(run) and process.poll() is None and time.monotonic() - begun < 120:
            time.sleep(0.1)
        faults.expired = True
        text, _ = process.communicate(timeout=180)
        assert process.returncode == 2, text
        assert "the credentials have expired" in text or "the store refused the credentials" in text
        assert "run the same command again" in text or "AWS_ACCESS_KEY_ID" in text
        assert "Traceback" not in text
        done = checkpoint.steps(run)[-1]
        faults.expired = False
        text, _ = start(place, tmp_path, endpoint).communicate(timeout=180)
        assert faults.seen["refused"] > 10
        assert faults.seen["expired"] > 0
    result = json.loads(run.read("result.json"))
    assert result["steps"] == checkpoint.steps(run)[-1] > done
    assert verify(run).faults == []
