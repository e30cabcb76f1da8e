"""Who am I among the workers."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class World:
    """The place of this process among the training processes.

    Attributes:
        rank: From 0.
        size: How many there are.
        device: Where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_leader(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0
