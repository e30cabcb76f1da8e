"""The private names of Ray and DeepSpeed that are used are where they were, and take what they took."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from au_dist.compat.deepspeed import load_deepspeed
from au_dist.compat.names import PRIVATE_NAMES
from au_dist.runs.session import ENVIRONMENT

ROOT = Path(__file__).parents[2]


def found(name):
    module, _, path = name.partition(":")
    thing = load_deepspeed().ops if module == "deepspeed.ops" else importlib.import_module(module)
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("private", PRIVATE_NAMES, ids=lambda private: private.name.partition(":")[2])
def test_a_private_name_is_where_it_was(private):
    words = f"This release has moved {private.name}. It {private.why}. It would be replaced by {private.instead}."
    try:
        thing = found(private.name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{words} {error}")
    if private.takes is not None:
        assert tuple(inspect.signature(thing).parameters) == private.takes, words


def test_the_policy_hands_itself_over_by_a_name_that_the_controller_takes():
    from ray.train.v2._internal.execution.controller.controller import TrainController

    takes = inspect.signature(TrainController.__init__).parameters
    assert "scaling_policy" in takes, "Ray Train's controller takes its scaling policy by another name"


def test_the_policy_still_remembers_when_it_looked_last():
    from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy

    assert "self._latest_monitor_time" in inspect.getsource(ElasticScalingPolicy), "elastic runs would not look anew"


def test_variables_that_have_no_other_door_are_still_read():
    from ray.train.constants import RAY_TRAIN_ENABLE_STATE_TRACKING
    from ray.train.v2._internal import constants

    known = {value for name, value in vars(constants).items() if name.endswith("_ENV_VAR")}
    known.add(RAY_TRAIN_ENABLE_STATE_TRACKING)
    ours = {name for name in ENVIRONMENT if name.startswith("RAY_TRAIN_")} - {"RAY_TRAIN_V2_ENABLED"}
    assert ours <= known, f"Ray Train does not read {', '.join(sorted(ours - known))} any more"


def test_private_names_are_in_one_room():
    for path in sorted([*(ROOT / "au_dist").rglob("*.py"), *(ROOT / "cluster").rglob("*.py")]):
        if not path.is_relative_to(ROOT / "au_dist/compat"):
            text = path.read_text()
            assert not re.search(r"\b(ray|deepspeed)\b[\w.]*\._[a-z]|__compatible_ops__", text), path
