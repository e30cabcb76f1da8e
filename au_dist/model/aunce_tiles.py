"""The two sides of AUNCE, the log-sums of negatives and of positives, without a cube of similarities.

Labels are binary, so for one action unit the candidates fall into two parts, and an anchor's negatives are the whole of
one part, its positives the whole of the other: no mask is needed. Each side is streamed over tiles of anchors x
candidates. Only one number an anchor, action unit and side is kept; the tiles are computed again in the backward pass.
Memory is linear in anchors and candidates.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

#: Anchors x candidates of a tile: 2 MiB in float32, which stays in a core's cache (benchmarks/loss.py).
TILE_ANCHORS, TILE_CANDIDATES = 512, 1024


@dataclass(frozen=True)
class Group:
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
    anchor_MAD: torch.Tensor, candidate_NAD: torch.Tensor, groups: Sequence[Group], temperature: float
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
        ctx: Any, anchor_MAD: torch.Tensor, other_NAD: torch.Tensor | None, groups: Sequence[Group], temperature: float
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


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, rows, TILE_ANCHORS):
        for column in range(0, columns, TILE_CANDIDATES):
            yield slice(row, min(row + TILE_ANCHORS, rows)), slice(column, min(column + TILE_CANDIDATES, columns))


def _tile(
    a_RD: torch.Tensor, c_CD: torch.Tensor, at: tuple[slice, slice], own_R: torch.Tensor | None, own: float
) -> torch.Tensor:
    """Return a tile of products; `own` is put where an anchor meets itself."""
    rows, columns = at
    tile_RC = a_RD[rows] @ c_CD[columns].T
    if own_R is not None:
        place_R = own_R[rows] - columns.start
        here_R = ((place_R >= 0) & (place_R < tile_RC.shape[1])).nonzero()[:, 0]
        tile_RC[here_R, place_R[here_R]] = own
    return tile_RC


def log_sum_exp(
    a_RD: torch.Tensor, c_CD: torch.Tensor, scale: float, own_R: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``log sum_c exp(scale a_r . c)`` of each row, [R]; the candidate at `own_R` is left out."""
    most_R = a_RD.new_full((len(a_RD),), float("-inf"))
    sum_R = a_RD.new_zeros(len(a_RD))
    for rows, columns in _tiles(len(a_RD), len(c_CD)):
        tile_RC = _tile(a_RD, c_CD, (rows, columns), own_R, float("-inf")).mul_(scale)
        before_R = most_R[rows]
        # A tile of the anchor alone has no maximum.
        most_now_R = torch.maximum(before_R, tile_RC.amax(1)).clamp(min=torch.finfo(tile_RC.dtype).min)
        sum_R[rows] *= (before_R - most_now_R).exp()
        sum_R[rows] += tile_RC.sub_(most_now_R[:, None]).exp_().sum(1)
        most_R[rows] = most_now_R
    return sum_R.log_().add_(most_R)


def log_sum_exp_gradient(
    a_RD: torch.Tensor,
    c_CD: torch.Tensor,
    scale: float,
    value_R: torch.Tensor,
    gradient_R: torch.Tensor,
    own_R: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of `log_sum_exp`, whose value is given, with respect to `a_RD` and `c_CD`."""
    ga_RD, gc_CD = torch.zeros_like(a_RD), torch.zeros_like(c_CD)
    gradient_R = gradient_R * scale
    for rows, columns in _tiles(len(a_RD), len(c_CD)):
        tile_RC = _tile(a_RD, c_CD, (rows, columns), own_R, float("-inf")).mul_(scale)
        weight_RC = tile_RC.sub_(value_R[rows, None]).exp_().mul_(gradient_R[rows, None])
        ga_RD[rows].addmm_(weight_RC, c_CD[columns])
        gc_CD[columns].addmm_(weight_RC.T, a_RD[rows])
    return ga_RD, gc_CD


def best(a_RD: torch.Tensor, c_CD: torch.Tensor, own_R: torch.Tensor | None, highest: bool) -> torch.Tensor:
    """Return the place of the candidate with the highest (or lowest) product of each row, int64 [R]."""
    worst = float("-inf") if highest else float("inf")
    value_R, place_R = a_RD.new_full((len(a_RD),), worst), torch.zeros(len(a_RD), dtype=torch.int64, device=a_RD.device)
    for rows, columns in _tiles(len(a_RD), len(c_CD)):
        tile_RC = _tile(a_RD, c_CD, (rows, columns), own_R, worst)
        now_R, at_R = tile_RC.max(1) if highest else tile_RC.min(1)
        better_R = now_R > value_R[rows] if highest else now_R < value_R[rows]
        place_R[rows] = torch.where(better_R, at_R + columns.start, place_R[rows])
        value_R[rows] = torch.where(better_R, now_R, value_R[rows])
    return place_R
