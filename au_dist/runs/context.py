"""What a recipe means for one set of shards: split, columns, order. Computed alike by the driver and every worker."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from au_dist.core.errors import CheckpointError, RecipeError
from au_dist.core.schema import au_names
from au_dist.data.label_counts import LabelCounts, count_labels, mixed
from au_dist.data.order import Order
from au_dist.data.rows import Reading
from au_dist.data.source import Source
from au_dist.data.splits import Split, corpus_of, split_subjects, training_groups
from au_dist.methods import METHODS
from au_dist.methods.base import Method
from au_dist.recipes.recipe import Recipe
from au_dist.shards.format import Manifest, read_manifest
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.train.plan import BatchPlan, plan_batches


@dataclass(frozen=True, repr=False)
class Context:
    """A recipe together with its data.

    Attributes:
        recipe: The recipe.
        run: The run's place in storage.
        store: The set of shards.
        manifest: Its manifest.
        split: Subjects by what they are for.
        aus: Action units that are trained.
        columns: Their columns among the set's labels.
        label_counts: What is known of each training clip; None where the manifest says enough.
    """

    recipe: Recipe
    run: Store
    store: Store
    manifest: Manifest
    split: Split
    aus: tuple[int, ...]
    columns: list[int]
    label_counts: LabelCounts | None = None

    def __repr__(self) -> str:
        """Short: Ray shows it, and the manifest has every subject's name."""
        return f"Context({self.run.uri})"

    def order(self) -> Order:
        """The order of the training clips."""
        groups = training_groups(self.manifest, self.split.train)
        weights = self.label_counts.weights(self.recipe.data.balance) if self.label_counts else None
        if shares := self.recipe.data.corpora:
            corpora = [self.manifest.shards[group.shard].row_groups[group.group].subject for group in groups]
            corpus_C = np.repeat([corpus_of(name) for name in corpora], [group.clips for group in groups])
            weights = mixed(np.ones(len(corpus_C)) if weights is None else weights, corpus_C, shares)
        return Order(groups, self.recipe.seed, self.recipe.data.lanes, self.recipe.data.shuffle_row_groups, weights)

    def plan(self, world: int) -> BatchPlan:
        """The batch plan for a number of workers."""
        return plan_batches(self.recipe, self.order().clips, world)

    def source(self) -> Source:
        """Where training data comes from and in which order; the same for every number of workers."""
        plan, recipe, data = self.plan(1), self.recipe, self.recipe.data
        reading = Reading(
            seed=recipe.seed,
            columns=self.columns,
            num_columns=len(self.manifest.aus),
            frames=recipe.frames,
            run=recipe.learns.clips,
            intensities=recipe.learns.intensities,
            labels=data.labels,
            views=recipe.views,
            draws=data.views,
        )
        return Source(
            store=self.store,
            manifest=self.manifest,
            order=self.order(),
            reading=reading,
            decode=data.decode == "tasks",
            take=plan.take,
            sets=plan.sets(plan.steps),
            cpus=data.cpus,
            node_labels=data.node_labels,
            prefetch=data.prefetch,
            memory=data.memory,
        )

    def resume_step(self) -> tuple[int, list[str]]:
        """Return the step of the newest checkpoint that is whole, 0 without one, and what is wrong with newer ones."""
        place, faults = checkpoint.latest_valid(self.run)
        return 0 if place is None else checkpoint.state(place).step, faults

    def rates(self) -> list[float]:
        """Occurrence rate of each trained action unit in the training labels that may be used; NaN without labels."""
        if self.label_counts:
            return [float(rate) for rate in self.label_counts.rates()]
        rows = self.manifest.rates(self.split.train)
        return [rows[column][2] for column in self.columns]


def make_context(recipe: Recipe) -> Context:
    """Read the manifest and deal subjects.

    Raises:
        RecipeError: The recipe does not fit the set.
        ShardError: There is no set, or its manifest is damaged.
        StorageError: The store fails.
    """
    store = open_store(recipe.shards).check()
    manifest = read_manifest(store)
    method = recipe.learns
    aus = (recipe.data.aus or manifest.aus) if method.labels else ()
    missing = [au for au in aus if au not in manifest.aus]
    if missing or (method.labels and not aus):
        raise RecipeError(
            "The shards have no labels of these action units" if missing else "The shards have no labels",
            where="data.aus",
            expected=f"some of {', '.join(au_names(manifest.aus)) or 'none'}",
            found=", ".join(au_names(missing)) or None,
        )
    if recipe.data.size > manifest.crop_recipe.size:
        raise RecipeError(
            "The network's input is larger than the stored crops",
            where="data.size",
            expected=f"at most {manifest.crop_recipe.size}",
            found=recipe.data.size,
        )
    if method.clips and recipe.frames > manifest.clip_frames:
        raise RecipeError(
            "The clips are shorter than what is read of them",
            where=method.frames_key,
            expected=f"at most {manifest.clip_frames} frames in a row",
            found=recipe.frames,
            fix="Lower these, or ingest longer clips.",
        )
    moved = recipe.data.labels.shifted + recipe.data.labels.coder
    if moved >= manifest.clip_frames:
        raise RecipeError(
            "Events cannot move so far within a clip",
            where="data.labels.shifted, data.labels.coder",
            expected=f"together less than the {manifest.clip_frames} frames of a clip",
            found=moved,
            fix="Lower them, or ingest longer clips: what touches the end of a clip stays there.",
        )
    split = split_subjects(manifest.subjects, recipe.data.protocol, manifest.source.get("partitions"))
    columns = [manifest.aus.index(au) for au in aus]
    return Context(
        recipe=recipe,
        run=open_store(recipe.runs).at(recipe.name),
        store=store,
        manifest=manifest,
        split=split,
        aus=tuple(aus),
        columns=columns,
        label_counts=_label_counts(recipe, store, manifest, split, columns),
    )


def _label_counts(
    recipe: Recipe, store: Store, manifest: Manifest, split: Split, columns: list[int]
) -> LabelCounts | None:
    """Count the training labels where a budget, an uneven drawing or intensities need more than the manifest's sums."""
    data, intensities = recipe.data, recipe.learns.intensities
    untouched = data.labels.share == 1 and not data.labels.spoils and not data.balance
    if recipe.learns.labels is None or (untouched and not intensities):
        return None
    groups = training_groups(manifest, split.train)
    return count_labels(store, manifest, groups, columns, data.labels, intensities=intensities)


def _kind(method: Method) -> str:
    names = ", ".join(other.name for other in METHODS if other.clips == method.clips)
    return f"reads {method.reads} ({names})"


def starting_point(context: Context) -> Store | None:
    """Return the checkpoint whose network the recipe starts from, None for a random start; nothing of it is loaded.

    Raises:
        CheckpointError: There is no such checkpoint, or it is of other action units, crops or another network, or it
            was trained on subjects that validate or test here.
    """
    recipe = context.recipe
    if recipe.init is None:
        return None
    place = checkpoint.find(recipe.init.run, recipe.init.checkpoint, open_store(recipe.runs))
    state = checkpoint.state(place)
    there = state.run_recipe
    both_read_clips = there.learns.clips and recipe.learns.clips
    theirs_aus = context.aus if both_read_clips else state.aus  # a network with a memory knows none
    for name, mine, theirs in (
        ("kind of network", _kind(recipe.learns), _kind(there.learns)),
        ("action units", au_names(context.aus), au_names(theirs_aus)),
        # Faces may have been found otherwise: what is learnt here is learnt on these crops.
        ("crop recipe", context.manifest.crop_recipe.cut.known(), state.crop_recipe.cut.known()),
        ("model", *(some.model.model_dump(mode="json", exclude={"weights"}) for some in (recipe, there))),
    ):
        if mine != theirs:
            raise CheckpointError(
                f"The checkpoint to start from is of another {name}", where=place.uri, expected=mine, found=theirs
            )
    leaked = sorted(set(state.subjects.train) & {*context.split.validation, *context.split.test})
    if leaked and context.split.test:
        raise CheckpointError(
            "The checkpoint to start from was trained on subjects that validate or test here",
            where=place.uri,
            found=f"{len(leaked)} of them, e.g. {leaked[0]}",
            fix="Give both recipes the same data.protocol.",
        )
    return place


def initial_weights(context: Context) -> dict[str, Any]:
    """Load and return the network's weights that the recipe starts from; empty for a random start.

    Raises:
        CheckpointError: As `starting_point`, or the weights are damaged.
    """
    place = starting_point(context)
    weights = {} if place is None else checkpoint.tensors(place, checkpoint.WEIGHTS)
    return {name: tensor for name, tensor in weights.items() if name.startswith("network.")}
