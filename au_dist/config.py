"""Recipes: what one run is, typed and frozen. Every default value lives here, once.

A recipe is a YAML file; ``key=value`` on the command line replaces single values; an unknown key is refused with the
nearest right one. Rooms are handed their own section, never the whole recipe.
"""

import difflib
import hashlib
import json
import re
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from au_dist.errors import RecipeError


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(Section):
    """Which subjects train, validate and test.

    Attributes:
        kind: ``kfold`` deals subjects into folds by a hash of their names; ``all`` trains on everyone but the
            validation subjects (for pretraining on unlabelled clips).
        folds: Number of folds.
        fold: The fold that tests, from 0.
        validation: Share of the training subjects that is set aside to choose checkpoints and thresholds.
        seed: Seed of the dealing; independent of the run's seed, so that seeds share their test subjects.
    """

    kind: Literal["kfold", "all"] = "kfold"
    folds: int = Field(3, ge=2)
    fold: int = Field(0, ge=0)
    validation: float = Field(0.25, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fold_exists(self) -> "Protocol":
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist: folds count from 0 to {self.folds - 1}")
        return self


class Views(Section):
    """How far the random views of a clip differ from it; crops move by what `data.size` leaves of the stored crop.

    Attributes:
        flip: Chance of mirroring.
        jitter: Chance of a change of colours at all.
        colour: Brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour.
        hue: Hue is turned by at most this share of a full turn, either way.
        grey: Chance of losing colour.
        blur: Largest sigma of the blur in pixels.
    """

    flip: float = Field(0.5, ge=0, le=1)
    jitter: float = Field(0.8, ge=0, le=1)
    colour: float = Field(0.4, ge=0, lt=1)
    hue: float = Field(0.1, ge=0, le=0.5)
    grey: float = Field(0.2, ge=0, le=1)
    blur: float = Field(1.2, ge=0)


#: Reading tasks of one worker at once: one reads while another's rows are used. They share `Data.cpus`.
READING_TASKS = 2


class Data(Section):
    """What is read of each clip.

    Attributes:
        protocol: Which subjects train, validate and test.
        aus: Action units to train on; all of the set when empty.
        frames_per_clip: Frames drawn from each clip and epoch (all: the clip's length).
        size: Side of the network's input in pixels.
        views: How far random views differ.
        lanes: Streams that an epoch is dealt into; worker counts must divide it, and it must divide the contrast set.
        mix: Row groups that are shuffled together.
        prefetch: Blocks of clips that Ray Data reads ahead for each worker.
        cpus: CPU share that Ray Data may use for the reading of each worker.
    """

    protocol: Protocol = Protocol()
    aus: tuple[int, ...] = ()
    frames_per_clip: int = Field(1, ge=1)
    size: int = Field(56, ge=16)
    views: Views = Views()
    lanes: int = Field(8, ge=1)
    mix: int = Field(8, ge=1)
    prefetch: int = Field(4, ge=1)
    cpus: float = Field(0.5, gt=0)


class Model(Section):
    """The network.

    Attributes:
        encoder: Image encoder: ``tiny`` for CPUs, or one of torchvision.
        weights: Local file of encoder weights (safetensors), or None for random initialisation.
        width: Length D of an action unit's embedding.
        squeeze: Channels that the branches see of each place on the face; 0 averages over places.
        neighbours: Edges each action unit keeps in the relation graph, itself included; 0 leaves the graph out.
    """

    encoder: Literal["tiny", "resnet18", "resnet50", "swin_t", "swin_s", "swin_b"] = "tiny"
    weights: str | None = None
    width: int = Field(64, ge=4)
    squeeze: int = Field(24, ge=0)
    neighbours: int = Field(4, ge=0)


class Aunce(Section):
    """The contrastive loss with re-weighted negatives and sampled positives.

    Attributes:
        mode: ``corrected`` (own positives out, mean over positives only, missing labels masked, the rarer state of
            each action unit is the minority) or ``released`` (as the official code).
        temperature: Temperature of the similarities.
        beta_majority: Exponent of the negatives of an anchor in the commoner state.
        beta_minority: Exponent of the negatives of an anchor in the rarer state.
        odds: Odds of the positive kinds: highest similarity, mean, other view, lowest similarity.
        draw: Whether a kind is drawn for each action unit of a contrast set (``action_unit``, as in the official code)
            or for each of its anchors too (``anchor``).
    """

    mode: Literal["corrected", "released"] = "corrected"
    temperature: float = Field(0.5, gt=0)
    beta_majority: float = Field(0.8, gt=0)
    beta_minority: float = Field(1.2, gt=0)
    odds: tuple[float, float, float, float] = (0.2, 0.6, 0.2, 0.0)
    draw: Literal["action_unit", "anchor"] = "action_unit"

    @model_validator(mode="after")
    def _odds_are_odds(self) -> "Aunce":
        if min(self.odds) < 0 or sum(self.odds) <= 0:
            raise ValueError("odds must not be negative and must not all be zero")
        return self


class Detection(Section):
    """Occurrence detection on top of a pretrained or fresh network.

    Attributes:
        train: ``probe`` trains one linear layer per action unit on a frozen network, ``all`` fine-tunes everything.
        balance: Weight the positive frames of an action unit by its training odds (capped at 10).
    """

    train: Literal["probe", "all"] = "probe"
    balance: bool = True


class Init(Section):
    """Where the network's weights come from.

    Attributes:
        run: A run (its name below the same `runs`, or an address) or a pulled model folder.
        checkpoint: ``best`` by the run's own validation metric, or ``last``.
    """

    run: str
    checkpoint: Literal["best", "last"] = "last"


class Optim(Section):
    """AdamW with linear warm-up and cosine decay to zero."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    clip: float = Field(1.0, ge=0, description="Largest global gradient norm; 0 does not clip.")
    epochs: float = Field(10, gt=0)


class Batch(Section):
    """How clips form steps; none of it depends on the number of workers.

    Attributes:
        clips: Clips of one optimizer step, over all workers.
        contrast: Clips of one contrast set, over all workers; divides `clips`. All of `clips` when None.
    """

    clips: int = Field(64, ge=2)
    contrast: int | None = Field(None, ge=2)


class Engine(Section):
    """DeepSpeed.

    Attributes:
        zero: ZeRO stage.
        precision: Number format of the forward and backward pass.
    """

    zero: Literal[0, 1, 2, 3] = 0
    precision: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _bf16_needs_master_weights(self) -> "Engine":
        if self.precision == "bf16" and self.zero == 0:
            raise ValueError("bf16 needs zero >= 1: at stage 0 the weights themselves are rounded and training drifts")
        return self


class Workers(Section):
    """The training workers.

    Attributes:
        count: How many.
        cpus: CPUs of each, as Ray counts them.
        gpus: GPUs of each.
        max_failures: How often a lost worker is replaced before the run gives up.
        start_timeout_s: Seconds to wait for the cluster to place all workers before the run ends with the arithmetic.
    """

    count: int = Field(2, ge=1)
    cpus: float = Field(0.5, gt=0)
    gpus: float = Field(0, ge=0)
    max_failures: int = Field(3, ge=0)
    start_timeout_s: float = Field(60, gt=0)


class Keep(Section):
    """Validation and checkpoints.

    Attributes:
        every: Steps between checkpoints; at the end of each epoch when None. Validation happens at each checkpoint.
        last: Newest checkpoints to keep; the best is always kept.
        metric: Validation metric that says which is best (larger is better).
    """

    every: int | None = Field(None, ge=1)
    last: int = Field(2, ge=1)
    metric: Literal["val_f1", "val_auc"] = "val_auc"


class Recipe(Section):
    """One run.

    Attributes:
        name: The run's name: its folder below `runs`.
        shards: Address of the set of shards.
        runs: Address below which runs are stored.
        method: Pretraining method; exactly one of `method` and `task`.
        task: Supervised task; exactly one of `method` and `task`.
        seed: Seed of initialisation, order, views and odds.
        init: Weights to start from; random when None.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    shards: str
    runs: str
    method: Literal["aunce"] | None = None
    task: Literal["detection"] | None = None
    seed: int = Field(0, ge=0)
    init: Init | None = None
    data: Data = Data()
    model: Model = Model()
    aunce: Aunce = Aunce()
    detection: Detection = Detection()
    optim: Optim = Optim()
    batch: Batch = Batch()
    engine: Engine = Engine()
    workers: Workers = Workers()
    keep: Keep = Keep()

    @model_validator(mode="after")
    def _one_job(self) -> "Recipe":
        if (self.method is None) == (self.task is None):
            raise ValueError("give exactly one of `method: aunce` (pretraining) and `task: detection` (supervised)")
        return self

    def science(self) -> dict[str, Any]:
        """Return what determines the result: everything but names, places and machines."""
        return self.model_dump(mode="json", exclude={"name", "runs", "shards", "workers", "keep"})

    def hash(self) -> str:
        """Return 12 hexadecimal digits that identify `science`."""
        return hashlib.sha256(json.dumps(self.science(), sort_keys=True).encode()).hexdigest()[:12]


AnySection = TypeVar("AnySection", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        RecipeError: The file is absent, not YAML, or not a mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise RecipeError(
            "There is no such file", where=path, fix="See examples/ for recipes to start from."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            "The file cannot be read as YAML", where=path, found=" ".join(str(error).split())[:200]
        ) from error
    if not isinstance(raw, dict):
        raise RecipeError("The file is not a recipe", where=path, expected="keys and values", found=type(raw).__name__)
    return raw


def override(raw: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a raw recipe with ``a.b=value`` assignments applied; values are YAML.

    Raises:
        RecipeError: An assignment is malformed.
    """
    merged: dict[str, Any] = json.loads(json.dumps(raw))
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not re.fullmatch(r"[a-z_][a-z0-9_.]*", key):
            raise RecipeError("This is not an override", where=assignment, expected="key=value, e.g. optim.lr=0.001")
        *path, last = key.split(".")
        place = merged
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise RecipeError("This override goes below a plain value", where=assignment)
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError("The value of this override is not YAML", where=assignment) from error
    return merged


def parse(model: type[AnySection], raw: dict[str, Any], where: object) -> AnySection:
    """Return a validated section.

    Args:
        model: The section's class.
        raw: The raw mapping.
        where: The file, for the message.

    Raises:
        RecipeError: A key is unknown (the nearest right one is named) or a value does not fit.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or None
        more = f" ({error.error_count() - 1} more like this)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
            fix = f"Did you mean `{near[0]}`?" if near else f"Known keys here: {', '.join(known)}."
            raise RecipeError(f"Unknown key `{place}`{more}", where=where, fix=fix) from error
        if first["type"] == "missing":
            raise RecipeError(f"The key `{place}` is missing{more}", where=where) from error
        found = None if first["loc"] == () else repr(first["input"])
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"The value of `{place}` does not fit{more}" if place else "The recipe does not fit together",
            where=where,
            expected=message[0].lower() + message[1:] if place else None,
            found=found if place else message,
        ) from error


def load_recipe(path: Path, assignments: Sequence[str] = ()) -> Recipe:
    """Return the recipe in a YAML file with overrides applied.

    Raises:
        RecipeError: The file or an override does not fit.
    """
    return parse(Recipe, override(read_yaml(path), assignments), path)


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML, every value spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known at a place of a recipe."""
    for part in path:
        annotation: Any = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if get_origin(annotation) in (Union, types.UnionType):
            annotation = next((arg for arg in get_args(annotation) if arg is not type(None)), None)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
