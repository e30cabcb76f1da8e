"""From rows to batches: putting lanes together, decoding, views."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import Full, Queue
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from au_dist.data.decode import GREY, Decode
from au_dist.data.views import DRAWS, apply_views
from au_dist.errors import TrainError


@dataclass(frozen=True)
class Batch:
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

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        names = ("frame_BCHW", "draw_VBP", "y_BA", "valid_BA")
        return replace(self, **{name: _moved(getattr(self, name), device) for name in names})

    def views(self, size: int) -> tuple[torch.Tensor, ...]:
        """Return the views as network input, each float32 [B, 3, size, size]."""
        return tuple(apply_views(self.frame_BCHW, draw_BP, size) for draw_BP in self.draw_VBP)


def _moved(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    return x if x.device.type == device.type else x.pin_memory().to(device, non_blocking=True)


def deal(
    tables: Iterator[pa.Table], lanes: tuple[int, ...], position: int, take: int
) -> Iterator[list[dict[str, Any]]]:
    """Put the rows of several lanes together: each result has `take` rows of every lane.

    Args:
        tables: Rows with columns ``lane`` and ``position``; each lane's rows in order.
        lanes: The lanes of this rank.
        position: The position that each lane must start at.
        take: Rows of a lane in one result.

    Raises:
        TrainError: Rows are missing, repeated or of another start: the pipeline broke the order.
    """
    waiting: dict[int, deque[dict[str, Any]]] = {lane: deque() for lane in lanes}
    arrived = dict.fromkeys(lanes, position)
    for table in tables:
        for row in table.to_pylist():
            lane = row["lane"]
            if row["position"] != arrived.get(lane):
                raise TrainError(
                    "The data pipeline broke the order of a lane",
                    where=f"lane {lane}",
                    expected=f"position {arrived.get(lane)}",
                    found=row["position"],
                )
            arrived[lane] += 1
            waiting[lane].append(row)
        while all(len(rows) >= take for rows in waiting.values()):
            yield [waiting[lane].popleft() for lane in lanes for _ in range(take)]


def make_batch(rows: list[dict[str, Any]], aus: int, decode: Decode) -> Batch:
    """Decode rows as `au_dist.data.rows.take` made them.

    A clip of which a frame does not decode keeps its place, grey and without a known label, so that every rank has
    equally many; no loss learns from it.

    Args:
        rows: Clips.
        aus: Number of action units, A.
        decode: Makes frames of bytes.
    """
    names = [f"{row['clip_id']} frame {index}" for row in rows for index in row["index"]]
    frame_BCHW, faults = decode([jpeg for row in rows for jpeg in row["frame"]])
    frames = len(names) // len(rows)
    whole_B = np.ones(len(names), bool)
    for place in faults:
        clip = slice(place // frames * frames, (place // frames + 1) * frames)
        whole_B[clip] = False
        frame_BCHW[clip] = GREY
    y_BA, valid_BA = (
        np.concatenate([np.frombuffer(row[name], kind).reshape(frames, aus) for row in rows])
        for name, kind in (("y", np.float32), ("valid", bool))
    )
    draw_RVFP = np.stack([np.frombuffer(row["draw"], np.float32).reshape(-1, frames, len(DRAWS)) for row in rows])
    return Batch(
        clip_ids=tuple(row["clip_id"] for row in rows),
        epochs=tuple(row["epoch"] for row in rows),
        frame_BCHW=frame_BCHW,
        draw_VBP=torch.from_numpy(draw_RVFP).transpose(0, 1).flatten(1, 2).contiguous(),
        y_BA=torch.from_numpy(y_BA),
        valid_BA=torch.from_numpy((valid_BA if aus else np.ones((len(names), 1), bool)) & whole_B[:, None]),
        faults=tuple(f"{names[place]}: {fault}" for place, fault in sorted(faults.items())),
    )


class Ahead(Iterator[Batch]):
    """Batches that a thread makes ahead, from the moment this is made; its errors are raised where they are read.

    Args:
        items: Makes the batches.
        depth: How many may wait.
    """

    def __init__(self, items: Iterator[Batch], depth: int) -> None:
        self._ready: Queue[Batch | BaseException] = Queue(depth)
        self._stopped = Event()
        Thread(target=self._work, args=(items,), name="batches", daemon=True).start()

    def __next__(self) -> Batch:
        item = self._ready.get()
        if isinstance(item, BaseException):
            self._ready.put(item)
            raise item
        return item

    def close(self) -> None:
        """Stop making batches."""
        self._stopped.set()

    def _work(self, items: Iterator[Batch]) -> None:
        try:
            for item in items:
                self._put(item)
                if self._stopped.is_set():
                    return
            self._put(StopIteration())
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            self._put(error)

    def _put(self, item: Batch | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                return self._ready.put(item, timeout=0.2)
            except Full:
                continue
