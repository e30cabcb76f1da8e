"""`ray_config.yaml` is a file that `ray up` takes, and a safe one."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from au_dist.cluster.packing import refuse_secrets
from au_dist.cluster.preflight import Needs, check_fits, declared_resources

PATH = Path(__file__).resolve().parents[2] / "ray_config.yaml"
CONFIG = yaml.safe_load(PATH.read_text())
START = [*CONFIG["head_start_ray_commands"], *CONFIG["worker_start_ray_commands"]]


def validate(config: dict[str, Any]) -> None:
    # Private, and the only place where Ray checks such a file without a cloud: in a test it may break with a release.
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(config)))


def test_ray_accepts_it() -> None:
    validate(CONFIG)


@pytest.mark.parametrize("fault", [{"clusters": 1}, {"max_workers": "many"}, {"head_node_type": "nobody"}])
def test_ray_would_not_accept_anything(fault: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"clusters|many|head_node_type"):
        validate({**CONFIG, **fault})


def test_token_authentication_is_on_wherever_ray_starts() -> None:
    starting = [command for command in START if "ray start" in command]
    assert len(starting) == 2
    for command in starting:
        assert re.search(r"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=(\S+) ray start", command)
        path = command.split("RAY_AUTH_TOKEN_PATH=")[1].split()[0]
        assert path in CONFIG["file_mounts"], "the token has to get there as a file"


def test_the_dashboard_stays_on_loopback() -> None:
    head = next(command for command in START if "--head" in command)
    assert re.findall(r"--dashboard-host=(\S+)", head) == ["127.0.0.1"]


def test_it_holds_no_credential() -> None:
    refuse_secrets([], {}, {}, {"ray_config.yaml": PATH.read_bytes()}, {})


def test_every_node_type_states_what_the_preflight_counts() -> None:
    nodes = declared_resources(PATH)
    assert len(nodes) == 1 + CONFIG["max_workers"]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    check_fits(Needs(workers=gpus, cpus_per_worker=4, gpus_per_worker=1, data_cpus=8, controllers_cpus=1), nodes)
