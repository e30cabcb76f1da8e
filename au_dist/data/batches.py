"""From rows to batches: putting lanes together, decoding, views."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from queue import Full, Queue
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from au_dist.config import Labels, Views
from au_dist.data.labels import known
from au_dist.data.views import apply_views, choose_frames, choose_run, draw_views, no_view
from au_dist.errors import ShardError, TrainError


@dataclass(frozen=True)
class Batch:
    """One rank's part of a contrast set.

    Attributes:
        clip_ids: The clips.
        epochs: The epoch each clip belongs to.
        frame_BCHW: Decoded frames, uint8, ``clips * frames`` of them, those of a clip together.
        draw_VBP: Draws of the views, float32.
        y_BA: Occurrence, float32 in {0, 1}, or intensity, 0 to 5.
        valid_BA: Whether `y_BA` is known and within the label budget.
    """

    clip_ids: tuple[str, ...]
    epochs: tuple[int, ...]
    frame_BCHW: torch.Tensor
    draw_VBP: torch.Tensor
    y_BA: torch.Tensor
    valid_BA: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        moved = (t.pin_memory().to(device, non_blocking=True) for t in self._tensors())
        return Batch(self.clip_ids, self.epochs, *moved)

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.frame_BCHW, self.draw_VBP, self.y_BA, self.valid_BA

    def views(self, size: int) -> tuple[torch.Tensor, ...]:
        """Return the views as network input, each float32 [B, 3, size, size]."""
        return tuple(apply_views(self.frame_BCHW, draw_BP, size) for draw_BP in self.draw_VBP)


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


def decode(jpeg: bytes, where: str) -> np.ndarray:
    """Return a JPEG as RGB, uint8 [H, W, 3].

    Raises:
        ShardError: The bytes are not a JPEG.
    """
    try:
        return simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    except ValueError as error:
        raise ShardError("A frame does not decode", where=where, found=str(error)) from error


@dataclass(frozen=True)
class Reading:
    """What is taken of each clip.

    Attributes:
        seed: The run's seed.
        columns: Label columns of the action units to train on.
        aus: Label columns of the set.
        frames: Frames of each clip.
        run: They follow each other; otherwise they are spread over the clip.
        intensities: Labels are intensities, not occurrence; a run then has a labelled frame where the clip has one.
        labels: The label budget.
        views: Number of random views; 0 gives one plain view.
        draws: How far views differ.
    """

    seed: int
    columns: list[int]
    aus: int
    frames: int
    run: bool
    intensities: bool
    labels: Labels
    views: int
    draws: Views


def make_batch(rows: list[dict[str, Any]], reading: Reading, pool: Executor) -> Batch:
    """Decode rows and draw their views.

    Args:
        rows: Clips.
        reading: What is taken of them.
        pool: Threads to decode in.
    """
    labels = [known(row, reading.columns, reading.aus, reading.labels, intensities=reading.intensities) for row in rows]
    chosen = [_choose(row, valid, reading) for row, (_, valid) in zip(rows, labels, strict=True)]
    jobs = [
        (row["jpeg"][frame], f"{row['clip_id']} frame {frame}")
        for row, frames in zip(rows, chosen, strict=True)
        for frame in frames
    ]
    frame_BHWC = np.stack(list(pool.map(lambda job: decode(*job), jobs)))
    y_BA, valid_BA = (
        np.concatenate([both[part][frames] for both, frames in zip(labels, chosen, strict=True)]) for part in (0, 1)
    )
    drawn = [
        np.concatenate(
            [
                draw_views(reading.draws, reading.seed, turn(row), row["clip_id"], view, len(frames))
                for row, frames in zip(rows, chosen, strict=True)
            ]
        )
        for view in range(reading.views)
    ] or [np.tile(no_view(), (len(jobs), 1))]
    return Batch(
        clip_ids=tuple(row["clip_id"] for row in rows),
        epochs=tuple(row["epoch"] for row in rows),
        frame_BCHW=torch.from_numpy(frame_BHWC).permute(0, 3, 1, 2),
        draw_VBP=torch.from_numpy(np.stack(drawn)),
        y_BA=torch.from_numpy(y_BA),
        valid_BA=torch.from_numpy(valid_BA),
    )


def turn(row: dict[str, Any]) -> int | str:
    """Return the address of a draw of a clip: its epoch, and which of the epoch's draws of the clip it is."""
    return f"{row['epoch']}/{row['copy']}" if row["copy"] else row["epoch"]


def _choose(row: dict[str, Any], valid_TA: np.ndarray, reading: Reading) -> np.ndarray:
    """Return the indices of the frames that are taken of a row."""
    address, frames = (reading.seed, turn(row), row["clip_id"]), len(valid_TA)
    labelled = np.flatnonzero(valid_TA.any(1))
    if reading.run:
        needed = labelled if reading.intensities else labelled[:0]
        return choose_run(*address, frames, reading.frames, needed)
    if reading.labels.share == 1 or not len(labelled):
        return choose_frames(*address, frames, reading.frames)
    # Few frames have a label: only those teach anything. Where there are fewer than asked for, they are repeated.
    return np.resize(labelled[choose_frames(*address, len(labelled), reading.frames)], min(reading.frames, frames))


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
