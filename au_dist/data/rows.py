"""From the rows of a row group to what a batch needs of each clip: chosen frames, their labels, their draws."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from au_dist.config.sections import Labels, Views
from au_dist.data.draws import DRAWS, choose_frames, choose_run, draw_views, no_view
from au_dist.data.labels import known

#: What is read of a row.
COLUMNS = ["clip_id", "number", "jpeg", "label", "valid", "intensity"]


@dataclass(frozen=True)
class Reading:
    """What is taken of each clip.

    Attributes:
        seed: The run's seed.
        columns: Label columns of the action units to train on.
        num_columns: Label columns of the set.
        frames: Frames of each clip.
        run: They follow each other; otherwise they are spread over the clip.
        intensities: Labels are intensities, not occurrence; a run then has a labelled frame where the clip has one.
        labels: The label budget.
        views: Number of random views; 0 gives one plain view.
        draws: How far views differ.
    """

    seed: int
    columns: list[int]
    num_columns: int
    frames: int
    run: bool
    intensities: bool
    labels: Labels
    views: int
    draws: Views


def take_clips(table: pa.Table, rows: np.ndarray, copies: np.ndarray, epoch: int, reading: Reading) -> pa.Table:
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
    names = table["clip_id"].combine_chunks().take(pa.array(rows))
    # A clip that an epoch draws again has frames and views of its own.
    turns = [f"{epoch}/{copy}" if copy else str(epoch) for copy in copies]
    clips = list(zip(turns, names.to_pylist(), strict=True))
    y_CTA, valid_CTA = (np.stack(part)[rows] for part in zip(*_labels(table, reading), strict=True))
    index_CF = _choose(clips, valid_CTA.any(2), reading)
    frames = index_CF.shape[1]
    draw_CVFP = np.broadcast_to(no_view(), (len(rows), 1, frames, len(DRAWS)))
    if reading.views:
        draw_CVFP = draw_views(reading.draws, reading.seed, clips, reading.views, frames)
    jpeg = table["jpeg"].combine_chunks()
    places = jpeg.offsets.to_numpy()[rows][:, None] + index_CF
    ends = np.arange(0, places.size + 1, frames)
    this = np.arange(len(rows))[:, None]
    raw = {"y": y_CTA[this, index_CF], "valid": valid_CTA[this, index_CF], "draw": draw_CVFP}
    return pa.table(
        {
            "clip_id": names,
            "epoch": pa.array([epoch] * len(rows), pa.int32()),
            "index": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(index_CF.ravel(), pa.int32())),
            "frame": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), jpeg.values.take(pa.array(places.ravel()))),
            **{name: pa.array([part.tobytes() for part in parts], pa.binary()) for name, parts in raw.items()},
        }
    )


def _labels(table: pa.Table, reading: Reading) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the labels of each row and what is known of them."""
    for row in _plain(table):
        yield known(row, reading.columns, reading.num_columns, reading.labels, intensities=reading.intensities)


def _plain(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows without their pictures, lists as arrays that share the table's memory."""
    names = table["clip_id"].to_pylist()
    lists = {}
    for column in ("number", "label", "valid", "intensity"):
        array = table[column].combine_chunks()
        lists[column] = array.offsets.to_numpy(), array.values.to_numpy(zero_copy_only=False)
    for row, name in enumerate(names):
        yield {"clip_id": name, **{c: values[ends[row] : ends[row + 1]] for c, (ends, values) in lists.items()}}


def _choose(clips: list[tuple[str, str]], labelled_CT: np.ndarray, reading: Reading) -> np.ndarray:
    """Return the indices of the frames that are taken of clips, int [C, F]."""
    if reading.run:
        needed_CT = labelled_CT if reading.intensities else np.zeros_like(labelled_CT)
        return choose_run(reading.seed, clips, needed_CT, reading.frames)
    # Where few frames have a label, only those teach anything.
    among_CT = np.ones_like(labelled_CT) if reading.labels.share == 1 else labelled_CT
    return choose_frames(reading.seed, clips, among_CT, reading.frames)
