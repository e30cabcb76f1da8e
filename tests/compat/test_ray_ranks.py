"""Workers load torch before they agree on a port, which nobody else may take while they do."""

import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from au_dist.compat import ray_ranks
from au_dist.compat.ray_ranks import RankBackend, RankConfig


class Workers:
    """Two workers that note what they are asked to do; answers are there at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return 2

    def execute(self, work: Any) -> None:
        self.asked.append((work,))

    def execute_single(self, rank: int, work: Any) -> tuple[str, int]:
        self.asked.append((rank, work.__name__))
        return "10.0.0.1", 4321

    def execute_single_async(self, rank: int, work: Any, *arguments: Any) -> None:
        self.asked.append((rank, work, *arguments))


def test_torch_is_loaded_then_a_port_is_chosen_then_all_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get", list)
    workers = Workers()
    RankBackend().on_start(workers, RankConfig("gloo"))
    assert workers.asked == [
        (ray_ranks.load,),
        (0, "get_address_and_port"),
        (0, ray_ranks.join, "gloo", "10.0.0.1", 4321, 0, 2),
        (1, ray_ranks.join, "gloo", "10.0.0.1", 4321, 1, 2),
    ]


def test_loading_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, ray_ranks.TORCH, raising=False)
    ray_ranks.load()
    assert ray_ranks.TORCH in sys.modules


def test_only_workers_on_gpus_watch_for_collectives_that_hang() -> None:
    environment: dict[str, str] = {}
    assert ray_ranks.detect_hangs("gloo", environment) == environment == {}
    assert ray_ranks.detect_hangs("nccl", environment) == {"timeout_s": ray_ranks.NCCL_TIMEOUT_S}
    assert environment == ray_ranks.HANG_DETECTOR


def test_what_the_environment_says_of_hangs_goes_first() -> None:
    environment = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}
    ray_ranks.detect_hangs("nccl", environment)
    assert environment == {**ray_ranks.HANG_DETECTOR, "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}


@pytest.mark.slow
def test_torch_knows_what_it_is_asked_to_watch() -> None:
    libraries = Path(torch.__file__).parent.glob("lib/libtorch_c*.so")
    known = b"".join(library.read_bytes() for library in libraries if library.stat().st_size < 2**30)
    if b"TORCH_NCCL_" not in known:
        pytest.skip("a torch without NCCL")
    assert not [name for name in ray_ranks.HANG_DETECTOR if name.encode() not in known]
