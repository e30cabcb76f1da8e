"""Recipes: what one run is, typed and frozen. Every default value lives here or in `au_dist.config.running`, once.

Rooms are handed their own section, never the whole recipe. Files and overrides: `au_dist.config.files`.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, model_validator

from au_dist.config.running import Batch, Engine, Keep, Optim, Workers
from au_dist.config.section import Section
from au_dist.config.sections import Data, Init, Labels, Model


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
