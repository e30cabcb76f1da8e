"""Losses. Plain tensors in, sums and counts out; no ranks.

AUNCE compares each anchor with every candidate of its contrast set, one action unit at a time:

    s_ij = z_i . z_j / temperature
    positives P_i = {j : y_j = y_i},   negatives N_i = {j : y_j != y_i}
    loss_i = log(1 + exp(lneg_i - lpos_i)),   lneg_i = log sum_{j in N_i} exp(beta(y_i) s_ij)

where lpos is, by the drawn kind, the highest, the mean, the other view's, or the lowest similarity of a positive.
`au_dist.model.aunce_tiles` computes both sides in memory that is linear in N.
Equations re-derived from the method's published code (see docs/methods.md); nothing is copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from au_dist.core.errors import TrainError
from au_dist.model.aunce_tiles import AnchorGroup, sides
from au_dist.model.tiles import best

HIGHEST, MEAN, OTHER_VIEW, LOWEST = range(4)

#: How far the length of an embedding may be from one: rounding in half precision passes, no normalisation does not.
LENGTH_TOLERANCE = 0.01

Mode = Literal["corrected", "released"]


def full_precision(device: torch.device) -> torch.autocast:
    """Return the context of a loss: similarities over a temperature are too coarse in bf16."""
    return torch.autocast(device.type, enabled=False)


@dataclass(frozen=True)
class Candidates:
    """What anchors are compared with.

    Attributes:
        z_NAD: Embeddings of length one, [N, A, D].
        y_NA: Occurrence in {0, 1}.
        valid_NA: Whether `y_NA` is known.
    """

    z_NAD: torch.Tensor
    y_NA: torch.Tensor
    valid_NA: torch.Tensor


def draw_kinds(
    positive_weights: tuple[float, ...], shape: int | tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """Draw kinds of positives.

    Args:
        positive_weights: How often each kind is drawn: highest, mean, other view and (optionally) lowest.
        shape: A: one kind an action unit. (M, A): one an anchor and action unit.
        generator: A CPU generator; equal on every rank.

    Returns:
        int64 of that shape.
    """
    edges = torch.tensor(positive_weights, dtype=torch.float64).cumsum(0) / sum(positive_weights)
    return torch.bucketize(torch.rand(shape, generator=generator, dtype=torch.float64), edges[:-1], right=True)


def aunce_terms(
    anchor: Candidates,
    candidate: Candidates,
    index_M: torch.Tensor,
    partner_M: torch.Tensor,
    kinds: torch.Tensor,
    minority_A: torch.Tensor,
    *,
    temperature: float,
    beta: tuple[float, float],
    mode: Mode,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of each anchor and whether it counts.

    Args:
        anchor: The anchors of this rank, M of them.
        candidate: All candidates of the contrast set, N of them.
        index_M: int64 [M]: which candidate each anchor is itself.
        partner_M: int64 [M]: which candidate is the other view of each anchor.
        kinds: int64 [A] or [M, A]: kind of positive of each action unit, or of each anchor too.
        minority_A: [A]: the rarer label of each action unit.
        temperature: Temperature of the similarities.
        beta: Exponents of the negatives of an anchor in the commoner and in the rarer state.
        mode: ``released`` keeps the anchor among its own positives and divides the mean by N.

    Returns:
        loss_MA and counts_MA (bool); the loss is 0 where an anchor does not count.
    """
    kinds_MA = kinds.expand(anchor.y_NA.shape)
    groups = list(_groups(anchor, candidate, index_M, partner_M, kinds_MA, minority_A, beta, mode))
    lneg_MA, lpos_MA = sides(anchor.z_NAD, candidate.z_NAD, groups, temperature)
    counts_MA = torch.zeros_like(anchor.valid_NA)
    for group in groups:
        counts_MA[group.anchor_R, group.au] = True
    return torch.where(counts_MA, F.softplus(lneg_MA - lpos_MA), 0.0), counts_MA


def _groups(
    anchor: Candidates,
    candidate: Candidates,
    index_M: torch.Tensor,
    partner_M: torch.Tensor,
    kinds_MA: torch.Tensor,
    minority_A: torch.Tensor,
    beta: tuple[float, float],
    mode: Mode,
) -> Iterator[AnchorGroup]:
    """Yield the anchors that count, by action unit, label and kind of positive."""
    for au in range(anchor.y_NA.shape[1]):
        known_N, y_N = candidate.valid_NA[:, au], candidate.y_NA[:, au] > 0
        parts = [(known_N & ~y_N).nonzero()[:, 0], (known_N & y_N).nonzero()[:, 0]]
        place_N = torch.zeros_like(y_N, dtype=torch.int64)
        for part_P in parts:
            place_N[part_P] = torch.arange(len(part_P), device=part_P.device)
        for label, (same_P, other_Q) in enumerate(zip(parts, reversed(parts), strict=True)):
            of_label_M = anchor.valid_NA[:, au] & ((anchor.y_NA[:, au] > 0) == bool(label))
            positives = len(same_P) - (mode == "corrected")
            for kind in (HIGHEST, MEAN, OTHER_VIEW, LOWEST):
                row_R = (of_label_M & (kinds_MA[:, au] == kind)).nonzero()[:, 0]
                if not len(row_R) or not len(other_Q) or (positives < 1 and kind != OTHER_VIEW):
                    continue
                weight = beta[1] if label == int(minority_A[au]) else beta[0]
                own_R = place_N[index_M[row_R]] if mode == "corrected" else None
                if kind == MEAN:
                    divisor = positives if mode == "corrected" else len(candidate.y_NA)
                    yield AnchorGroup(au, row_R, other_Q, weight, same_P, own_R, divisor)
                elif kind == OTHER_VIEW:
                    yield AnchorGroup(au, row_R, other_Q, weight, pair_R=partner_M[row_R])
                else:
                    with torch.no_grad():
                        a_RD, c_PD = anchor.z_NAD[row_R, au], candidate.z_NAD[same_P, au]
                        pair_R = same_P[best(a_RD, c_PD, own_R, kind == HIGHEST)]
                    yield AnchorGroup(au, row_R, other_Q, weight, pair_R=pair_R)


def aunce_mean(
    sum_A: torch.Tensor, count_A: torch.Tensor, anchors: int, mode: Mode, weight_A: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the scalar loss from sums and counts over the whole contrast set.

    Args:
        sum_A: Sum of the losses of each action unit.
        count_A: How many anchors count for it.
        anchors: Anchors of the contrast set, counting or not.
        mode: ``released`` averages over all anchors and action units, ``corrected`` over those with a signal.
        weight_A: Weight of each action unit.
    """
    if mode == "released":
        per_au = sum_A / anchors
        return (per_au if weight_A is None else per_au * weight_A).mean()
    per_au = sum_A / count_A.clamp(min=1)
    weight = (count_A > 0).to(per_au.dtype) * (1.0 if weight_A is None else weight_A)
    return (per_au * weight).sum() / (count_A > 0).sum().clamp(min=1)


def aunce_loss(
    z1_NAD: torch.Tensor,
    z2_NAD: torch.Tensor,
    y_NA: torch.Tensor,
    *,
    temperature: float = 0.5,
    beta: tuple[float, float] = (0.8, 1.2),
    kinds_A: torch.Tensor | None = None,
    positive_weights: tuple[float, ...] = (0.2, 0.6, 0.2),
    mode: Mode = "released",
    valid_NA: torch.Tensor | None = None,
    weight_A: torch.Tensor | None = None,
    minority_A: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return the AUNCE loss of one process.

    Args:
        z1_NAD: Embeddings of the first view, length one, [N, A, D].
        z2_NAD: Embeddings of the second view.
        y_NA: Occurrence in {0, 1}; -1 where it is not known.
        temperature: Temperature of the similarities.
        beta: Exponents of the negatives of an anchor in the commoner and in the rarer state.
        kinds_A: Kind of positive of each action unit (0 highest, 1 mean, 2 other view, 3 lowest), [A], or of each of
            the 2N anchors too, [2N, A]; one an action unit is drawn when None.
        positive_weights: How often each kind is drawn.
        mode: ``released`` or ``corrected``.
        valid_NA: Whether labels are known; all but -1 when None.
        weight_A: Weight of each action unit.
        minority_A: The rarer label of each action unit; 1 when None.
        generator: For drawing kinds.

    Returns:
        The scalar loss; 0, with a gradient of 0, when no anchor has a signal.

    Raises:
        TrainError: Shapes do not agree, a label is none, or an embedding is not of length one.
    """
    count, num_aus = y_NA.shape
    _check_input(z1_NAD, z2_NAD, y_NA)
    valid_NA = (y_NA >= 0) if valid_NA is None else valid_NA.bool() & (y_NA >= 0)
    if kinds_A is None:
        kinds_A = draw_kinds(positive_weights, num_aus, generator or torch.default_generator)
    everyone = Candidates(torch.cat([z1_NAD, z2_NAD]), y_NA.repeat(2, 1), valid_NA.repeat(2, 1))
    index_N = torch.arange(2 * count, device=z1_NAD.device)
    loss_MA, counts_MA = aunce_terms(
        everyone,
        everyone,
        index_N,
        index_N.roll(count),
        kinds_A.to(z1_NAD.device),
        torch.ones(num_aus, device=y_NA.device, dtype=y_NA.dtype) if minority_A is None else minority_A,
        temperature=temperature,
        beta=beta,
        mode=mode,
    )
    return aunce_mean(loss_MA.sum(0), counts_MA.sum(0), 2 * count, mode, weight_A)


def _check_input(z1_NAD: torch.Tensor, z2_NAD: torch.Tensor, y_NA: torch.Tensor) -> None:
    expected, shapes = [(*y_NA.shape, z1_NAD.shape[-1])] * 2, [tuple(z.shape) for z in (z1_NAD, z2_NAD)]
    if shapes != expected:
        raise TrainError(
            "Embeddings and labels do not fit", expected=f"[N, A, D] with [N, A] = {list(y_NA.shape)}", found=shapes
        )
    strange = sorted({float(y) for y in y_NA.unique()} - {0.0, 1.0, -1.0})
    if strange:
        raise TrainError("These labels are none", expected="0, 1, or -1 for unknown", found=strange[:5])
    for z_NAD in (z1_NAD, z2_NAD):
        worst = (z_NAD.detach().float().norm(dim=-1) - 1).abs().max() if z_NAD.numel() else torch.zeros(())
        if not worst <= LENGTH_TOLERANCE:
            raise TrainError(
                "The embeddings are not of length one",
                expected=f"lengths within {LENGTH_TOLERANCE:g} of 1",
                found=f"one that is off by {worst:.3g}",
                fix="Normalise them: torch.nn.functional.normalize(z, dim=-1).",
            )


def detection_terms(
    logit_BA: torch.Tensor, y_BA: torch.Tensor, valid_BA: torch.Tensor, weight_A: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of masked binary cross-entropies and the number of known labels.

    Args:
        logit_BA: Logits.
        y_BA: Occurrence, float in {0, 1}.
        valid_BA: Whether it is known.
        weight_A: Weight of the positive frames of each action unit.
    """
    loss_BA = F.binary_cross_entropy_with_logits(
        logit_BA, y_BA.to(logit_BA.dtype), pos_weight=weight_A, reduction="none"
    )
    return (loss_BA * valid_BA).sum(), valid_BA.sum()


def intensity_terms(
    found_BA: torch.Tensor, y_BA: torch.Tensor, valid_BA: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of squared errors at known intensities and the number of these.

    Args:
        found_BA: Estimates.
        y_BA: Intensities, 0 to 5.
        valid_BA: Whether they are known.
    """
    # Not the error times the mask: a NaN that stands for unknown would reach the gradient.
    y_BA = torch.where(valid_BA, y_BA.to(found_BA.dtype), found_BA.detach())
    return (found_BA - y_BA).square().sum(), valid_BA.sum()
