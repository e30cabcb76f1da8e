"""From the rows of a row group to what a batch needs of each clip: chosen frames, their labels, their draws."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from au_dist.config import Labels, Views
from au_dist.data.labels import known
from au_dist.data.views import choose_frames, choose_run, draw_views, no_view

#: What is read of a row.
COLUMNS = ["clip_id", "number", "jpeg", "label", "valid", "intensity"]


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


def take(table: pa.Table, rows: np.ndarray, copies: np.ndarray, epoch: int, reading: Reading) -> pa.Table:
    """Return what an epoch takes of some rows of a row group; only that travels to the training workers.

    Args:
        table: The row group, with `COLUMNS`.
        rows: The rows that are drawn, in any order, also repeatedly.
        copies: How often the epoch drew each of them before.
        epoch: The epoch.
        reading: What is taken of each clip.

    Returns:
        A row a draw: ``clip_id``, ``epoch``, ``index`` (of the frames in the clip), ``frame`` (their JPEGs), and as raw
        bytes ``y`` [F, A] and ``draw`` [V, F, P] (float32) and ``valid`` [F, A] (bool).
    """
    whole = list(_plain(table))
    parts = [_taken(whole[row], int(copy), epoch, reading) for row, copy in zip(rows, copies, strict=True)]
    jpeg = table["jpeg"].combine_chunks()
    begins = jpeg.offsets.to_numpy()[rows]
    places = np.concatenate([begin + part["index"] for begin, part in zip(begins, parts, strict=True)])
    ends = np.cumsum([0, *(len(part["index"]) for part in parts)])
    frame = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), jpeg.values.take(pa.array(places)))
    raw = {name: pa.array([part[name].tobytes() for part in parts], pa.binary()) for name in ("y", "valid", "draw")}
    return pa.table(
        {
            "clip_id": table["clip_id"].combine_chunks().take(pa.array(rows)),
            "epoch": pa.array([epoch] * len(parts), pa.int32()),
            "index": pa.array([part["index"] for part in parts], pa.list_(pa.int32())),
            "frame": frame,
            **raw,
        }
    )


def _plain(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows without their pictures, lists as arrays that share the table's memory."""
    names = table["clip_id"].to_pylist()
    lists = {}
    for column in ("number", "label", "valid", "intensity"):
        array = table[column].combine_chunks()
        lists[column] = array.offsets.to_numpy(), array.values.to_numpy(zero_copy_only=False)
    for row, name in enumerate(names):
        yield {"clip_id": name, **{c: values[ends[row] : ends[row + 1]] for c, (ends, values) in lists.items()}}


def _taken(row: dict[str, Any], copy: int, epoch: int, reading: Reading) -> dict[str, np.ndarray]:
    """Return the indices of the frames that are taken of a row, their labels and their draws."""
    # A clip that an epoch draws again has frames and views of its own.
    turn = f"{epoch}/{copy}" if copy else epoch
    y_TA, valid_TA = known(row, reading.columns, reading.aus, reading.labels, intensities=reading.intensities)
    index = _choose(row["clip_id"], turn, valid_TA, reading)
    draws = [draw_views(reading.draws, reading.seed, turn, row["clip_id"], v, len(index)) for v in range(reading.views)]
    return {
        "index": index,
        "y": y_TA[index],
        "valid": valid_TA[index],
        "draw": np.stack(draws or [np.tile(no_view(), (len(index), 1))]),
    }


def _choose(clip_id: str, turn: int | str, valid_TA: np.ndarray, reading: Reading) -> np.ndarray:
    """Return the indices of the frames that are taken of a clip."""
    address, frames = (reading.seed, turn, clip_id), len(valid_TA)
    labelled = np.flatnonzero(valid_TA.any(1))
    if reading.run:
        needed = labelled if reading.intensities else labelled[:0]
        return choose_run(*address, frames, reading.frames, needed)
    if reading.labels.share == 1 or not len(labelled):
        return choose_frames(*address, frames, reading.frames)
    # Few frames have a label: only those teach anything. Where there are fewer than asked for, they are repeated.
    return np.resize(labelled[choose_frames(*address, len(labelled), reading.frames)], min(reading.frames, frames))
