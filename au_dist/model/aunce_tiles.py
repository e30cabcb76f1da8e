"""The two sides of AUNCE, the log-sums of negatives and of positives, without a cube of similarities.

Labels are binary, so for one action unit the candidates fall into two parts, and an anchor's negatives are the whole of
one part, its positives the whole of the other: no mask is needed. Each side is streamed over tiles of anchors x
candidates. Only one number an anchor, action unit and side is kept; the tiles are computed again in the backward pass.
Memory is linear in anchors and candidates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from au_dist.model.tiles import log_sum_exp, log_sum_exp_gradient


@dataclass(frozen=True)
class AnchorGroup:
    """Anchors of one action unit that have the same label and the same kind of positive.

    Attributes:
        au: The action unit, a column.
        anchor_R: int64 [R]: the anchors.
        negative_Q: int64 [Q]: the candidates with the other label, at least one.
        beta: Exponent of the negatives.
        positive_P: int64 [P]: the candidates with the same label, over which the mean is taken; None for one positive.
        own_R: int64 [R]: place of each anchor itself in `positive_P`, which is left out of the mean; None to keep it.
        divisor: What the sum over the positives is divided by.
        pair_R: int64 [R]: the one positive of each anchor; None for the mean.
    """

    au: int
    anchor_R: torch.Tensor
    negative_Q: torch.Tensor
    beta: float
    positive_P: torch.Tensor | None = None
    own_R: torch.Tensor | None = None
    divisor: int = 1
    pair_R: torch.Tensor | None = None


def sides(
    anchor_MAD: torch.Tensor, candidate_NAD: torch.Tensor, groups: Sequence[AnchorGroup], temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two sides of every anchor, differentiable with respect to anchors and candidates.

    Args:
        anchor_MAD: Embeddings of the anchors, float32 or float64, [M, A, D].
        candidate_NAD: Embeddings of the candidates, [N, A, D]; may be the same tensor.
        groups: Which anchors count and what each is compared with.
        temperature: Temperature of the similarities s.

    Returns:
        ``log sum exp(beta s)`` over the negatives and ``log mean exp(s)`` over the positives (or s of the one
        positive), [M, A] each; 0 where an anchor is in no group.
    """
    same = anchor_MAD is candidate_NAD
    return _Sides.apply(anchor_MAD, None if same else candidate_NAD, groups, temperature)


class _Sides(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        anchor_MAD: torch.Tensor,
        other_NAD: torch.Tensor | None,
        groups: Sequence[AnchorGroup],
        temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        candidate_NAD = anchor_MAD if other_NAD is None else other_NAD
        negative_MA, positive_MA = (anchor_MAD.new_zeros(anchor_MAD.shape[:2]) for _ in range(2))
        for group in groups:
            a_RD = anchor_MAD[group.anchor_R, group.au]
            negative_QD = candidate_NAD[group.negative_Q, group.au]
            negative_MA[group.anchor_R, group.au] = log_sum_exp(a_RD, negative_QD, group.beta / temperature)
            if group.pair_R is not None:
                side_R = (a_RD * candidate_NAD[group.pair_R, group.au]).sum(1) / temperature
            else:
                positive_PD = candidate_NAD[group.positive_P, group.au]
                side_R = log_sum_exp(a_RD, positive_PD, 1 / temperature, group.own_R)
                side_R -= math.log(group.divisor)
            positive_MA[group.anchor_R, group.au] = side_R
        ctx.save_for_backward(anchor_MAD, other_NAD, negative_MA, positive_MA)
        ctx.groups, ctx.temperature = groups, temperature
        return negative_MA, positive_MA

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gneg_MA: torch.Tensor, gpos_MA: torch.Tensor) -> tuple[Any, ...]:
        anchor_MAD, other_NAD, negative_MA, positive_MA = ctx.saved_tensors
        candidate_NAD = anchor_MAD if other_NAD is None else other_NAD
        ganchor_MAD = torch.zeros_like(anchor_MAD)
        gcandidate_NAD = ganchor_MAD if other_NAD is None else torch.zeros_like(other_NAD)
        for group in ctx.groups:
            au, rows_R = group.au, group.anchor_R
            a_RD, gneg_R, gpos_R = anchor_MAD[rows_R, au], gneg_MA[rows_R, au], gpos_MA[rows_R, au]
            c_QD = candidate_NAD[group.negative_Q, au]
            ga_RD, gc_QD = log_sum_exp_gradient(
                a_RD, c_QD, group.beta / ctx.temperature, negative_MA[rows_R, au], gneg_R
            )
            gcandidate_NAD[:, au].index_add_(0, group.negative_Q, gc_QD)
            if group.pair_R is not None:
                g_R1 = gpos_R[:, None] / ctx.temperature
                ga_RD += g_R1 * candidate_NAD[group.pair_R, au]
                gcandidate_NAD[:, au].index_add_(0, group.pair_R, g_R1 * a_RD)
            else:
                sum_R = positive_MA[rows_R, au] + math.log(group.divisor)
                c_PD = candidate_NAD[group.positive_P, au]
                more_RD, gc_PD = log_sum_exp_gradient(a_RD, c_PD, 1 / ctx.temperature, sum_R, gpos_R, group.own_R)
                ga_RD += more_RD
                gcandidate_NAD[:, au].index_add_(0, group.positive_P, gc_PD)
            ganchor_MAD[:, au].index_add_(0, rows_R, ga_RD)
        return ganchor_MAD, None if other_NAD is None else gcandidate_NAD, None, None
