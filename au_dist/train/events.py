"""What happens in a run, as values: on its way to the record, to the terminal, and to whoever measures it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Leaving(IntEnum):
    """Whether a run ends before its last step: with a checkpoint of the step that it came to, or at once."""

    NO = 0
    STORED = 1
    AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """A step of the optimizer.

    Attributes:
        step: Steps done, from 1.
        steps: Steps of the whole run.
        epoch: Epochs done.
        loss: Mean loss of the contrast sets that were learnt from; None where none was.
        grad_norm: Norm of the gradient before it was clipped; None where the update was left out.
        loss_scale: The loss scale in fp16, otherwise None.
        lr: Learning rate.
        clips_per_s: Clips a second, over all workers.
        step_s: Seconds that the step took.
        data_wait: Share of the step in which the leading worker waited for data.
        eta_s: Seconds that are left, at the pace so far.
        unlabelled_sets: Contrast sets without a known label.
        skipped_clips: Clips of the contrast sets that were skipped because their loss is not finite.
        unreadable: Frames that do not decode, and why.
    """

    step: int
    steps: int
    epoch: float
    loss: float | None
    grad_norm: float | None
    loss_scale: float | None
    lr: float
    clips_per_s: float
    step_s: float
    data_wait: float
    eta_s: float
    unlabelled_sets: int = 0
    skipped_clips: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def left_out(self) -> bool:
        """Whether the update was left out because fp16 cannot hold its gradient."""
        return self.grad_norm is None

    def row(self) -> dict[str, Any]:
        """Return the line of the record; what did not happen is not in it."""
        gradient = {"left_out": True} if self.left_out else {"grad_norm": self.grad_norm}
        return {
            "step": self.step,
            "steps": self.steps,
            "epoch": self.epoch,
            **({} if self.loss is None else {"loss": self.loss}),
            **gradient,
            **({} if self.loss_scale is None else {"loss_scale": self.loss_scale}),
            "lr": self.lr,
            "clips_per_s": self.clips_per_s,
            "step_s": self.step_s,
            "data_wait": self.data_wait,
            **({"unlabelled_sets": self.unlabelled_sets} if self.unlabelled_sets else {}),
            **({"skipped_clips": list(self.skipped_clips)} if self.skipped_clips else {}),
            **({"unreadable": list(self.unreadable)} if self.unreadable else {}),
            "eta_s": self.eta_s,
        }


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A validation.

    Attributes:
        step: Steps done.
        metrics: Numbers by name, ``val_...``; under ``unreadable`` what did not decode.
    """

    step: int
    metrics: dict[str, Any]

    def row(self) -> dict[str, Any]:
        """Return the line of the record."""
        return {"step": self.step, **self.metrics}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A checkpoint is in storage.

    Attributes:
        step: Its step.
        bytes: Its size.
        seconds: How long that took, while training went on.
        validated_s: Seconds of the validation before it; None without one.
        memory_mib: Most memory of a worker until then; None without a validation.
    """

    step: int
    bytes: int
    seconds: float
    validated_s: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Noted:
    """What a person should know of a run before it begins, in `words`."""

    words: str


@dataclass(frozen=True)
class Resumed:
    """The workers go on from a step that is stored."""

    step: int


@dataclass(frozen=True)
class CheckpointDamaged:
    """A checkpoint is left out; why, is in `fault`."""

    fault: str


@dataclass(frozen=True)
class Waiting:
    """The run waits; for whom, is in `words`."""

    words: str


@dataclass(frozen=True)
class NodesDraining:
    """Nodes of the run are about to go; what is done about it, is in `words`."""

    words: str


@dataclass(frozen=True)
class WorkersLost:
    """Workers failed, and are started again if they may be; which, is in `words`."""

    words: str


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Return those metrics that are a number."""
    return {name: number for name, number in metrics.items() if not isinstance(number, list)}


#: What stands in the record of a run.
Recorded = StepDone | Validated

Event = StepDone | Validated | Stored | Noted | Resumed | CheckpointDamaged | Waiting | NodesDraining | WorkersLost
