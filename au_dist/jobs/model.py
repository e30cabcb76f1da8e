"""A trained detector, out of a checkpoint: pictures of faces in, probabilities out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from au_dist import checkpoint, config
from au_dist.data.views import apply_views, no_view
from au_dist.dist.world import World
from au_dist.errors import CheckpointError
from au_dist.model.network import AUNetwork
from au_dist.schema import CropRecipe
from au_dist.storage import Store
from au_dist.train.tasks import Detect

#: Crops that go through the network at once; as many as in validation.
CHUNK = 128


@dataclass(frozen=True, eq=False)
class Model:
    """A detector and what belongs to it.

    Attributes:
        detect: Network and heads, in evaluation mode.
        aus: Action units, in the order of the scores.
        threshold_A: An action unit is called present where its score is at least this; float64. Chosen on the
            validation subjects of the run.
        crop: How faces must be cut out for this model.
        size: Side of the network's input in pixels.
        uri: Address of the checkpoint.
        state: Its `state.json`.
        device: Where it computes.
    """

    detect: Detect
    aus: tuple[int, ...]
    threshold_A: np.ndarray
    crop: CropRecipe
    size: int
    uri: str
    state: dict[str, Any]
    device: torch.device

    @torch.no_grad()
    def scores(self, frame_BHWC: np.ndarray) -> np.ndarray:
        """Return the probability of each action unit.

        Args:
            frame_BHWC: RGB crops made by `crop`, uint8; larger than `size` is cut at the centre, as in validation.

        Returns:
            float32 [B, A], 0 to 1.
        """
        found: list[np.ndarray] = [np.zeros((0, len(self.aus)), np.float32)]
        draw_P = torch.from_numpy(no_view()).to(self.device)
        for start in range(0, len(frame_BHWC), CHUNK):
            chunk = np.ascontiguousarray(frame_BHWC[start : start + CHUNK])
            frame_BCHW = torch.from_numpy(chunk).to(self.device).permute(0, 3, 1, 2)
            view = apply_views(frame_BCHW, draw_P.expand(len(chunk), -1), self.size)
            found.append(torch.sigmoid(self.detect.logits(view).float()).cpu().numpy())
        return np.concatenate(found)


def load_model(
    address: str, which: str = "best", *, base: Store | None = None, device: torch.device | None = None
) -> Model:
    """Load a detector for inference; hashes are checked.

    Args:
        address: A checkpoint, a pulled model folder, a run, or a run's name below `base`.
        which: ``best`` by the run's own metric, or ``last``; only for runs.
        base: The place of runs that a bare name belongs to.
        device: Where to compute; a GPU when there is one and this is None.

    Raises:
        CheckpointError: There is none, it is incomplete or damaged, or it is not a detector.
        StorageError: The store fails.
    """
    place = checkpoint.find(address, which, base)
    state = checkpoint.state(place)
    refuse_pretraining(place, state)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    aus = tuple(int(au) for au in state["aus"])
    detect = _network(place, state, len(aus))
    try:
        detect.load_state_dict(checkpoint.tensors(place, checkpoint.WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(
            "The weights do not fit the network that the checkpoint describes",
            where=place.uri,
            found=str(error).splitlines()[-1].strip()[:200],
        ) from error
    return Model(
        detect=detect.eval().requires_grad_(False).to(device),
        aus=aus,
        threshold_A=_thresholds(place, state, len(aus)),
        crop=CropRecipe(**state["crop"]),
        size=int(state["recipe"]["data"]["size"]),
        uri=place.uri,
        state=state,
        device=device,
    )


def refuse_pretraining(place: Store, state: dict[str, Any]) -> None:
    """Refuse a checkpoint that calls no action units.

    Raises:
        CheckpointError: It is of a pretraining.
    """
    recipe = state["recipe"]
    if recipe.get("task") != "detection":
        raise CheckpointError(
            "This checkpoint is of a pretraining: it has embeddings, but nothing that calls action units",
            where=place.uri,
            expected="a run of `task: detection`",
            found=f"method: {recipe.get('method')}",
            fix=f"Train `task: detection` from it, with `init: {{run: {recipe.get('name')}}}`, and use that run.",
        )


def _network(place: Store, state: dict[str, Any], aus: int) -> Detect:
    # The encoder's file of initial weights is not needed: all weights come from the checkpoint.
    raw = {**state["recipe"]["model"], "weights": None}
    try:
        section = config.Model.model_validate(raw)
    except ValidationError as error:
        raise CheckpointError(
            "The checkpoint describes a network that this version does not know",
            where=place.uri,
            found=raw,
            fix=f"It was written with au-dist {state['versions'].get('au-dist')}.",
        ) from error
    return Detect(
        AUNetwork(section, aus, state["recipe"]["data"]["size"]),
        False,
        torch.ones(aus),
        World(0, 1, torch.device("cpu")),
    )


def _thresholds(place: Store, state: dict[str, Any], aus: int) -> np.ndarray:
    found = state.get("thresholds")
    if found is None or len(found) != aus or not np.isfinite(found).all():
        raise CheckpointError(
            "This checkpoint has no thresholds",
            where=place.uri,
            expected=f"one number for each of {aus} action units",
            found=found,
            fix="Use a checkpoint that was validated on labelled subjects.",
        )
    return np.array(found, np.float64)
