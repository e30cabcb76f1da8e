"""From rows to batches: putting lanes together, decoding, views."""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import Full, Queue
from threading import Event, Thread

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from au_dist.core.errors import TrainError
from au_dist.data.decode import Decode
from au_dist.data.draws import DRAWS
from au_dist.data.jpeg import GREY
from au_dist.data.views import apply_views


@dataclass(frozen=True)
class ClipBatch:
    """One rank's part of a contrast set.

    Attributes:
        clip_ids: The clips.
        epochs: The epoch each clip belongs to.
        frame_BCHW: Decoded frames, uint8, ``clips * frames`` of them, those of a clip together.
        draw_VBP: Draws of the views, float32.
        y_BA: Occurrence, float32 in {0, 1}, or intensity, 0 to 5.
        valid_BA: Whether `y_BA` is known and within the label budget; False where a clip does not decode. Where no
            labels are read, one column that says whether it does.
        faults: Frames that do not decode, and why.
    """

    clip_ids: tuple[str, ...]
    epochs: tuple[int, ...]
    frame_BCHW: torch.Tensor
    draw_VBP: torch.Tensor
    y_BA: torch.Tensor
    valid_BA: torch.Tensor
    faults: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "ClipBatch":
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        return replace(
            self,
            frame_BCHW=_moved(self.frame_BCHW, device),
            draw_VBP=_moved(self.draw_VBP, device),
            y_BA=_moved(self.y_BA, device),
            valid_BA=_moved(self.valid_BA, device),
        )

    def views(self, size: int) -> tuple[torch.Tensor, ...]:
        """Return the views as network input, each float32 [B, 3, size, size]."""
        return tuple(apply_views(self.frame_BCHW, draw_BP, size) for draw_BP in self.draw_VBP)


def _moved(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    return x if x.device.type == device.type else x.pin_memory().to(device, non_blocking=True)


def interleave_lanes(
    tables: Iterator[pa.Table], lanes: tuple[int, ...], position: int, take: int
) -> Iterator[pa.Table]:
    """Put the rows of several lanes together: each result has `take` rows of every lane.

    Args:
        tables: Rows with columns ``lane`` and ``position``; each lane's rows in order.
        lanes: The lanes of this rank.
        position: The position that each lane must start at.
        take: Rows of a lane in one result.

    Raises:
        TrainError: Rows are missing, repeated or of another start: the pipeline broke the order.
    """
    waiting = {lane: Waiting(lane, position) for lane in lanes}
    for table in tables:
        for part in _by_lane(table):
            lane = part["lane"][0].as_py()
            if lane not in waiting:
                raise _broken(f"lanes {lanes}", "a lane of this rank", f"lane {lane}")
            waiting[lane].add(part)
        while all(some.count >= take for some in waiting.values()):
            yield pa.concat_tables([part for lane in lanes for part in waiting[lane].pop(take)])


class Waiting:
    """Rows of a lane that have arrived.

    Args:
        lane: The lane.
        position: The position that it starts at.
    """

    def __init__(self, lane: int, position: int) -> None:
        self.lane, self.position, self.count = lane, position, 0
        self.parts: deque[pa.Table] = deque()

    def add(self, rows: pa.Table) -> None:
        """Add rows; their positions must go on where the last ones ended."""
        positions = rows["position"].to_numpy()
        wrong = np.flatnonzero(positions != np.arange(self.position, self.position + len(positions)))
        if len(wrong):
            raise _broken(f"lane {self.lane}", f"position {self.position + wrong[0]}", str(positions[wrong[0]]))
        self.position += len(positions)
        self.count += len(positions)
        self.parts.append(rows)

    def pop(self, take: int) -> Iterator[pa.Table]:
        """Remove the first rows and yield them in parts."""
        self.count -= take
        while take:
            part = self.parts.popleft()
            if part.num_rows > take:
                self.parts.appendleft(part.slice(take))
                part = part.slice(0, take)
            take -= part.num_rows
            yield part


def _broken(where: str, expected: str, found: str) -> TrainError:
    return TrainError("The data pipeline broke the order of a lane", where=where, expected=expected, found=found)


def _by_lane(table: pa.Table) -> Iterator[pa.Table]:
    """Cut a table where the lane changes."""
    borders = np.flatnonzero(np.diff(table["lane"].to_numpy())) + 1
    for start, stop in itertools.pairwise((0, *borders, table.num_rows)):
        yield table.slice(start, stop - start)


def make_batch(rows: pa.Table, num_aus: int, decode: Decode) -> ClipBatch:
    """Decode rows as `au_dist.data.rows.take_clips` made them.

    A clip of which a frame does not decode keeps its place, grey and without a known label, so that every rank has
    equally many; no loss learns from it.

    Args:
        rows: Clips.
        num_aus: Number of action units, A.
        decode: Makes frames of bytes.
    """
    clip_ids, index_B = rows["clip_id"].to_pylist(), pc.list_flatten(rows["index"]).to_pylist()
    frame_BCHW, faults = decode(pc.list_flatten(rows["frame"]).to_pylist())
    frames = len(index_B) // len(clip_ids)
    whole_B = np.ones(len(index_B), bool)
    for place in faults:
        clip = slice(place // frames * frames, (place // frames + 1) * frames)
        whole_B[clip] = False
        frame_BCHW[clip] = GREY
    y_BA, valid_BA = (
        _raw(rows[name], kind).reshape(len(index_B), num_aus) for name, kind in (("y", np.float32), ("valid", bool))
    )
    draw_RVFP = _raw(rows["draw"], np.float32).reshape(len(clip_ids), -1, frames, len(DRAWS))
    return ClipBatch(
        clip_ids=tuple(clip_ids),
        epochs=tuple(rows["epoch"].to_pylist()),
        frame_BCHW=frame_BCHW,
        draw_VBP=torch.from_numpy(draw_RVFP).transpose(0, 1).flatten(1, 2).contiguous(),
        y_BA=torch.from_numpy(y_BA),
        valid_BA=torch.from_numpy((valid_BA if num_aus else np.ones((len(index_B), 1), bool)) & whole_B[:, None]),
        faults=tuple(
            f"{clip_ids[place // frames]} frame {index_B[place]}: {fault}" for place, fault in sorted(faults.items())
        ),
    )


def _raw(column: pa.ChunkedArray, kind: type) -> np.ndarray:
    """Return the numbers whose bytes a column holds."""
    return np.frombuffer(bytearray(b"".join(column.to_pylist())), kind)


class BackgroundPrefetcher(Iterator[ClipBatch]):
    """Batches that a thread makes ahead, from the moment this is made; its errors are raised where they are read.

    Args:
        items: Makes the batches.
        depth: How many may wait.
    """

    def __init__(self, items: Iterator[ClipBatch], depth: int) -> None:
        self._ready: Queue[ClipBatch | BaseException] = Queue(depth)
        self._stopped = Event()
        Thread(target=self._work, args=(items,), name="batches", daemon=True).start()

    def __next__(self) -> ClipBatch:
        item = self._ready.get()
        if isinstance(item, BaseException):
            self._ready.put(item)
            raise item
        return item

    def close(self) -> None:
        """Stop making batches."""
        self._stopped.set()

    def _work(self, items: Iterator[ClipBatch]) -> None:
        try:
            for item in items:
                self._put(item)
                if self._stopped.is_set():
                    return
            self._put(StopIteration())
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            self._put(error)

    def _put(self, item: ClipBatch | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                return self._ready.put(item, timeout=0.2)
            except Full:
                continue
