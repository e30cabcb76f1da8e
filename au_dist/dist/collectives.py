"""Collectives as functions of a world; with a world of one they are the identity and need no process group."""

from typing import Any

import torch
import torch.distributed as dist

from au_dist.dist.world import World


class _AllGather(torch.autograd.Function):
    """All-gather whose backward pass sums the gradients of all ranks and returns each rank its own part."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: int) -> torch.Tensor:
        ctx.rows = len(x)
        whole = x.new_empty((size * len(x), *x.shape[1:]))
        dist.all_gather_into_tensor(whole, x.contiguous())
        return whole

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        mine = grad.new_empty((ctx.rows, *grad.shape[1:]))
        dist.reduce_scatter_tensor(mine, grad.contiguous())
        return mine, None


class _AllReduceSum(torch.autograd.Function):
    """All-reduce (sum) whose backward pass sums the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        whole = x.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        whole = grad.contiguous().clone()
        dist.all_reduce(whole)
        return whole


def all_reduce_sum(x: torch.Tensor, world: World) -> torch.Tensor:
    """Return the sum over all ranks; gradients, where there are any, flow back to every rank."""
    return x if world.size == 1 else _AllReduceSum.apply(x)


def all_gather(x: torch.Tensor, world: World) -> torch.Tensor:
    """Return the tensors of all ranks, equally long, one under the other; gradients flow back to every rank."""
    return x if world.size == 1 else _AllGather.apply(x, world.size)


def all_gather_objects(value: Any, world: World) -> list[Any]:
    """Return the values of all ranks. Values are pickled between trusted workers only."""
    if world.size == 1:
        return [value]
    values: list[Any] = [None] * world.size
    dist.all_gather_object(values, value)
    return values
