"""Workers on some nodes of a cluster, reading on others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from au_dist.storage.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Of its own, for the Ray of these tests has one node.
PROGRAM = """
import json, sys

import ray
from ray.cluster_utils import Cluster

from au_dist.cli.options import check_fits
from au_dist.core.errors import ClusterError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.session import ray_session
from au_dist.runs.train import train

shards, runs = sys.argv[1:]
cluster = Cluster()
first = cluster.add_node(num_cpus=2, labels={"pool": "data"})
other = cluster.add_node(num_cpus=1, labels={"pool": "train"})
names = {first.node_id: "data", other.node_id: "train"}


def recipe(name, work, read):
    return Recipe.model_validate({
        "name": name, "method": "aunce", "shards": shards, "runs": runs,
        "data": {"size": 32, "lanes": 2, "cpus": 0.5, "protocol": {"folds": 2}, "node_labels": read},
        "model": {"embed_dim": 8, "num_neighbors": 2, "bottleneck_channels": 0},
        "batch": {"clips": 4}, "optim": {"epochs": 1},
        # It fills its node: what reads has to be on the other.
        "workers": {"count": 1, "cpus": 1.0, "node_labels": work},
    })


said = {}
with ray_session(cluster.address):
    for name, read in (("there", "data"), ("nowhere", "no")):
        one = recipe(name, {"pool": "train"}, {"pool": read})
        try:
            check_fits(one)
            said[name] = train(one)["steps"]
        except ClusterError as error:
            said[name] = str(error)
    actors = ray._private.state.state.actor_table(None).values()
    workers = [actor for actor in actors if actor["ActorClassName"].endswith("RayTrainWorker")]
    said["workers"] = [names[actor["Address"]["NodeID"]] for actor in workers]
cluster.shutdown()
print(json.dumps(said))
"""


def test_workers_and_reading_have_nodes_of_their_own(tmp_path: Path, shards: Store) -> None:
    command = [sys.executable, "-c", PROGRAM, shards.uri, str(tmp_path / "runs")]
    done = subprocess.run(command, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["there"] > 0
    assert said["workers"] == ["train"]
    words = "1 worker x (1 CPU) on nodes with pool=train + 0.5 CPU for data on nodes with pool=no"
    assert words in said["nowhere"]
