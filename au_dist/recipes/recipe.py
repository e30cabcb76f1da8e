"""Recipes: what one run is, typed and frozen. Default values live in `au_dist.config` and in the methods, once.

Rooms are handed their own section. The whole recipe is for those that put a run together: `au_dist.runs` and above, and
of `au_dist.train` the plan and the state of a checkpoint. Files: `au_dist.recipes.files`.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from au_dist.config.running import Batch, Checkpoints, Engine, Optim, Tracking, Workers
from au_dist.config.section import Section
from au_dist.config.sections import Data, Init, Model
from au_dist.methods import METHODS, method_of
from au_dist.methods.aunce import Aunce
from au_dist.methods.base import Method, Parts
from au_dist.methods.detection import Detection
from au_dist.methods.predictive import Predictive

if TYPE_CHECKING:
    from au_dist.dist.world import World


class Recipe(Section):
    """One run.

    Attributes:
        name: The run's name: its folder below `runs`.
        shards: Address of the set of shards. In a file, `$NAME`, `${NAME}` and `~` in addresses (also `runs`,
            `init.run`, `model.weights`) are what they stand for on this machine; the stored recipe has that. `$$` is a
            dollar sign.
        runs: Address below which runs are stored.
        method: Pretraining method; exactly one of `method` and `task`.
        task: Supervised task; exactly one of `method` and `task`.
        seed: Seed of initialisation, order, views and kinds of positives.
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
    checkpoint: Checkpoints = Checkpoints()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        if (self.method is None) == (self.task is None):
            names = [", ".join(m.name for m in METHODS if m.supervised == supervised) for supervised in (False, True)]
            raise ValueError(
                f"give exactly one of `method` (pretraining: {names[0]}) and `task` (supervised: {names[1]})"
            )
        method = self.learns
        if self.metric not in method.metrics:
            raise ValueError(f"checkpoint.metric is {self.metric}, but {method.name} has {', '.join(method.metrics)}")
        if self.data.decode == "gpu" and not self.workers.gpus:
            raise ValueError("data.decode: gpu needs workers.gpus")
        for refusal in method.refusals(self.section, self.data, self.init is not None):
            raise ValueError(refusal)
        if not self.model.embed_dim and method.embeddings(self.section):
            raise ValueError("model.embed_dim: 0 leaves out the embeddings that this learns: it is for plain detection")
        if self.model.lora and self.model.weights is None and self.init is None:
            raise ValueError("model.lora leaves the encoder's own weights as they are: give model.weights or init")
        if self.model.lora and self.engine.zero == 3:
            raise ValueError("model.lora adds to weights that engine.zero: 3 takes apart: use engine.zero: 2 or less")
        if self.model.norm == "frozen" and self.model.weights is None and self.init is None:
            raise ValueError("model.norm: frozen has no statistics of its own: give model.weights or init")
        return self

    @property
    def learns(self) -> Method:
        """The method or the task."""
        return method_of(self.method or self.task)

    @property
    def section(self) -> Any:
        """The section of the method or the task; None where it has none."""
        return getattr(self, self.learns.name) if self.learns.section else None

    @property
    def metric(self) -> str:
        """The validation metric that says which checkpoint is best."""
        return self.checkpoint.metric or self.learns.metrics[0]

    @property
    def frames(self) -> int:
        """Frames of each clip."""
        return self.learns.frames(self.section, self.data)

    @property
    def views(self) -> int:
        """Random views of each clip."""
        return self.learns.views(self.section)

    def parts(self, num_aus: int, rates: Sequence[float], world: "World", *, fresh: bool) -> Parts:
        """Return what the module is made of.

        Args:
            num_aus: Number of action units.
            rates: Share of the training labels in which each of them occurs; NaN without labels.
            world: This process among the workers.
            fresh: The encoder begins with the weights that the recipe names; otherwise all weights will be put in.
        """
        return Parts(
            section=self.section,
            model=self.model if fresh else self.model.model_copy(update={"weights": None}),
            size=self.data.size,
            frames=self.frames,
            num_aus=num_aus,
            rates=tuple(rates),
            seed=self.seed,
            lanes=self.data.lanes,
            images=(self.batch.contrast or self.batch.clips) * self.frames,
            pretrained=self.init is not None,
            world=world,
        )

    def science(self) -> dict[str, Any]:
        """Return what determines the result: everything but names, places and machines."""
        places = dict.fromkeys(("name", "runs", "shards", "workers", "checkpoint", "tracking"), True)
        machines = {
            "data": {"cpus", "node_labels", "prefetch", "memory", "unreadable"},
            "engine": {"zero", "offload", "activation_checkpointing"},
        }
        return self.model_dump(mode="json", exclude={**places, **machines})

    def hash(self) -> str:
        """Return 12 hexadecimal digits that identify `science`."""
        return hashlib.sha256(json.dumps(self.science(), sort_keys=True).encode()).hexdigest()[:12]
