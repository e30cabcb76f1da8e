"""Released checkpoints of other projects as model folders, for predictions and to start from."""

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from au_dist.config.protocol import Protocol
from au_dist.core.errors import CheckpointError
from au_dist.core.metrics import UNCHOSEN
from au_dist.core.schema import CropRecipe, au_names
from au_dist.corpora.list_names import ORDERS
from au_dist.data.splits import published_lists, split_subjects
from au_dist.dist.world import World
from au_dist.model.encoders import make_encoder
from au_dist.recipes.recipe import Recipe
from au_dist.runs.published import Kind, as_network, read_published
from au_dist.runs.published_names import Published
from au_dist.storage.store import open_store
from au_dist.train import checkpoint
from au_dist.train.plan import BatchPlan
from au_dist.train.state import CheckpointState, OrderPosition, Subjects

#: Where an encoder alone is written.
ENCODER = "encoder.safetensors"

#: Side in pixels of the crops that these networks were trained on; 224 of them are seen.
CROP = 256


@dataclass(frozen=True)
class TrainedOn:
    """What is known of the people whose faces trained a released network.

    Attributes:
        corpus: The corpus, whose action units and order of columns it has; None where they are listed.
        fold: The published fold, from 1, as its lists count; None where it is not known.
        aus: Action units in the order of its classes; those of the corpus when empty.
    """

    corpus: str | None = None
    fold: int | None = None
    aus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Imported:
    """What became of a released checkpoint.

    Attributes:
        recipe: What its network is, as a recipe has it.
        aus: Its action units; none of an encoder alone.
        notes: What a person should know, a sentence each.
    """

    recipe: Recipe
    aus: tuple[int, ...]
    notes: tuple[str, ...]


def import_checkpoint(
    path: Path, kind: Kind, target: Path, trained_on: TrainedOn = TrainedOn(), neighbors: int = 4
) -> Imported:
    """Write a released checkpoint as a model folder, which `predict` takes and `init.run` names.

    Of a pretraining that is an encoder alone, its weights are written, which `model.weights` names.

    Args:
        path: The released file.
        kind: What it was released as.
        target: The folder; made, must be empty.
        trained_on: What is known of its training.
        neighbors: Edges that each action unit keeps in its relation graph.

    Raises:
        CheckpointError: The file cannot be read as tensors, is no such network, or the folder is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise CheckpointError("The folder to import into is not empty", where=target, fix="Choose another with --to.")
    found = as_network(kind, read_published(path), neighbors)
    if not found.whole:
        return _encoder_alone(found, path, kind, target)
    aus = _aus(found, trained_on)
    recipe = _recipe(found, path, kind, aus, target / checkpoint.WEIGHTS)
    # Into a network, so that what does not fit is found now.
    module = recipe.learns.learner().module(
        recipe.parts(len(aus), (0.5,) * len(aus), World(0, 1, torch.device("cpu")), fresh=False)
    )
    missing, strange = module.load_state_dict(found.weights, strict=False)
    if strange or any(not name.startswith("heads.") or found.calls for name in missing):
        raise CheckpointError(
            "The weights do not fit the network", where=path, found=", ".join([*missing, *strange][:3])
        )
    subjects, known = trained_subjects(trained_on, found.numbering)
    state = CheckpointState(
        step=0,
        order=OrderPosition(seed=0, contrast_sets=0),
        plan=BatchPlan(*(1,) * 7, steps=0, warmup=0, every=1),
        metrics={},
        thresholds=(UNCHOSEN,) * len(aus) if found.calls else None,
        clip_frames=1,
        aus=aus,
        crop=CropRecipe(size=CROP).known(),
        subjects=subjects,
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=recipe.hash(),
        manifest="",
        versions={"au-dist": importlib.metadata.version("au-dist"), kind: path.name},
    )
    checkpoint.write_folder(open_store(target), module.state_dict(), state)
    notes = [
        f"Action units: {', '.join(au_names(aus))}.",
        known,
        f"Faces are cut {CROP} px wide by au-dist's own alignment, of which {found.size} are seen; the released "
        "networks saw crops of another aligner, so scores may differ from theirs.",
        *found.notes,
        *_left_out(found),
    ]
    return Imported(recipe, aus, tuple(notes))


def _left_out(found: Published) -> list[str]:
    return [f"Left out: {len(found.left)} weights, e.g. {', '.join(found.left[:3])}."] if found.left else []


def _encoder_alone(found: Published, path: Path, kind: Kind, target: Path) -> Imported:
    """Write the weights of an encoder, and return a detector's recipe that starts from them."""
    from safetensors.torch import save

    try:
        with torch.device("meta"):
            make_encoder(found.model).load_state_dict(found.weights, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise CheckpointError("The weights do not fit the encoder", where=path, found=reason) from error
    open_store(target).write(ENCODER, save(found.weights))
    recipe = _recipe(found, path, kind, (), target / ENCODER)
    return Imported(recipe, (), (*found.notes, *_left_out(found)))


def _recipe(found: Published, path: Path, kind: Kind, aus: tuple[int, ...], weights: Path) -> Recipe:
    """Return what a network is: a detector, or a pretraining where it has branches and no classifier."""
    return Recipe.model_validate(
        {
            "name": re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:100] or kind,
            "shards": "none",
            "runs": "none",
            **({"task": "detection"} if found.calls or not found.whole else {"method": "aunce"}),
            "data": {"size": found.size, "aus": aus, "protocol": {"validation": 0}},
            "model": {**found.model.model_dump(), "weights": str(weights.absolute())},
        }
    )


def _aus(found: Published, trained_on: TrainedOn) -> tuple[int, ...]:
    """Return the action units of a network, in the order of its classes.

    Raises:
        CheckpointError: They are not known, or are not so many.
    """
    if trained_on.aus:
        fitting = [trained_on.aus]
    elif found.aus:
        fitting = [found.aus]
    else:
        fitting = list(ORDERS["occurrence"].get(trained_on.corpus or "", ()))
    aus = next((some for some in fitting if len(some) == found.num_aus), None)
    if aus is None:
        raise CheckpointError(
            "Which action units this network calls is not known",
            expected=f"{found.num_aus} of them",
            found=" or ".join(str(len(some)) for some in fitting) or "none named",
            fix="Name the corpus (--trained-on bp4d) or the action units in the order of its classes (--aus 1,2,4,…).",
        )
    return aus


def trained_subjects(trained_on: TrainedOn, numbering: Literal["part", "file"]) -> tuple[Subjects, str]:
    """Return who trained a network, and a sentence on it; nobody where that is not known.

    Args:
        trained_on: Corpus and fold.
        numbering: How the network's project counts folds.

    Raises:
        CheckpointError: No such fold is published.
    """
    corpus, fold = trained_on.corpus, trained_on.fold
    if corpus is None or fold is None:
        return Subjects(train=(), validation=(), test=()), (
            "Whose faces trained it is not known: without --trained-on and --fold, whoever tests a model that starts "
            "from it may have trained it."
        )
    lists = published_lists().get(corpus, {})
    if not 1 <= fold <= len(lists):
        raise CheckpointError(
            "No such fold is published",
            where=f"--trained-on {corpus} --fold {fold}",
            expected=f"a fold from 1 to {len(lists)}" if lists else f"one of {', '.join(sorted(published_lists()))}",
        )
    everyone = [f"{corpus}/{name}" for names in lists.values() for name in names]
    protocol = Protocol(kind="published", numbering=numbering, fold=fold - 1, validation=0)
    train = split_subjects(everyone, protocol).train
    part = fold if numbering == "part" else len(lists) + 1 - fold
    return Subjects(train=train, validation=(), test=()), (
        f"It counts as trained on the {len(train)} subjects of fold {fold} of {corpus}, "
        f"which tests part {part}: a run that tests on one of "
        "them cannot start from it."
    )
