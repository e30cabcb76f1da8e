"""What a trained model must beat: ridge regression on the encoder that its network began with, never trained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load, save

from au_dist.config.sections import Model
from au_dist.core.metrics import UNCHOSEN, thresholds
from au_dist.core.seeds import torch_seed
from au_dist.data.views import plain_views
from au_dist.dist.world import World
from au_dist.methods.base import Scoring
from au_dist.methods.frames import Frames, outputs
from au_dist.methods.ridge import fit_units
from au_dist.model.encoder import Encoder
from au_dist.model.encoders import make_encoder
from au_dist.recipes.recipe import Recipe
from au_dist.runs.assembly import read_rows
from au_dist.shards.format import read_manifest
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.train.state import CheckpointState

#: Cells along each side of the grid to which tokens are averaged.
GRID = 4

#: Clips that it is fitted on and that choose its thresholds, and frames of each.
CLIPS, FRAMES = 512, 2


#: What a key of a baseline's measure begins with.
RIDGE = "ridge_"


@dataclass(frozen=True)
class Start:
    """What an encoder was before anything was learnt here.

    Attributes:
        model: The model section that it was made from.
        seed: The seed of its run.
    """

    model: Model
    seed: int

    def encoder(self, device: torch.device) -> Encoder:
        """Return the encoder, frozen.

        Raises:
            CheckpointError: Its weights are not there, or do not fit.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self.seed, "network"))
            return make_encoder(self.model).eval().requires_grad_(False).to(device)

    @property
    def words(self) -> str:
        """What it is, for people."""
        match self.model.weights, self.model.encoder:
            case None, _:
                given = "random weights"
            case "package", "mini_xception":
                given = "weights that know expressions"
            case (("package" | "torchvision"), _):
                given = "ImageNet's weights"
            case _:
                given = f"the weights {self.model.weights}"
        return f"`{self.model.encoder}` with {given}"


#: Where the numbers of an evaluation's baseline are kept, below its folder.
FILE = "baseline.safetensors"


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted baseline.

    Attributes:
        start: Its encoder.
        size: Side of its input in pixels.
        weight_DA: Weights of the features.
        bias_A: What is added.
        strength_A: Strengths of the regressions; NaN where an action unit has no label to learn from.
        threshold_A: Thresholds that validation subjects chose, `UNCHOSEN` without; empty for intensities.
        scale: Scores lie between 0 and this.
    """

    start: Start
    size: int
    weight_DA: np.ndarray
    bias_A: np.ndarray
    strength_A: np.ndarray
    threshold_A: np.ndarray
    scale: float

    def scores(self, encoder: Encoder, x_BCHW: torch.Tensor) -> np.ndarray:
        """Return the scores float32 [B, A] of network inputs; the encoder is that of `start`."""
        found_BA = features(encoder, x_BCHW).double().cpu().numpy() @ self.weight_DA + self.bias_A
        return found_BA.clip(0, self.scale).astype(np.float32)

    def write(self, folder: Store) -> str:
        """Store the numbers of this baseline; return their address."""
        arrays = {name: getattr(self, name) for name in ("weight_DA", "bias_A", "strength_A", "threshold_A")}
        folder.write(FILE, save(arrays))
        return folder.at(FILE).uri


def read_baseline(address: str, state: CheckpointState, scoring: Scoring) -> Baseline:
    """Return a baseline that was stored; the arguments besides its address are those of `fit_baseline`.

    Raises:
        CheckpointError: The encoder that the run began with is not there any more.
        StorageError: The store fails.
    """
    place, recipe = open_store(address), state.run_recipe
    return Baseline(
        start=start_of(recipe), size=recipe.data.size, scale=scoring.scale, **load(place.parent.read(place.name))
    )


class FrozenScorer:
    """Maps crops to a baseline's scores.

    Args:
        baseline: The baseline.
        device: Where to compute.
    """

    def __init__(self, baseline: Baseline, device: torch.device) -> None:
        self.baseline, self.device, self.encoder = baseline, device, baseline.start.encoder(device)

    def __call__(self, frame_BHWC: np.ndarray, chunk: int) -> np.ndarray:
        """Return scores float32 [B, A] of crops, so many at once through the encoder."""
        parts = [frame_BHWC[start : start + chunk] for start in range(0, len(frame_BHWC), chunk)]
        views = (plain_views(np.ascontiguousarray(part), self.baseline.size, self.device) for part in parts)
        return np.concatenate([self.baseline.scores(self.encoder, x_BCHW) for x_BCHW in views])


@torch.no_grad()
def features(encoder: Encoder, x_BCHW: torch.Tensor) -> torch.Tensor:
    """Return an encoder's tokens, averaged to at most `GRID` x `GRID` cells, as float32 [B, D]."""
    token_BSC = encoder(x_BCHW).float()
    side = round(token_BSC.shape[1] ** 0.5)
    map_BCHW = token_BSC.transpose(1, 2).unflatten(2, (side, side))
    return F.adaptive_avg_pool2d(map_BCHW, min(side, GRID)).flatten(1)


def start_of(recipe: Recipe) -> Start:
    """Return what the encoder of a run was before anything was learnt here, through all runs that it comes from.

    Raises:
        CheckpointError: A run that it comes from is not there any more.
    """
    while recipe.init is not None:
        place = checkpoint.find(recipe.init.run, recipe.init.checkpoint, open_store(recipe.runs))
        recipe = checkpoint.state(place).run_recipe
    return Start(recipe.model, recipe.seed)


def fit_baseline(state: CheckpointState, scoring: Scoring, device: torch.device | None = None) -> Baseline:
    """Fit a baseline on what a run might use: labels of its training subjects, thresholds by its validation subjects.

    Args:
        state: A checkpoint of the run.
        scoring: How its method calls action units.
        device: Where to compute; a GPU when there is one and this is None.

    Raises:
        CheckpointError: The encoder that the run began with is not there any more.
        ShardError: The shards are missing or damaged.
    """
    recipe = state.run_recipe
    labels, size = recipe.data.labels, recipe.data.size
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = start_of(recipe)
    encoder = start.encoder(device)
    store = open_store(recipe.shards)
    manifest = read_manifest(store)
    columns = [manifest.aus.index(au) for au in state.aus]
    world = World(0, 1, device)

    def frames(subjects: tuple[str, ...], validation: bool) -> Frames:
        rows = read_rows(store, manifest, subjects, world, CLIPS)
        budget = labels.of_validation if validation else labels
        side, some = manifest.crop_recipe.size, FRAMES
        return Frames(rows, columns, len(manifest.aus), budget, side, some, intensities=recipe.learns.intensities)

    train = frames(state.subjects.train, False)
    x_ND = outputs(lambda x: features(encoder, x), train, size, len(columns), world)
    ridge = fit_units(x_ND, train.y_NA, train.valid_NA, np.array(train.subjects))
    made = Baseline(start, size, ridge.weight_DK, ridge.bias_K, ridge.strength_K, np.zeros(0), scoring.scale)
    if not scoring.thresholds:
        return made
    if not state.subjects.validation:
        return replace(made, threshold_A=np.full(len(columns), UNCHOSEN))
    judged = frames(state.subjects.validation, True)
    score_NA = outputs(lambda x: torch.from_numpy(made.scores(encoder, x)), judged, size, len(columns), world)
    return replace(made, threshold_A=thresholds(judged.y_NA, judged.valid_NA, score_NA))


def titles(scoring: Scoring) -> dict[str, str]:
    """Return which measure of the baseline a table shows, and its title."""
    key = next(iter(scoring.beside))
    return {f"{RIDGE}{key}": f"{scoring.measures[key]} ridge"}


def comparisons(average: Mapping[str, float], scoring: Scoring, baseline: Baseline | None) -> list[dict[str, Any]]:
    """Return averages beside those of baselines: which measure, both values, whether ours is better if that is known.

    Args:
        average: Averages over action units, with those of the baseline where there is one.
        scoring: How the method calls action units.
        baseline: The baseline.
    """
    ridge = f"ridge regression on {baseline.start.words}, as it began" if baseline else ""
    pairs = [(key, f"{RIDGE}{key}", ridge) for key in scoring.beside if baseline]
    rows = []
    for key, other, name in (*pairs, scoring.knowing_nothing):
        mine, theirs = average[key], average[other]
        known = not np.isnan([mine, theirs]).any()
        better = mine > theirs if scoring.beside[key] else mine < theirs
        values = {"its": theirs, "this": mine, "beaten": bool(better) if known else None}
        rows.append({"measure": scoring.measures[key], "baseline": name, **values})
    return rows
