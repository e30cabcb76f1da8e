"""Losses. Plain tensors in, sums and counts out; no ranks.

AUNCE compares each anchor with every candidate of its contrast set, one action unit at a time:

    s_ij = z_i . z_j / temperature
    positives P_i = {j : y_j = y_i},   negatives N_i = {j : y_j != y_i}
    loss_i = log(1 + exp(lneg_i - lpos_i)),   lneg_i = log sum_{j in N_i} exp(beta(y_i) s_ij)

where lpos is, by the drawn kind, the highest, the mean, the other view's, or the lowest similarity of a positive.
Equations re-derived from the method's published code (see docs/methods.md); nothing is copied.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

HIGHEST, MEAN, OTHER_VIEW, LOWEST = range(4)

Mode = Literal["corrected", "released"]


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


def draw_kinds(odds: tuple[float, ...], aus: int, generator: torch.Generator) -> torch.Tensor:
    """Draw the kind of positive of each action unit.

    Args:
        odds: Odds of the kinds highest, mean, other view and (optionally) lowest.
        aus: Number of action units, A.
        generator: A CPU generator; equal on every rank.

    Returns:
        int64 [A].
    """
    edges = torch.tensor(odds, dtype=torch.float64).cumsum(0) / sum(odds)
    return torch.bucketize(torch.rand(aus, generator=generator, dtype=torch.float64), edges[:-1], right=True)


def aunce_terms(
    anchor: Candidates,
    candidate: Candidates,
    index_N: torch.Tensor,
    partner_N: torch.Tensor,
    kinds_A: torch.Tensor,
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
        index_N: int64 [M]: which candidate each anchor is itself.
        partner_N: int64 [M]: which candidate is the other view of each anchor.
        kinds_A: int64 [A]: kind of positive of each action unit.
        minority_A: [A]: the rarer label of each action unit.
        temperature: Temperature of the similarities.
        beta: Exponents of the negatives of an anchor in the commoner and in the rarer state.
        mode: ``released`` keeps the anchor among its own positives and divides the mean by N.

    Returns:
        loss_MA and counts_MA (bool); the loss is 0 where an anchor does not count.
    """
    s_MNA = torch.einsum("mad,nad->mna", anchor.z_NAD, candidate.z_NAD) / temperature
    known_MNA = anchor.valid_NA[:, None] & candidate.valid_NA[None]
    equal_MNA = anchor.y_NA[:, None] == candidate.y_NA[None]
    positive_MNA, negative_MNA = equal_MNA & known_MNA, ~equal_MNA & known_MNA
    if mode == "corrected":
        itself_MN = torch.arange(len(candidate.z_NAD), device=s_MNA.device)[None] == index_N[:, None]
        positive_MNA = positive_MNA & ~itself_MN[:, :, None]

    low, high = torch.finfo(s_MNA.dtype).min, torch.finfo(s_MNA.dtype).max
    count_MA = positive_MNA.sum(1)
    divisor_MA = count_MA.clamp(min=1) if mode == "corrected" else torch.full_like(count_MA, len(candidate.z_NAD))
    lpos_KMA = torch.stack(
        [
            s_MNA.masked_fill(~positive_MNA, low).amax(1),
            s_MNA.masked_fill(~positive_MNA, low).logsumexp(1) - divisor_MA.to(s_MNA.dtype).log(),
            s_MNA.gather(1, partner_N[:, None, None].expand(-1, 1, s_MNA.shape[2]))[:, 0],
            s_MNA.masked_fill(~positive_MNA, high).amin(1),
        ]
    )
    lpos_MA = lpos_KMA.gather(0, kinds_A[None, None].expand(1, *count_MA.shape))[0]
    rare_MA = anchor.y_NA == minority_A
    beta_MA = torch.where(rare_MA, beta[1], beta[0]).to(s_MNA.dtype)
    lneg_MA = (beta_MA[:, None] * s_MNA).masked_fill(~negative_MNA, low).logsumexp(1)
    counts_MA = anchor.valid_NA & negative_MNA.any(1) & ((count_MA > 0) | (kinds_A == OTHER_VIEW))
    # Replaced before the difference: infinities of uncounted anchors must not reach the gradient.
    lpos_MA, lneg_MA = (torch.where(counts_MA, value, 0.0) for value in (lpos_MA, lneg_MA))
    return torch.where(counts_MA, F.softplus(lneg_MA - lpos_MA), 0.0), counts_MA


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
    odds: tuple[float, ...] = (0.2, 0.6, 0.2),
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
        y_NA: Occurrence in {0, 1}.
        temperature: Temperature of the similarities.
        beta: Exponents of the negatives of an anchor in the commoner and in the rarer state.
        kinds_A: Kind of positive of each action unit (0 highest, 1 mean, 2 other view, 3 lowest); drawn when None.
        odds: Odds of the kinds when they are drawn.
        mode: ``released`` or ``corrected``.
        valid_NA: Whether labels are known; all when None.
        weight_A: Weight of each action unit.
        minority_A: The rarer label of each action unit; 1 when None.
        generator: For drawing kinds.

    Returns:
        The scalar loss.
    """
    count, aus = y_NA.shape
    valid_NA = torch.ones_like(y_NA, dtype=torch.bool) if valid_NA is None else valid_NA.bool()
    if kinds_A is None:
        kinds_A = draw_kinds(odds, aus, generator or torch.default_generator)
    everyone = Candidates(torch.cat([z1_NAD, z2_NAD]), y_NA.repeat(2, 1), valid_NA.repeat(2, 1))
    index_N = torch.arange(2 * count, device=z1_NAD.device)
    loss_MA, counts_MA = aunce_terms(
        everyone,
        everyone,
        index_N,
        index_N.roll(count),
        kinds_A.to(z1_NAD.device),
        torch.ones(aus, device=y_NA.device, dtype=y_NA.dtype) if minority_A is None else minority_A,
        temperature=temperature,
        beta=beta,
        mode=mode,
    )
    return aunce_mean(loss_MA.sum(0), counts_MA.sum(0), 2 * count, mode, weight_A)


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
