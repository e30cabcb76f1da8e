"""The DeepSpeed engine. Beside it only `au_dist.compat.deepspeed` imports deepspeed, which loads it.

Checkpoints hold whole tensors by parameter name, gathered through DeepSpeed's public accessors, so a run resumes on
another number of workers and at another ZeRO stage, and nothing is pickled (docs/decisions/0003-checkpoints.md).
"""

import dataclasses
import gc
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.distributed as dist

from au_dist.compat.deepspeed import load_deepspeed
from au_dist.config.running import Engine as EngineConfig
from au_dist.config.running import Optim
from au_dist.core.errors import CheckpointError
from au_dist.dist.loss_scale import LossScale
from au_dist.dist.world import World

_MOMENTS = ("exp_avg", "exp_avg_sq")

#: What the loss scale is called among the moments.
_SCALE = "loss_scale"

_PRODUCTS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def settings(engine: EngineConfig, optim: Optim, *, micro: int, accumulate: int, world: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration.

    Args:
        engine: The engine section of the recipe.
        optim: The optimizer section.
        micro: Clips of one rank in one contrast set.
        accumulate: Contrast sets of a step.
        world: Number of ranks.
    """
    return {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulate,
        "train_batch_size": micro * accumulate * world,
        # At stage 0 `DeepSpeedEngine` knows the norm already.
        "gradient_clipping": optim.grad_clip if engine.zero else 0.0,
        "zero_optimization": {
            "stage": engine.zero,
            **({"offload_optimizer": {"device": "cpu"}} if engine.offload else {}),
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # PyTorch's needs no compiler
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


class DeepSpeedEngine:
    """A module whose every step DeepSpeed does.

    Args:
        module: Returns the loss of a micro-batch from its forward pass; gathers across ranks inside.
        engine: The engine section of the recipe.
        optim: The optimizer section.
        micro: Clips of one rank in one contrast set.
        accumulate: Contrast sets of a step.
        world: This process among the workers; a process group exists already.
        shares: Parameter → its learning rate, as a share of the step's; 1 for those that are not in it.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        engine: EngineConfig,
        optim: Optim,
        *,
        micro: int,
        accumulate: int,
        world: World,
        shares: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        deepspeed = load_deepspeed()
        self.world, self.module = world, module.to(world.device)
        if engine.precision in _PRODUCTS:
            # Around the module's own forward pass, where DeepSpeed's engine leaves it alone. Weights, gradients and
            # the optimizer's state stay in full precision.
            products = torch.autocast(world.device.type, dtype=_PRODUCTS[engine.precision])
            module.forward = products(module.forward)
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(shares.get(name, 1.0), []).append(parameter)
        self._shares = list(groups)
        self._adam = torch.optim.AdamW(
            [{"params": group} for group in groups.values()], lr=optim.lr, weight_decay=optim.weight_decay
        )
        self._engine, *_ = deepspeed.initialize(
            model=self.module,
            optimizer=self._adam,
            config=settings(engine, optim, micro=micro, accumulate=accumulate, world=world.size),
            dist_init_required=False,
        )
        self._stage, self._clip, self._updated = engine.zero, optim.grad_clip, False
        if self._stage in (1, 2):
            # ZeRO links each parameter to its part of the optimizer's state when the first group has been updated, and
            # finds nothing for the parameters of the others, unless their state is there already.
            for group in self._adam.param_groups:
                for flat in group["params"]:
                    moments = {key: torch.zeros_like(flat) for key in _MOMENTS}
                    self._adam.state[flat] = {"step": torch.tensor(0.0), **moments}
        self.scale = LossScale() if engine.precision == "fp16" else None
        self.grad_norm = float("nan")

    def loss(self, *inputs: Any) -> torch.Tensor:
        """Return the loss of one micro-batch, for `learn`; arguments are what the module's forward pass takes."""
        return self._engine(*inputs)

    def no_loss(self, *inputs: Any) -> torch.Tensor:
        """Return a loss of zero whose gradient is zero everywhere; nothing is left in the module's buffers."""
        self.module.eval()
        try:
            return 0.0 * self.loss(*inputs)
        finally:
            self.module.train()

    def learn(self, lr: float, loss: torch.Tensor) -> None:
        """Do the backward pass of one micro-batch, and the update when it completes a step.

        In fp16 an update whose gradient is not finite is left out, and the loss scale halved.

        Args:
            lr: Learning rate of the update, before the parameters' shares.
            loss: From `loss`.
        """
        if self.scale is not None and self._stage > 0:
            self._engine.optimizer.override_loss_scale(self.scale.size)  # ZeRO scales, scales back, then clips
        elif self.scale is not None:
            loss = loss * self.scale.size
        self._engine.backward(loss)
        updates = self._engine.is_gradient_accumulation_boundary()
        if updates:
            for group, share in zip(self._engine.optimizer.param_groups, self._shares, strict=True):
                group["lr"] = lr * share
            if self._stage == 0:
                self.grad_norm = self._clipped()
        self._engine.step()
        if updates and self._stage > 0:
            norm = self._engine.get_global_grad_norm()
            self.grad_norm = float("nan") if norm is None else float(norm)
        finite = math.isfinite(self.grad_norm)
        self._updated |= updates and finite
        if updates and self.scale is not None:
            self.scale.note(finite)

    @property
    def left_out(self) -> bool:
        """Whether the last update was left out because fp16 cannot hold its gradient; a smaller scale comes next."""
        return self.scale is not None and self.scale.size >= 1 and not math.isfinite(self.grad_norm)

    def _clipped(self) -> float:
        """Scale the gradients back, clip them, return their norm; in fp16 they go if it is not finite."""
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        grads = [p.grad for p in parameters if p.grad is not None]
        if self.scale is not None:
            torch._foreach_div_(grads, self.scale.size)
        norm = torch.nn.utils.get_total_norm(grads)
        if self._clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
        if self.scale is not None and not torch.isfinite(norm):
            self._engine.zero_grad()
        return float(norm)

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, p) for name, p in self._engine.module.named_parameters() if p.requires_grad)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all parameters and buffers in full precision, on the CPU; every rank must call."""
        from deepspeed.utils import safe_get_full_fp32_param

        module = self._engine.module
        tensors = {name: p for name, p in module.named_buffers() if name in module.state_dict()}
        for name, parameter in module.named_parameters():
            full = safe_get_full_fp32_param(parameter) if self._stage and parameter.requires_grad else None
            tensors[name] = self._whole(parameter) if full is None else full
        return {name: tensor.detach().float().cpu().clone() for name, tensor in tensors.items()}

    def _whole(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        if self._stage < 3:
            return parameter
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()

    def moments(self) -> dict[str, torch.Tensor]:
        """Return the optimizer's moments as whole tensors, on the CPU; every rank must call."""
        from deepspeed.utils import safe_get_full_optimizer_state

        moments = {}
        for name, parameter in self._trained():
            for key in _MOMENTS:
                value = None  # no update yet
                if self._stage == 0:
                    value = self._adam.state.get(parameter, {}).get(key)
                elif self._updated:
                    value = safe_get_full_optimizer_state(parameter, key)
                value = torch.zeros(_shape(parameter)) if value is None else value
                moments[f"{name}/{key}"] = value.detach().float().cpu().reshape(_shape(parameter)).clone()
        if self.scale is not None:
            moments[_SCALE] = torch.tensor(dataclasses.astuple(self.scale), dtype=torch.float64)
        return moments

    def restore(
        self, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], updates: int, *inputs: Any
    ) -> None:
        """Take up where a checkpoint stopped; the module must hold its weights already.

        Args:
            weights: From `weights`; sets the full-precision copies that ZeRO keeps.
            moments: From `moments`.
            updates: Updates done before.
            *inputs: Any micro-batch. DeepSpeed's ZeRO allocates its optimizer state in the first update, so one is
                done with a learning rate of 0, which changes no weight, and what it left is overwritten.

        Raises:
            CheckpointError: A parameter is missing.
        """
        applied = updates
        if self.scale is not None:
            size, good, done = moments[_SCALE].tolist()
            self.scale, applied = LossScale(size=1.0), int(done)
        if self._stage:
            for _ in range(self._engine.gradient_accumulation_steps()):
                self.learn(0.0, self.loss(*inputs))
        if self.scale is not None:
            self.scale = LossScale(size, int(good), applied)
        for name, parameter in self._trained():
            missing = [key for key in (f"{name}/{part}" for part in _MOMENTS) if key not in moments]
            if missing:
                # Frozen layers have no moments, so a recipe that trains others than before ends here.
                raise CheckpointError("The optimizer state lacks a parameter", where=missing[0])
            # Copies: the optimizer writes into its state, and what was handed in belongs to the caller.
            values = {key: moments[f"{name}/{key}"].to(self.world.device, copy=True) for key in _MOMENTS}
            if self._stage == 0:
                self._adam.state[parameter] = values
            else:
                self._set(parameter, weights[name].to(self.world.device), values)
        for name, buffer in self._engine.module.named_buffers():
            if name in weights:
                buffer.copy_(weights[name])
        for state in self._adam.state.values():
            state["step"] = torch.tensor(float(applied))
        self._engine.global_steps = updates

    def _set(self, parameter: torch.nn.Parameter, weight: torch.Tensor, moments: dict[str, torch.Tensor]) -> None:
        """Overwrite ZeRO's full-precision copy and moments of a parameter."""
        from deepspeed import utils

        if self._stage < 3:
            utils.safe_set_full_fp32_param(parameter, weight)
            for key, value in moments.items():
                utils.safe_set_full_optimizer_state(parameter, value, key)
            return
        # Stage 3's setters for whole tensors fail where the ranks' parts are padded, so each rank sets its own part.
        utils.safe_set_local_fp32_param(parameter, self._part(weight))
        for key, value in moments.items():
            utils.safe_set_local_optimizer_state(parameter, self._part(value), key)

    def _part(self, value: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(value.flatten(), (0, -value.numel() % self.world.size))
        return padded.chunk(self.world.size)[self.world.rank]

    def close(self) -> None:
        """Let go of the engine; without this a process may abort at its exit."""
        self._engine.destroy()
        del self._engine
        gc.collect()
        if dist.is_initialized() and self.world.size > 1:
            dist.barrier()


def _shape(parameter: torch.nn.Parameter) -> torch.Size:
    """Return a parameter's whole shape, also where ZeRO has left only a part of it here."""
    return getattr(parameter, "ds_shape", parameter.shape)
