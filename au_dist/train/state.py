"""What a checkpoint says of itself: `state.json`, one model for all who write and read it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from au_dist.config.renamed import keys_now
from au_dist.core.errors import CheckpointError
from au_dist.core.schema import CropRecipe
from au_dist.recipes.recipe import Recipe
from au_dist.train.plan import BatchPlan


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderPosition(_Frozen):
    """Where in its data a run is: the seed of the order, and how many contrast sets are behind it."""

    seed: int
    contrast_sets: int


class Subjects(_Frozen):
    """Subjects by what they are for; disjoint."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


class CheckpointState(_Frozen):
    """What the weights of a checkpoint mean.

    Attributes:
        version: Of this model.
        step: Steps done.
        order: Where in its data the run is.
        plan: The batch plan.
        metrics: Validation metrics by name; empty where nothing was validated.
        thresholds: An action unit is called present where its score is at least this, [A]; None without any.
        clip_frames: Frames of a clip of the shards.
        aus: Action units, in the order of thresholds and scores.
        crop: The crop recipe of the shards.
        subjects: Which subjects trained, validated and are left to test.
        recipe: The recipe as it was written; `run_recipe` is what it means now.
        recipe_hash: Its hash.
        manifest: Hash of the manifest of the shards.
        versions: Versions of au-dist and of what it stands on.
        commit: The git commit of the code; None where it was not a checkout.
    """

    version: Literal[1] = 1
    step: int
    order: OrderPosition
    plan: BatchPlan
    metrics: dict[str, float]
    thresholds: tuple[float, ...] | None
    clip_frames: int
    aus: tuple[int, ...]
    crop: dict[str, Any]
    subjects: Subjects
    recipe: dict[str, Any]
    recipe_hash: str
    manifest: str
    versions: dict[str, str]
    commit: str | None = None

    @property
    def run_recipe(self) -> Recipe:
        """The recipe of the run.

        Raises:
            CheckpointError: It is of a version that knows more, or less.
        """
        try:
            return Recipe.model_validate(keys_now(self.recipe)[0])
        except ValidationError as error:
            first = error.errors()[0]
            raise CheckpointError(
                "The checkpoint describes a run that this version does not know",
                where=f"step {self.step} of {self.recipe.get('name')}",
                found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                fix=f"It was written with au-dist {self.versions.get('au-dist')}.",
            ) from error

    @property
    def crop_recipe(self) -> CropRecipe:
        """How the faces were cut out."""
        return CropRecipe(**self.crop)
