"""What a run tolerates, up to a share: contrast sets whose loss is not finite, clips that do not decode."""

from collections import deque

from au_dist.core.errors import TrainError
from au_dist.core.words import first_few
from au_dist.data.batches import ClipBatch
from au_dist.dist.collectives import all_gather_objects
from au_dist.dist.world import World

#: Contrast sets over which is counted.
WINDOW = 100


class ErrorBudget:
    """Counts over the last `WINDOW` contrast sets; all ranks know the same.

    Args:
        skip: Share of them that may be skipped because their loss is not finite.
        unreadable: Share of their clips that may not decode.
        contrast: Clips of each.
    """

    def __init__(self, skip: float, unreadable: float, contrast: int) -> None:
        self.skip, self.unreadable, self.contrast = skip, unreadable, contrast
        self.lost, self.faulty = (deque[tuple[str, ...]](maxlen=WINDOW) for _ in range(2))

    def note(
        self, batch: ClipBatch, broken: bool, damaged: bool, world: World
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Note a contrast set; return its clips if it has no loss, and the faults of its frames, of all ranks.

        Args:
            batch: This rank's part.
            broken: The loss of some rank is not finite; all ranks say the same.
            damaged: Some clip of some rank does not decode; all ranks say the same.
            world: This process among the workers.
        """
        self.lost.append(_joined(batch.clip_ids, world) if broken else ())
        self.faulty.append(_joined(batch.faults, world) if damaged else ())
        return self.lost[-1], self.faulty[-1]

    def check(self, step: int, rate: float) -> None:
        """Stop the run when there was too much of either.

        Raises:
            TrainError: There was.
        """
        self._check_clips(step)
        sets = [clips for clips in self.lost if clips]
        if len(sets) <= self.skip * WINDOW:
            return
        clips = sorted(set().union(*sets))
        raise TrainError(
            "The loss is not finite",
            where=f"step {step}, learning rate {rate:.2g}",
            expected=f"at most {self.skip:.0%} of {WINDOW} contrast sets in a row to be skipped (optim.skip)",
            found=f"{len(sets)}; clips {first_few(clips, 8)}",
            fix="Lower optim.lr, set optim.grad_clip, or look at the clips (`skipped_clips` in metrics.jsonl); the "
            "last checkpoint is intact.",
        )

    def _check_clips(self, step: int) -> None:
        clips = sum(len({fault.rpartition(" frame ")[0] for fault in faults}) for faults in self.faulty)
        if clips <= self.unreadable * WINDOW * self.contrast:
            return
        example = next(faults[-1] for faults in reversed(self.faulty) if faults)
        raise TrainError(
            "Too many clips do not decode",
            where=f"step {step}",
            expected=f"at most {self.unreadable:.3g} of the clips of {WINDOW} contrast sets (data.unreadable)",
            found=f"{clips} of {WINDOW * self.contrast}, e.g. {example}",
            fix="`au-dist doctor` checks the whole set; `unreadable` in metrics.jsonl lists them. The last checkpoint "
            "is intact.",
        )


def _joined(names: tuple[str, ...], world: World) -> tuple[str, ...]:
    """Return names of all ranks."""
    return tuple(sorted(name for part in all_gather_objects(names, world) for name in part))
