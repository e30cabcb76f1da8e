"""A real checkpoint of a small detector with random weights, and videos whose faces are where a CSV file says."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from states import state

from au_dist.core.schema import CropRecipe, finding
from au_dist.dist.world import World
from au_dist.methods.learners.detection import DetectionTask
from au_dist.model.network import AUNetwork
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"

AUS = (1, 2, 4, 6, 12)
THRESHOLDS = [0.5, 0.45, 0.55, 0.5, 0.4]
CROP = CropRecipe(size=40)
SIZE = 32

#: Crops that say how their faces were found: at a small side, which is fast.
COARSE = replace(CROP, **finding("centerface", 160, 0, 2))

#: Middle of the eyes' line, for a face of side 60 in a frame of 160 x 96.
LEFT, RIGHT = (40.0, 45.0), (115.0, 45.0)


def recipe(**changes: Any) -> Recipe:
    raw = {"name": "toy", "shards": "nowhere", "runs": "nowhere", "task": "detection", "data": {"size": SIZE}}
    return Recipe.model_validate({**raw, "model": {"embed_dim": 8, "num_neighbors": 2}, **changes})


def network(of: Recipe) -> DetectionTask:
    """Random weights, with heads strong enough that the scores of different pictures differ."""
    generator = torch.Generator().manual_seed(5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        detect = DetectionTask(
            AUNetwork(of.model, len(AUS), of.data.size), False, torch.ones(len(AUS)), World(0, 1, torch.device("cpu"))
        )
    with torch.no_grad():
        detect.heads.weight_AD.copy_(0.3 * torch.randn(detect.heads.weight_AD.shape, generator=generator))
    return detect


def write_detector(folder: Path, *, crop: CropRecipe = CROP, thresholds: Any = THRESHOLDS, **changes: Any) -> Store:
    """Write the checkpoint of step 7 of a run in `folder` and return the run."""
    of = recipe(**changes)
    run = open_store(folder)
    written = state(7, {"val_auc": 0.5}, of, aus=AUS, crop=vars(crop), thresholds=thresholds)
    checkpoint.state.cache_clear()
    checkpoint.write(run, network(of).state_dict(), {}, written)
    return run


def pictures(frames: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth random pictures, 96 x 160, each unlike the next."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (frames, 6, 10, 3)).astype(np.uint8)
    return [np.kron(picture, np.ones((16, 16, 1), np.uint8)) for picture in coarse]


def write_video(path: Path, frames: Sequence[np.ndarray], times_ms: Sequence[int] | None = None) -> Path:
    times_ms = times_ms or [40 * index for index in range(len(frames))]
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 20_000_000
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for picture, time in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_landmarks(path: Path, faces: dict[int, Sequence[tuple[float, float]]], side: float = 60.0) -> Path:
    """Write faces as OpenFace writes them: frame from 0 → middles of the faces in it."""
    names = ["frame", "confidence", "success", *(f"{axis}_{point}" for axis in "xy" for point in range(68))]
    rows = []
    for frame, middles in faces.items():
        for x, y in middles:
            x_68, y_68 = np.linspace(x - side / 2, x + side / 2, 68), np.linspace(y - side / 2, y + side / 2, 68)
            places = ((range(36, 42), -0.2, 0.0), (range(42, 48), 0.2, 0.0), ((48,), -0.15, 0.4), ((54,), 0.15, 0.4))
            for points, dx, dy in places:
                x_68[list(points)], y_68[list(points)] = x + dx * side, y + dy * side
            rows.append([frame + 1, 0.9, 1, *x_68, *y_68])
    text = ", ".join(names) + "\n" + "".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows)
    path.write_text(text)
    return path
