"""Workers load torch before they agree on a port, which nobody else may take while they do."""

import sys
from typing import Any

import pytest
import ray

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
