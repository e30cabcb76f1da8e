"""The loaders that `loader.py` compares: each turns the same clips into the same batches of two views.

Every loader decodes with the same function, draws and applies the same views, and reads a warm page cache. Ours reads
Parquet shards through Ray Data; the others read the clips in the form that they are made for.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Clips of a batch, side of the network's input.
BATCH, SIZE, LANES = 64, 96, 8

#: One worker process, which lives on from epoch to epoch.
WORKERS: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}

Batches = Iterator[tuple[torch.Tensor, ...]]


class Prepare:
    """What every other loader does with a clip, in its worker process.

    Args:
        frames: Frames that are taken of each clip.
        side: Side of the stored frames in pixels.
    """

    def __init__(self, frames: int, side: int) -> None:
        self.frames, self.side = frames, side

    def __call__(self, name: str, read: Callable[[int], bytes], total: int, label: np.ndarray) -> tuple[Any, ...]:
        """Return frames, labels and the draws of two views."""
        from au_dist.config.sections import Views
        from au_dist.data.draws import choose_frames, draw_views
        from au_dist.data.jpeg import pixels

        clip = [("0", name)]
        (chosen,) = choose_frames(0, clip, np.ones((1, total), bool), self.frames)
        frame_FHWC = np.stack([pixels(read(int(frame)), self.side) for frame in chosen])
        (draw_VFP,) = draw_views(Views(), 0, clip, 2, len(chosen))
        return frame_FHWC, label[chosen].astype(np.float32), draw_VFP


def collate(clips: list[tuple[Any, ...]]) -> tuple[torch.Tensor, ...]:
    """Put clips together: their places, frames [B, 3, H, W], labels [B, A], draws [V, B, P]."""
    frame, label, draw = zip(*clips, strict=True)
    return (
        torch.arange(len(clips)),  # MosaicML's loader counts samples by the first tensor
        torch.from_numpy(np.concatenate(frame)).permute(0, 3, 1, 2),
        torch.from_numpy(np.concatenate(label)),
        torch.from_numpy(np.concatenate(draw, 1)),
    )


def views_of(loader: Any) -> Batches:
    """Go through a loader again and again; views are applied in the process that trains."""
    from au_dist.data.views import apply_views

    while True:
        for _, frame_BCHW, _, draw_VBP in loader:
            yield tuple(apply_views(frame_BCHW, draw_BP, SIZE) for draw_BP in draw_VBP)


def clips_of(place: Path) -> Iterator[tuple[str, list[bytes], np.ndarray]]:
    """Yield name, JPEGs and labels [T, A] of every clip of the set."""
    from au_dist.shards.format import read_manifest, read_row_group
    from au_dist.storage.store import open_store

    store = open_store(place / "shards")
    manifest = read_manifest(store)
    for shard in manifest.shards:
        for group in range(len(shard.row_groups)):
            for row in read_row_group(store, shard, group).to_pylist():
                label = np.array(row["label"], np.int8).reshape(-1, len(manifest.aus))
                yield row["clip_id"].replace("/", "_"), row["jpeg"], label


# --- ours ---------------------------------------------------------------------------------------------------------


def ours(
    place: Path | str, frames: int, batches: int, start: int = 0, rank: int = 0, world: int = 1, memory: float = 0.3
) -> Batches:
    """Row groups through Ray Data, as a training worker reads them; Ray must be connected."""
    from concurrent.futures import ThreadPoolExecutor

    import ray

    from au_dist.config.sections import Labels, Views
    from au_dist.data.batches import interleave_lanes, make_batch
    from au_dist.data.decode import in_threads
    from au_dist.data.order import Order, lanes_of
    from au_dist.data.pipeline import iterate, quiet, rank_dataset
    from au_dist.data.rows import Reading
    from au_dist.data.source import Source
    from au_dist.data.splits import training_groups
    from au_dist.shards.format import read_manifest
    from au_dist.storage.store import open_store

    quiet()
    store = open_store(f"{place}/shards")
    manifest = read_manifest(store)
    num_aus, take = len(manifest.aus), BATCH // LANES
    order = Order(training_groups(manifest, tuple(manifest.subjects)), 0, LANES, 8)
    reading = Reading(
        seed=0, columns=list(range(num_aus)), num_columns=num_aus, frames=frames, run=False, intensities=False,
        labels=Labels(), views=2, draws=Views(),
    )  # fmt: skip
    source = Source(
        store,
        manifest,
        order,
        reading,
        decode=False,
        take=take,
        sets=start + batches,
        cpus=0.5,
        node_labels={},
        prefetch=4,
        memory=memory,
    )
    lanes = lanes_of(rank, world, LANES)
    tables = iterate(rank_dataset(ray.put(source), lanes, world, start).iterator(), source.prefetch)
    with ThreadPoolExecutor(1) as pool:
        decode = in_threads(pool, 1, manifest.crop_recipe.size)
        for rows in interleave_lanes(tables, lanes, start * take, take):
            yield make_batch(rows, num_aus, decode).views(SIZE)


# --- a folder of frames, torch's DataLoader -----------------------------------------------------------------------


def write_folder(place: Path) -> None:
    """A JPEG file a frame, and one file of labels."""
    names, labels = [], []
    for name, jpegs, label in clips_of(place):
        (place / "folder" / name).mkdir(parents=True)
        for index, jpeg in enumerate(jpegs):
            (place / "folder" / name / f"{index}.jpg").write_bytes(jpeg)
        names.append(name)
        labels.append(label)
    (place / "folder/names.json").write_text(json.dumps(names))
    np.save(place / "folder/labels.npy", np.stack(labels))


class Folder(torch.utils.data.Dataset[Any]):
    """Clips as folders of files."""

    def __init__(self, place: Path, prepare: Prepare) -> None:
        self.place, self.prepare = place / "folder", prepare
        self.names = json.loads((self.place / "names.json").read_text())
        self.labels = np.load(self.place / "labels.npy")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        name, label = self.names[index], self.labels[index]
        return self.prepare(name, lambda k: (self.place / name / f"{k}.jpg").read_bytes(), len(label), label)


def dataloader(place: Path, prepare: Prepare) -> Any:
    """The DataLoader of torch over files."""
    data = Folder(place, prepare)
    return torch.utils.data.DataLoader(data, BATCH, shuffle=True, collate_fn=collate, drop_last=True, **WORKERS)


# --- webdataset ---------------------------------------------------------------------------------------------------


def write_webdataset(place: Path) -> None:
    """Tar files of 512 clips."""
    (place / "webdataset").mkdir()
    for number, (name, jpegs, label) in enumerate(clips_of(place)):
        if number % 512 == 0:
            tar = tarfile.open(place / f"webdataset/{number // 512:03d}.tar", "w")  # noqa: SIM115
        buffer = io.BytesIO()
        np.save(buffer, label)
        parts = {f"{index}.jpg": jpeg for index, jpeg in enumerate(jpegs)} | {"label.npy": buffer.getvalue()}
        for suffix, data in parts.items():
            info = tarfile.TarInfo(f"{name}.{suffix}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if number % 512 == 511:
            tar.close()
    tar.close()


def webdataset(place: Path, prepare: Prepare) -> Any:
    """Webdataset: shards shuffled, then clips within a buffer."""
    import webdataset as wds

    def clip(sample: dict[str, Any]) -> tuple[Any, ...]:
        label = np.load(io.BytesIO(sample["label.npy"]))
        return prepare(sample["__key__"], lambda k: sample[f"{k}.jpg"], len(label), label)

    urls = [str(path) for path in sorted((place / "webdataset").glob("*.tar"))]
    data = wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(512).map(clip).batched(BATCH, collate, partial=False)
    return wds.WebLoader(data, batch_size=None, **WORKERS)


# --- litData ------------------------------------------------------------------------------------------------------


def write_litdata(place: Path) -> None:
    """Chunks of 32 MB."""
    import litdata

    clips = list(clips_of(place))
    litdata.optimize(
        fn=_litdata_clip,
        inputs=clips,
        output_dir=str(place / "litdata"),
        chunk_bytes="32MB",
        num_workers=1,
        start_method="fork",
    )


def _litdata_clip(clip: tuple[str, list[bytes], np.ndarray]) -> dict[str, Any]:
    name, jpegs, label = clip
    return {"name": name, "label": label, **{str(index): jpeg for index, jpeg in enumerate(jpegs)}}


def litdata(place: Path, prepare: Prepare) -> Any:
    """The streaming loader of litData."""
    from litdata import StreamingDataLoader, StreamingDataset

    class Clips(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            sample = super().__getitem__(index)
            return prepare(sample["name"], lambda k: sample[str(k)], len(sample["label"]), sample["label"])

    data = Clips(str(place / "litdata"), shuffle=True, drop_last=True)
    return StreamingDataLoader(data, batch_size=BATCH, collate_fn=collate, **WORKERS)


# --- MosaicML streaming -------------------------------------------------------------------------------------------


def write_mosaic(place: Path) -> None:
    """MDS shards."""
    from streaming import MDSWriter

    first = next(clips_of(place))
    columns = {"name": "str", "label": "ndarray:int8", **{str(index): "bytes" for index in range(len(first[1]))}}
    with MDSWriter(out=str(place / "mosaic"), columns=columns, size_limit="32mb") as out:
        for clip in clips_of(place):
            out.write(_litdata_clip(clip))


def mosaic(place: Path, prepare: Prepare) -> Any:
    """MosaicML's streaming loader."""
    from streaming import StreamingDataLoader, StreamingDataset

    class Clips(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            sample = super().__getitem__(index)
            return prepare(sample["name"], lambda k: sample[str(k)], len(sample["label"]), sample["label"])

    data = Clips(local=str(place / "mosaic"), shuffle=True, batch_size=BATCH)
    return StreamingDataLoader(data, batch_size=BATCH, collate_fn=collate, drop_last=True, **WORKERS)


#: Name → how its files are written, how they are read, the package whose version is shown.
PEERS = {
    "torch DataLoader, folder": (write_folder, dataloader, "torch"),
    "webdataset": (write_webdataset, webdataset, "webdataset"),
    "litData": (write_litdata, litdata, "litdata"),
    "MosaicML streaming": (write_mosaic, mosaic, "mosaicml-streaming"),
}
