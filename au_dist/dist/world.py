"""Who am I among the workers."""

from collections.abc import Callable
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

    def own_rows(
        self, draw: Callable[[tuple[int, ...]], torch.Tensor], rows: int, views: int, lanes: int
    ) -> torch.Tensor:
        """Draw for the rows of a contrast set on all workers, and return those of this one: N draw what one draws.

        Args:
            draw: Maps a shape of four dimensions to a tensor that begins with it; on all workers to the same one.
            rows: Rows of this worker, of view after view.
            views: How many views there are.
            lanes: Lanes that a contrast set is dealt from; workers take them in turn (`data.order.lanes_of`).

        Returns:
            [rows, ...].
        """
        mine = lanes // self.size
        return draw((views, mine, self.size, rows // views // mine))[:, :, self.rank].flatten(0, 2)
