"""Sums and extremes over all products of two sets of vectors, in tiles: memory is linear in both.

Nothing is kept of a tile; the backward pass computes it again. On CUDA in float32 by Triton kernels, where Triton is
installed (it comes with PyTorch on Linux), otherwise in plain PyTorch.
"""

import importlib.util
from types import ModuleType
from typing import Any

import torch

from au_dist.model import tiles_plain


def form_for(a_RD: torch.Tensor, c_CD: torch.Tensor) -> ModuleType:
    """Return the module that computes for such tensors; kernels have nothing to do for none."""
    if len(a_RD) and len(c_CD) and a_RD.is_cuda and a_RD.dtype == torch.float32 and importlib.util.find_spec("triton"):
        from au_dist.model import tiles_triton

        return tiles_triton
    return tiles_plain


def log_sum_exp(
    a_RD: torch.Tensor, c_CD: torch.Tensor, scale: float, own_R: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``log sum_c exp(scale a_r . c)`` of each row, [R]; the candidate at `own_R` is left out."""
    return form_for(a_RD, c_CD).log_sum_exp(a_RD, c_CD, scale, own_R)


def log_sum_exp_gradient(
    a_RD: torch.Tensor,
    c_CD: torch.Tensor,
    scale: float,
    value_R: torch.Tensor,
    gradient_R: torch.Tensor,
    own_R: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of `log_sum_exp`, whose value is given, with respect to `a_RD` and `c_CD`."""
    return form_for(a_RD, c_CD).log_sum_exp_gradient(a_RD, c_CD, scale, value_R, gradient_R, own_R)


def best(a_RD: torch.Tensor, c_CD: torch.Tensor, own_R: torch.Tensor | None, highest: bool) -> torch.Tensor:
    """Return the place of the candidate with the highest (or lowest) product of each row, int64 [R]."""
    return form_for(a_RD, c_CD).best(a_RD, c_CD, own_R, highest)


def log_sum_exp_of(a_RD: torch.Tensor, c_CD: torch.Tensor, scale: float) -> torch.Tensor:
    """Return ``log sum_c exp(scale a_r . c)`` of each row, [R], differentiable with respect to both sets."""
    return _LogSumExp.apply(a_RD, c_CD, scale)


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a_RD: torch.Tensor, c_CD: torch.Tensor, scale: float) -> torch.Tensor:
        value_R = log_sum_exp(a_RD, c_CD, scale)
        ctx.save_for_backward(a_RD, c_CD, value_R)
        ctx.scale = scale
        return value_R

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_R: torch.Tensor) -> tuple[Any, ...]:
        a_RD, c_CD, value_R = ctx.saved_tensors
        return *log_sum_exp_gradient(a_RD, c_CD, ctx.scale, value_R, gradient_R), None
