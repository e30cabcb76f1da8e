"""The sections of a recipe that say how a run is carried out: batches, optimizer, engine, workers, checkpoints."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from au_dist.config.section import NodeLabels, Section


class Optim(Section):
    """AdamW with linear warm-up."""

    lr: float = Field(1e-3, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="After the warm-up: half a cosine down to zero, or the peak to the end."
    )
    weight_decay: float = Field(1e-4, ge=0, description="Decoupled weight decay.")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    grad_clip: float = Field(1.0, ge=0, description="Largest global gradient norm; 0 does not clip.")
    encoder: float = Field(1.0, ge=0, le=1, description="Learning rate of the image encoder, as a share of `lr`.")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Learning rate of each of the encoder's five stages, as a share of the next one's."
    )
    skip: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of the last 100 contrast sets that may be skipped: their loss is not finite.",
    )
    epochs: float = Field(10, gt=0, description="Length of the run; fractions are allowed.")


class Batch(Section):
    """How clips form steps; none of it depends on the number of workers.

    Attributes:
        clips: Clips of one optimizer step, over all workers.
        contrast: Clips of one contrast set, over all workers; divides `clips`. All of `clips` when None.
    """

    clips: int = Field(64, ge=2)
    contrast: int | None = Field(None, ge=2)


class Engine(Section):
    """DeepSpeed. All but `precision` may change when a run goes on.

    Attributes:
        zero: ZeRO stage: what the workers share out among them instead of each holding all of it. 0 nothing, 1 the
            optimizer's state, 2 the gradients too, 3 the weights too.
        precision: Number format of the products in the forward and backward pass; weights stay in fp32. ``fp16`` comes
            with a loss scale that finds its own size, for GPUs without bf16.
        activation_checkpointing: Keep only what goes into the encoder's stages, and compute the rest again in the
            backward pass: less memory, up to a third more time.
        offload: Keep the optimizer's state in the CPU's memory, and update there; needs `zero` 1 or more.
    """

    zero: Literal[0, 1, 2, 3] = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    activation_checkpointing: bool = False
    offload: bool = False

    @model_validator(mode="after")
    def _offload_needs_zero(self) -> "Engine":
        if self.offload and not self.zero:
            raise ValueError("engine.offload needs engine.zero: 1 or more (stage 0 keeps the optimizer's state whole)")
        return self


class Workers(Section):
    """The training workers.

    Attributes:
        count: How many; or the least and the most, `[1, 4]`: as many as there is room for, of the numbers that divide
            `data.lanes`, growing and shrinking with the cluster.
        cpus: CPUs of each, as Ray counts them.
        gpus: GPUs of each.
        node_labels: Only nodes with all of these labels have workers (`ray start --labels pool=train`); any when empty.
        max_failures: How often a lost worker is replaced before the run gives up.
        start_timeout_s: Seconds to wait for the cluster to place all workers before the run ends with exit code 75,
            without those in which machines are being started.
    """

    count: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = 2
    cpus: float = Field(0.5, gt=0)
    gpus: float = Field(0, ge=0)
    node_labels: NodeLabels = Field({})
    max_failures: int = Field(3, ge=0)
    start_timeout_s: float = Field(60, gt=0)

    @property
    def least(self) -> int:
        """The least workers that the run goes on with."""
        return self.count if isinstance(self.count, int) else min(self.count)

    @property
    def most(self) -> int:
        """The most workers that the run takes."""
        return self.count if isinstance(self.count, int) else max(self.count)


class Checkpoints(Section):
    """Validation and checkpoints.

    Attributes:
        every_steps: Steps between checkpoints; at the end of each epoch when None. Each begins with a
            validation.
        last_k: Newest checkpoints to keep.
        top_k: Best checkpoints to keep.
        keep_multiples_of: Checkpoints whose step is a multiple of this are kept, too.
        metric: Validation metric that says which is best (larger is better); the method's own when None: `val_auc`
            (or `val_f1`) where labels are occurrence, `val_accuracy` of predictive coding, `val_icc` of intensity.
        ledger: Write which clips each contrast set saw, for `au-dist verify-order`.
    """

    every_steps: int | None = Field(None, ge=1)
    last_k: int = Field(2, ge=1)
    top_k: int = Field(1, ge=1)
    keep_multiples_of: int | None = Field(None, ge=1)
    metric: Literal["val_f1", "val_auc", "val_accuracy", "val_icc"] | None = None
    ledger: bool = False


class Tracking(Section):
    """A tracker of experiments that is told the rows of `metrics.jsonl` too (docs/watching.md).

    Attributes:
        to: Which; none when None. Each is an extra, ``au-dist[mlflow]`` and ``au-dist[wandb]``.
        experiment: MLflow's experiment, or the project of Weights & Biases.
    """

    to: Literal["mlflow", "wandb"] | None = None
    experiment: str = Field("au-dist", min_length=1)
