"""The size by which a loss is multiplied in fp16, so that small gradients do not vanish: a power of two that is sought.

DeepSpeed's own scalers do not serve here: with `torch_autocast` in fp16, gradients are clipped before they are scaled
back at ZeRO stages 1 to 3 (docs/decisions/0009-precision.md).
"""

from dataclasses import dataclass

#: Where the search begins, where it ends, and after how many good updates a larger size is tried.
FIRST, LARGEST, PATIENCE = 2.0**16, 2.0**24, 1000


@dataclass
class LossScale:
    """A loss scale and how it has done.

    Attributes:
        size: The factor.
        good: Updates since it last changed.
        applied: Updates that were applied at all.
    """

    size: float = FIRST
    good: int = 0
    applied: int = 0

    def note(self, finite: bool) -> None:
        """Take notice of an update: one whose gradient is not finite is left out, and halves the size."""
        if not finite:
            self.size, self.good = self.size / 2, 0
            return
        self.good, self.applied = self.good + 1, self.applied + 1
        if self.good == PATIENCE:
            self.size, self.good = min(LARGEST, self.size * 2), 0
