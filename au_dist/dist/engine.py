"""What does the steps of a module: DeepSpeed's engine, or one for modules in which nothing is trained by steps."""

from typing import Any, Protocol

import torch

from au_dist.dist.loss_scale import LossScale
from au_dist.dist.world import World


class Engine(Protocol):
    """Does the steps of a module; `au_dist.dist.deepspeed_engine` says what each part means."""

    scale: LossScale | None
    grad_norm: float

    @property
    def left_out(self) -> bool:
        """Whether the last update was left out."""

    def loss(self, *inputs: Any) -> torch.Tensor:
        """Return the loss of one micro-batch."""

    def no_loss(self, *inputs: Any) -> torch.Tensor:
        """Return a loss of zero whose gradient is zero everywhere."""

    def learn(self, lr: float, loss: torch.Tensor) -> None:
        """Do the backward pass of one micro-batch, and the update when it completes a step."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all parameters and buffers in full precision, on the CPU; every rank must call."""

    def moments(self) -> dict[str, torch.Tensor]:
        """Return the optimizer's moments as whole tensors, on the CPU; every rank must call."""

    def restore(
        self, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], updates: int, *inputs: Any
    ) -> None:
        """Take up where a checkpoint stopped; the module must hold its weights already."""

    def close(self) -> None:
        """Let go of the engine."""


class StillEngine:
    """Of a module without a parameter that is trained: what it learns, it learns when it is validated.

    Args:
        module: Returns the loss of a micro-batch from its forward pass.
        world: This process among the workers.
    """

    scale: LossScale | None = None
    grad_norm = float("nan")
    left_out = True

    def __init__(self, module: torch.nn.Module, world: World) -> None:
        self.module = module.to(world.device)

    @torch.no_grad()
    def loss(self, *inputs: Any) -> torch.Tensor:
        """Return the loss of one micro-batch."""
        return self.module(*inputs)

    def no_loss(self, *inputs: Any) -> torch.Tensor:
        """Return a loss of zero."""
        return 0.0 * self.loss(*inputs)

    def learn(self, lr: float, loss: torch.Tensor) -> None:
        """Move nothing."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all parameters and buffers in full precision, on the CPU."""
        return {name: tensor.detach().float().cpu().clone() for name, tensor in self.module.state_dict().items()}

    def moments(self) -> dict[str, torch.Tensor]:
        """Return nothing: there is no optimizer."""
        return {}

    def restore(self, *_: Any) -> None:
        """Take up where a checkpoint stopped: the module holds all there is."""

    def close(self) -> None:
        """Let go of nothing."""
