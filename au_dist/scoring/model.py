"""A trained model, out of a checkpoint: pictures of faces in, probabilities or intensities of action units out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from au_dist.core.errors import CheckpointError
from au_dist.core.metrics import UNCHOSEN
from au_dist.core.schema import CropRecipe
from au_dist.data.views import plain_views
from au_dist.dist.world import World
from au_dist.methods import METHODS
from au_dist.methods.base import Scoring
from au_dist.storage.store import Store
from au_dist.train import checkpoint
from au_dist.train.state import CheckpointState

#: Crops that go through the network at once; as many as in validation.
CHUNK = 128


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A detector or regressor and what belongs to it.

    Attributes:
        task: Network and heads, in evaluation mode.
        scoring: How the task calls action units.
        aus: Action units, in the order of the scores.
        threshold_A: An action unit is called present where its score is at least this; float64. Chosen on the
            validation subjects of the run, `UNCHOSEN` where it had none. Empty for intensities.
        clip_frames: Frames that a regressor reads in a row; 1 for a detector.
        crop: How faces must be cut out for this model.
        size: Side of the network's input in pixels.
        uri: Address of the checkpoint.
        state: Its `state.json`.
        device: Where it computes.
    """

    task: nn.Module
    scoring: Scoring
    aus: tuple[int, ...]
    threshold_A: np.ndarray
    clip_frames: int
    crop: CropRecipe
    size: int
    uri: str
    state: CheckpointState
    device: torch.device

    @property
    def intensities(self) -> bool:
        """Whether scores are intensities."""
        return not self.scoring.thresholds

    @torch.no_grad()
    def scores(self, frame_BHWC: np.ndarray, frames: int = 1) -> np.ndarray:
        """Return the probability of each action unit, or its intensity.

        Args:
            frame_BHWC: RGB crops made by `crop`, uint8; larger than `size` is cut at the centre, as in validation.
            frames: How many of them in a row are a clip; a regressor remembers within clips.

        Returns:
            float32 [B, A]: probabilities, or intensities from 0 to 5.
        """
        chunks: list[np.ndarray] = [np.zeros((0, len(self.aus)), np.float32)]
        size = max(1, CHUNK // frames) * frames
        for start in range(0, len(frame_BHWC), size):
            view = plain_views(np.ascontiguousarray(frame_BHWC[start : start + size]), self.size, self.device)
            chunks.append(self.scoring.scores(self.task, view, frames).float().cpu().numpy())
        return np.concatenate(chunks)


def load_model(
    address: str, which: str = "best", *, base: Store | None = None, device: torch.device | None = None
) -> TrainedModel:
    """Load a detector or regressor for inference; hashes are checked.

    Args:
        address: A checkpoint, a pulled model folder, a run, or a run's name below `base`.
        which: ``best`` by the run's own metric, or ``last``; only for runs.
        base: The place of runs that a bare name belongs to.
        device: Where to compute; a GPU when there is one and this is None.

    Raises:
        CheckpointError: There is none, it is incomplete or damaged, or it is of a pretraining.
        StorageError: The store fails.
    """
    place = checkpoint.find(address, which, base)
    state = checkpoint.state(place)
    scoring, recipe, num_aus = scoring_of(place, state), state.run_recipe, len(state.aus)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Rates weigh a loss, and none is computed here.
    parts = recipe.parts(num_aus, (0.5,) * num_aus, World(0, 1, torch.device("cpu")), fresh=False)
    task = recipe.learns.learner().module(parts)
    try:
        task.load_state_dict(checkpoint.tensors(place, checkpoint.WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(
            "The weights do not fit the network that the checkpoint describes",
            where=place.uri,
            found=str(error).splitlines()[-1].strip()[:200],
        ) from error
    return TrainedModel(
        task=task.eval().requires_grad_(False).to(device),
        scoring=scoring,
        aus=state.aus,
        threshold_A=thresholds_of(place, state),
        clip_frames=state.clip_frames if recipe.learns.clips else 1,
        crop=state.crop_recipe,
        size=recipe.data.size,
        uri=place.uri,
        state=state,
        device=device,
    )


def scoring_of(place: Store, state: CheckpointState) -> Scoring:
    """Return how the method of a checkpoint calls action units.

    Raises:
        CheckpointError: It calls none: it is of a pretraining.
    """
    method = state.run_recipe.learns
    if method.scoring is None:
        after = next(other.name for other in METHODS if other.scoring and other.clips == method.clips)
        tasks = " or ".join(f"`task: {other.name}`" for other in METHODS if other.scoring)
        raise CheckpointError(
            "This checkpoint is of a pretraining: it has embeddings, but nothing that calls action units",
            where=place.uri,
            expected=f"a run of {tasks}",
            found=f"method: {method.name}",
            fix=f"Train `task: {after}` from it, with `init: {{run: {state.run_recipe.name}}}`, and use that run.",
        )
    return method.scoring


def thresholds_of(place: Store, state: CheckpointState) -> np.ndarray:
    """Return the thresholds [A] that a checkpoint's validation chose, `UNCHOSEN` without; empty for intensities.

    Raises:
        CheckpointError: It has none, or is of a pretraining.
    """
    if not scoring_of(place, state).thresholds:
        return np.zeros(0)
    if not state.subjects.validation:
        return np.full(len(state.aus), UNCHOSEN)
    thresholds, num_aus = state.thresholds, len(state.aus)
    if thresholds is None or len(thresholds) != num_aus or not np.isfinite(thresholds).all():
        raise CheckpointError(
            "This checkpoint has no thresholds",
            where=place.uri,
            expected=f"one number for each of {num_aus} action units",
            found=thresholds,
            fix="Use one that was validated on labelled subjects; one that was stored when a run was asked to stop was "
            "not.",
        )
    return np.array(thresholds, np.float64)
