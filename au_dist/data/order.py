"""The order of training data: a pure function of (row groups, seed, epoch, position).

Each epoch permutes the row groups and lays their clips end to end; that line is cut into ``lanes`` segments whose
lengths differ by at most one clip, the longer ones rotating over epochs. Within a lane, runs of ``mix`` row groups
form a block whose clips are shuffled together. A contrast set takes the same number of clips from every lane; rank r
of W reads the lanes l with l % W == r. So which clips form a global step does not depend on the number of workers,
an epoch is a permutation of the clips, epochs follow each other without a gap, and a position is reached without
replaying what came before it.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from au_dist.errors import RecipeError
from au_dist.seeds import rng


@dataclass(frozen=True)
class Group:
    """A row group of the training subjects: index of its shard, index within the shard, clips."""

    shard: int
    group: int
    clips: int


@dataclass(frozen=True)
class Piece:
    """Rows ``start`` to ``stop`` of a row group."""

    group: Group
    start: int
    stop: int


@dataclass(frozen=True)
class Block:
    """Clips that are shuffled together.

    Attributes:
        lane: The lane.
        epoch: The epoch.
        index: Index of the block within the lane's share of the epoch.
        position: Position of its first clip in the lane's stream, counted over all epochs.
        pieces: What to read, in this order.
        permutation: Row k of the block is row ``permutation[k]`` of the pieces laid end to end.
    """

    lane: int
    epoch: int
    index: int
    position: int
    pieces: tuple[Piece, ...]
    permutation: np.ndarray


@dataclass(frozen=True)
class Order:
    """The order of one run.

    Attributes:
        groups: Row groups of the training subjects.
        seed: The run's seed.
        lanes: Number of lanes L.
        mix: Row groups in a block.
    """

    groups: tuple[Group, ...]
    seed: int
    lanes: int
    mix: int

    @functools.cached_property
    def clips(self) -> int:
        """Clips in an epoch."""
        return sum(group.clips for group in self.groups)

    def before(self, lane: int, epoch: int) -> int:
        """Return how many clips of a lane's stream come before an epoch, in O(1)."""
        share, left = divmod(self.clips, self.lanes)
        # Every epoch has `left` clips more than the equal shares; they go round the lanes, epoch after epoch.
        return epoch * share + (epoch * left + self.lanes - 1 - lane) // self.lanes

    def epoch_at(self, lane: int, position: int) -> int:
        """Return the epoch that a position of a lane's stream belongs to."""
        epoch = max(0, position * self.lanes // self.clips - 1)
        while self.before(lane, epoch + 1) <= position:
            epoch += 1
        return epoch

    def blocks(self, lane: int, epoch: int) -> list[Block]:
        """Return the blocks of a lane's share of an epoch, in order."""
        first = sum(self._length(other, epoch) for other in range(lane))
        pieces = _cut(*_line(self, epoch), first, first + self._length(lane, epoch))
        blocks, position = [], self.before(lane, epoch)
        for index, start in enumerate(range(0, len(pieces), self.mix)):
            run = tuple(pieces[start : start + self.mix])
            size = sum(piece.stop - piece.start for piece in run)
            permutation = rng(self.seed, "mix", epoch, lane, index).permutation(size)
            blocks.append(Block(lane, epoch, index, position, run, permutation))
            position += size
        return blocks

    def _length(self, lane: int, epoch: int) -> int:
        return self.before(lane, epoch + 1) - self.before(lane, epoch)

    def stream(self, lanes: tuple[int, ...], start: int, stop: int) -> Iterator[Block]:
        """Yield the blocks that hold positions `start` to `stop` of some lanes, in the order they are needed.

        Args:
            lanes: The lanes of one rank.
            start: First position, the same in every lane.
            stop: Position after the last.
        """
        epochs = {lane: self.epoch_at(lane, start) for lane in lanes}
        while open_lanes := [lane for lane in lanes if self.before(lane, epochs[lane]) < stop]:
            # Lanes differ by one clip at most, so going epoch by epoch keeps the need order up to epoch borders.
            epoch = min(epochs[lane] for lane in open_lanes)
            ready = [block for lane in open_lanes if epochs[lane] == epoch for block in self.blocks(lane, epoch)]
            for block in sorted(ready, key=lambda block: (block.position, block.lane)):
                if block.position < stop and block.position + len(block.permutation) > start:
                    yield block
            for lane in open_lanes:
                epochs[lane] += epochs[lane] == epoch


@functools.lru_cache(maxsize=4)
def _line(order: Order, epoch: int) -> tuple[tuple[Group, ...], np.ndarray]:
    """Return the epoch's row groups in their order and the position where each ends."""
    permutation = rng(order.seed, "order", epoch).permutation(len(order.groups))
    groups = tuple(order.groups[index] for index in permutation)
    return groups, np.cumsum([group.clips for group in groups])


def _cut(groups: tuple[Group, ...], ends: np.ndarray, start: int, stop: int) -> list[Piece]:
    """Return the pieces of row groups that lie between two positions of the line."""
    pieces = []
    index = int(np.searchsorted(ends, start, side="right"))
    while start < stop:
        group, begin = groups[index], int(ends[index]) - groups[index].clips
        end = min(stop, int(ends[index]))
        pieces.append(Piece(group, start - begin, end - begin))
        start, index = end, index + 1
    return pieces


def lanes_of(rank: int, world: int, lanes: int) -> tuple[int, ...]:
    """Return the lanes that a rank reads.

    Raises:
        RecipeError: The number of workers does not divide the number of lanes.
    """
    if lanes % world:
        fitting = [count for count in range(1, lanes + 1) if lanes % count == 0]
        raise RecipeError(
            "This number of workers cannot share the lanes evenly",
            where=f"workers.count={world}, data.lanes={lanes}",
            expected=f"one of {', '.join(map(str, fitting))} workers",
            fix="Choose such a number, or another data.lanes before the run starts.",
        )
    return tuple(range(rank, lanes, world))
