"""The order of training data: a pure function of (row groups, seed, epoch, position).

Each epoch permutes the row groups and lays their clips end to end; that line is cut into ``lanes`` segments whose
lengths differ by at most one clip, the longer ones rotating over epochs. Within a lane, slices of
``shuffle_row_groups`` row groups form a block whose clips are shuffled together. A contrast set takes the same number
of clips from every lane; rank r of W reads the lanes l with l % W == r. So which clips form a global step does not
depend on the number of workers, an epoch is a permutation of the clips, epochs follow each other without a gap, and a
position is reached without replaying what came before it.

With weights an epoch is a permutation of as many draws as the weights add up to. They are taken by systematic sampling:
the weights are added up, and where the sums pass a whole number plus an offset that belongs to the epoch, the clip is
drawn. So every epoch has equally many draws, and a clip of weight w is among them floor(w) or ceil(w) times, w on
average.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from au_dist.core.errors import RecipeError
from au_dist.core.seeds import rng


@dataclass(frozen=True)
class RowGroupRef:
    """A row group of the training subjects: index of its shard, index within the shard, clips."""

    shard: int
    group: int
    clips: int


@dataclass(frozen=True, eq=False)
class RowGroupSlice:
    """Draws ``start`` to ``stop`` of a row group in an epoch.

    Attributes:
        group: The row group.
        start: The first.
        stop: After the last.
        copies: How often the epoch draws each of the group's rows; None where each is drawn once.
    """

    group: RowGroupRef
    start: int
    stop: int
    copies: np.ndarray | None = None

    def rows(self) -> np.ndarray:
        """Return the row of each draw; draws of one row stand together."""
        if self.copies is None:
            return np.arange(self.start, self.stop)
        return np.repeat(np.arange(len(self.copies)), self.copies)[self.start : self.stop]

    def repeats(self) -> np.ndarray:
        """Return how often each draw's row was drawn before in the epoch."""
        if self.copies is None:
            return np.zeros(self.stop - self.start, int)
        whole = np.concatenate([np.arange(count) for count in self.copies])
        return whole[self.start : self.stop]


class Block(NamedTuple):
    """Clips that are shuffled together; five numbers, from which their order makes the rest.

    Attributes:
        lane: The lane.
        epoch: The epoch.
        number: Number of the block within the lane's share of the epoch.
        position: Position of its first clip in the lane's stream, counted over all epochs.
        clips: How many they are.
    """

    lane: int
    epoch: int
    number: int
    position: int
    clips: int


@dataclass(frozen=True, eq=False)
class Order:
    """The order of one run.

    Attributes:
        groups: Row groups of the training subjects.
        seed: The run's seed.
        lanes: Number of lanes L.
        shuffle_row_groups: Row groups in a block.
        weights: How often an epoch draws each clip on average, clips of a group together; each once when None.
    """

    groups: tuple[RowGroupRef, ...]
    seed: int
    lanes: int
    shuffle_row_groups: int
    weights: np.ndarray | None = None

    @functools.cached_property
    def clips(self) -> int:
        """Clips drawn in an epoch."""
        if self.weights is None:
            return sum(group.clips for group in self.groups)
        return round(float(self.weights.sum()))

    @functools.cached_property
    def _cumulative_weights(self) -> np.ndarray:
        """The weights of the clips added up; the last sum is `clips`."""
        assert self.weights is not None
        ends = np.cumsum(self.weights)
        ends *= self.clips / ends[-1]
        # A sum's last digits must not decide whether there is one draw more.
        ends[np.flatnonzero(self.weights)[-1] :] = self.clips
        return ends

    def copies(self, epoch: int) -> np.ndarray:
        """Return how often an epoch draws each clip."""
        if self.weights is None:
            return np.ones(self.clips, int)
        offset = rng(self.seed, "comb", epoch).random()  # the address is part of every order since
        return np.diff(np.floor(self._cumulative_weights + offset).astype(int), prepend=0)

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
        first, stop, share = self._share(lane, epoch)
        begins = np.maximum(first, _laid(self, epoch).edges[share.start : share.stop : self.shuffle_row_groups])
        positions = (begins + self.before(lane, epoch) - first).tolist()
        sizes = np.diff(begins, append=stop).tolist()
        return [
            Block(lane, epoch, number, position, size)
            for number, (position, size) in enumerate(zip(positions, sizes, strict=True))
        ]

    def slices(self, block: Block) -> list[RowGroupSlice]:
        """Return what to read of a block, in this order."""
        line = _laid(self, block.epoch)
        first, stop, share = self._share(block.lane, block.epoch)
        slices = []
        for place in share[block.number * self.shuffle_row_groups :][: self.shuffle_row_groups]:
            group, begin, end = (int(x) for x in (line.groups[place], line.edges[place], line.edges[place + 1]))
            copies = None if line.copies is None else line.copies[self._edges[group] : self._edges[group + 1]]
            slices.append(RowGroupSlice(self.groups[group], max(first, begin) - begin, min(stop, end) - begin, copies))
        return slices

    def permutation(self, block: Block) -> np.ndarray:
        """Return the order within a block: its row k is row ``permutation[k]`` of the slices laid end to end."""
        return rng(self.seed, "mix", block.epoch, block.lane, block.number).permutation(block.clips)

    @functools.cached_property
    def _edges(self) -> np.ndarray:
        """Where the clips of each row group begin among those of all, and where the last ends."""
        return np.cumsum([0, *(group.clips for group in self.groups)])

    def _share(self, lane: int, epoch: int) -> tuple[int, int, range]:
        """Return where a lane's share of an epoch's line begins and ends, and which row groups lie there."""
        first = sum(self._length(other, epoch) for other in range(lane))
        stop = first + self._length(lane, epoch)
        if first == stop:
            return first, stop, range(0)
        edges = _laid(self, epoch).edges
        begin, last = (int(np.searchsorted(edges, at, side="right")) - 1 for at in (first, stop - 1))
        return first, stop, range(begin, last + 1)

    def _length(self, lane: int, epoch: int) -> int:
        return self.before(lane, epoch + 1) - self.before(lane, epoch)

    def stream(self, lanes: Sequence[int], start: int, stop: int) -> Iterator[Block]:
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
                if block.position < stop and block.position + block.clips > start:
                    yield block
            for lane in open_lanes:
                epochs[lane] += epochs[lane] == epoch


class _Line(NamedTuple):
    """An epoch's draws end to end.

    Attributes:
        groups: The row groups that are drawn from, by index.
        edges: Where each begins, and where the last ends.
        copies: How often each clip is drawn; None where each is drawn once.
    """

    groups: np.ndarray
    edges: np.ndarray
    copies: np.ndarray | None


@functools.lru_cache(maxsize=4)
def _laid(order: Order, epoch: int) -> _Line:
    """Return an epoch's row groups in their order."""
    groups = rng(order.seed, "order", epoch).permutation(len(order.groups))
    copies = None if order.weights is None else order.copies(epoch)
    drawn = np.diff(order._edges if copies is None else np.concatenate([[0], np.cumsum(copies)])[order._edges])
    groups = groups[drawn[groups] > 0]
    return _Line(groups, np.concatenate([[0], np.cumsum(drawn[groups])]), copies)


def fitting(least: int, most: int, lanes: int) -> list[int]:
    """Return the numbers of workers, within limits, that share the lanes evenly."""
    return [count for count in range(max(1, least), min(most, lanes) + 1) if lanes % count == 0]


def lanes_of(rank: int, world: int, lanes: int) -> tuple[int, ...]:
    """Return the lanes that a rank reads.

    Raises:
        RecipeError: The number of workers does not divide the number of lanes.
    """
    if lanes % world:
        raise RecipeError(
            "This number of workers cannot share the lanes evenly",
            where=f"workers.count={world}, data.lanes={lanes}",
            expected=f"one of {', '.join(map(str, fitting(1, lanes, lanes)))} workers",
            fix="Choose such a number, or another data.lanes before the run starts.",
        )
    return tuple(range(rank, lanes, world))
