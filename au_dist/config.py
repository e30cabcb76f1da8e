"""Recipes: what one run is, typed and frozen. Every default value lives here or in `au_dist.config_run`, once.

Rooms are handed their own section, never the whole recipe. Files and overrides: `au_dist.recipes`.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from au_dist.config_run import Batch, Engine, Keep, Optim, Workers
from au_dist.protocol import Protocol, Section


class Views(Section):
    """How far the random views of a clip differ from it; crops move by what `data.size` leaves of the stored crop.

    Attributes:
        flip: Chance of mirroring.
        jitter: Chance of a change of colours at all.
        colour: Brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour.
        hue: Hue is turned by at most this share of a full turn, either way.
        grey: Chance of losing colour.
        blur: Largest sigma of the blur in pixels.
        each_frame: Frames of a clip have colours of their own, as in dense predictive coding; they share all else.
    """

    flip: float = Field(0.5, ge=0, le=1)
    jitter: float = Field(0.8, ge=0, le=1)
    colour: float = Field(0.4, ge=0, lt=1)
    hue: float = Field(0.1, ge=0, le=0.5)
    grey: float = Field(0.2, ge=0, le=1)
    blur: float = Field(1.2, ge=0)
    each_frame: bool = False


class Labels(Section):
    """The label budget: which frames' labels may be used, to train and to choose; test subjects keep all of theirs.

    Attributes:
        share: Share of the frames, drawn by a hash of (seed, frame); a larger share holds every smaller one.
        noise: Share of the occurrence labels that are turned into their opposite, for experiments.
        seed: Seed of the drawings; independent of the run's seed.
    """

    share: float = Field(1.0, gt=0, le=1)
    noise: float = Field(0.0, ge=0, lt=0.5)
    seed: int = Field(0, ge=0)


#: Reading tasks of one worker at once: one reads while another's rows are used. They share `Data.cpus`.
READING_TASKS = 2


class Data(Section):
    """What is read of each clip.

    Attributes:
        protocol: Which subjects train, validate and test.
        aus: Action units to train on; all of the set when empty.
        labels: The label budget.
        balance: Clips are drawn the more often the rarer the action units in them are: the exponent of their repeat
            factor (`au_dist.data.census`); 0 draws all alike.
        corpora: Corpus → its share of an epoch's draws, in any unit; as many as there are clips when empty. The corpus
            is the first part of a subject's name.
        frames_per_clip: Frames drawn from each clip and epoch (all: the clip's length). Spread over the clip, but for
            intensity in a row. Predictive coding takes `predictive.blocks` times `predictive.frames` instead.
        size: Side of the network's input in pixels.
        views: How far random views differ.
        lanes: Streams that an epoch is dealt into; worker counts must divide it, and it must divide the contrast set.
        mix: Row groups that are shuffled together.
        prefetch: Blocks of clips that Ray Data reads ahead for each worker.
        cpus: CPU share that Ray Data may use for the reading of each worker.
        memory: Share of the cluster's object store that the reading of all workers together may fill.
        decode: Where JPEGs are decoded: in the training ``worker``, in the reading ``tasks`` (machines without a GPU
            then work for those with one; pixels travel, about ten times the bytes), or on the worker's ``gpu``.
        unreadable: Share of the clips of the last 100 contrast sets that may be left out because they do not decode.
    """

    protocol: Protocol = Protocol()
    aus: tuple[int, ...] = ()
    labels: Labels = Labels()
    balance: float = Field(0.0, ge=0, le=2)
    corpora: dict[str, Annotated[float, Field(ge=0)]] = Field({})
    frames_per_clip: int = Field(1, ge=1)
    size: int = Field(56, ge=16)
    views: Views = Views()
    lanes: int = Field(8, ge=1)
    mix: int = Field(8, ge=1)
    prefetch: int = Field(4, ge=1)
    cpus: float = Field(0.5, gt=0)
    memory: float = Field(0.3, gt=0, le=1)
    decode: Literal["worker", "tasks", "gpu"] = "worker"
    unreadable: float = Field(0.01, ge=0, lt=1)


#: `model.weights` that are fetched: the only ones, and only when a recipe says so.
TORCHVISION = "torchvision"


class Model(Section):
    """The network.

    Attributes:
        encoder: Image encoder: ``tiny`` for CPUs, or one of torchvision.
        weights: File of encoder weights (safetensors, torchvision's or our names), ``torchvision`` to fetch its best
            ImageNet weights, or None for random initialisation.
        norm: Normalisation of a ResNet: ``group``, or ``frozen`` statistics, which ImageNet weights bring and need.
        width: Length D of an action unit's embedding; in networks that read clips, channels of the map of a frame.
        squeeze: Channels that the branches see of each place on the face; 0 averages over places.
        neighbours: Edges each action unit keeps in the relation graph, itself included; 0 leaves the graph out.
        grid: Cells along each side of the map of a frame, in networks that read clips; as many as the encoder has when
            None. Fewer are cheaper, and see less.
    """

    encoder: Literal["tiny", "resnet18", "resnet50", "swin_t", "swin_s", "swin_b"] = "tiny"
    weights: str | None = None
    norm: Literal["group", "frozen"] = "group"
    width: int = Field(64, ge=4)
    squeeze: int = Field(24, ge=0)
    neighbours: int = Field(4, ge=0)
    grid: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _weights_fit(self) -> "Model":
        if self.weights == TORCHVISION and self.encoder == "tiny":
            raise ValueError("torchvision has no weights for the encoder `tiny`")
        if self.weights == TORCHVISION and self.encoder.startswith("resnet") and self.norm != "frozen":
            raise ValueError("torchvision's ResNet weights need their statistics: set model.norm to frozen")
        return self


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


class Predictive(Section):
    """Predictive coding of unlabelled clips.

    Attributes:
        blocks: Blocks of a clip, N.
        frames: Frames of a block; their maps are averaged.
        steps: Blocks that are predicted from those before them, P.
        temperature: Temperature of the products.
        normalise: Bring predicted and true cells to length one; the published method (`normalise: false`,
            `temperature: 1`) does not.
    """

    blocks: int = Field(8, ge=2)
    frames: int = Field(5, ge=1)
    steps: int = Field(3, ge=1)
    temperature: float = Field(0.1, gt=0)
    normalise: bool = True

    @model_validator(mode="after")
    def _some_blocks_are_seen(self) -> "Predictive":
        if self.steps >= self.blocks:
            raise ValueError(f"steps must be less than blocks ({self.blocks}): a block at least must be seen")
        return self


class Init(Section):
    """Where the network's weights come from.

    Attributes:
        run: A run (its name below the same `runs`, or an address) or a pulled model folder.
        checkpoint: ``best`` by the run's own validation metric, or ``last``.
    """

    run: str
    checkpoint: Literal["best", "last"] = "last"


#: The validation metrics that each job has; the first is its own.
METRICS = {
    "aunce": ("val_auc", "val_f1"),
    "detection": ("val_auc", "val_f1"),
    "predictive": ("val_accuracy",),
    "intensity": ("val_icc",),
}


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
    method: Literal["aunce", "predictive"] | None = None
    task: Literal["detection", "intensity"] | None = None
    seed: int = Field(0, ge=0)
    init: Init | None = None
    data: Data = Data()
    model: Model = Model()
    aunce: Aunce = Aunce()
    predictive: Predictive = Predictive()
    detection: Detection = Detection()
    optim: Optim = Optim()
    batch: Batch = Batch()
    engine: Engine = Engine()
    workers: Workers = Workers()
    keep: Keep = Keep()

    @model_validator(mode="before")
    @classmethod
    def _metric_of_the_job(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        job, keep = str(raw.get("method") or raw.get("task")), raw.get("keep", {})
        if job in METRICS and isinstance(keep, dict) and "metric" not in keep:
            return {**raw, "keep": {**keep, "metric": METRICS[job][0]}}
        return raw

    @model_validator(mode="after")
    def _one_job(self) -> "Recipe":
        if (self.method is None) == (self.task is None):
            raise ValueError(
                "give exactly one of `method` (pretraining: aunce, predictive) and `task` (supervised: detection, "
                "intensity)"
            )
        if self.keep.metric not in METRICS[self.job]:
            raise ValueError(f"keep.metric is {self.keep.metric}, but {self.job} has {', '.join(METRICS[self.job])}")
        data = self.data
        if data.decode == "gpu" and not self.workers.gpus:
            raise ValueError("data.decode: gpu needs workers.gpus")
        if self.task == "intensity" and data.labels.noise:
            raise ValueError("data.labels.noise turns occurrence labels; task: intensity has none")
        if self.method == "predictive" and (data.balance or data.labels != Labels(seed=data.labels.seed)):
            raise ValueError("method: predictive looks at no labels: data.balance and data.labels have no effect")
        if self.model.norm == "frozen" and self.model.weights is None and self.init is None:
            raise ValueError("model.norm: frozen has no statistics of its own: give model.weights or init")
        if self.task == "intensity" and self.data.frames_per_clip < 2:
            raise ValueError(
                "task: intensity reads frames in a row: set data.frames_per_clip, e.g. to the clips' length"
            )
        return self

    @property
    def job(self) -> str:
        """The method or the task."""
        return self.method or self.task or ""

    @property
    def reads_clips(self) -> bool:
        """Whether frames are read in a row, by a network with a memory."""
        return self.job in ("predictive", "intensity")

    @property
    def frames(self) -> int:
        """Frames of each clip."""
        foreseen = self.predictive.blocks * self.predictive.frames
        return foreseen if self.method == "predictive" else self.data.frames_per_clip

    def science(self) -> dict[str, Any]:
        """Return what determines the result: everything but names, places and machines."""
        places = dict.fromkeys(("name", "runs", "shards", "workers", "keep"), True)
        machines = {
            "data": {"cpus", "prefetch", "memory", "unreadable"},
            "engine": {"zero", "offload", "activation_checkpointing"},
        }
        return self.model_dump(mode="json", exclude={**places, **machines})

    def hash(self) -> str:
        """Return 12 hexadecimal digits that identify `science`."""
        return hashlib.sha256(json.dumps(self.science(), sort_keys=True).encode()).hexdigest()[:12]
