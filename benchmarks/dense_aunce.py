"""AUNCE with all similarities of all action units at once: what the tiled form must equal, and what it saves.

In the manner of the published code: cubes of 2N x 2N x A, several of them. Kinds of positives as in
`au_dist.model.losses`.
"""

import torch
import torch.nn.functional as F


def dense_aunce(
    z1_NAD: torch.Tensor,
    z2_NAD: torch.Tensor,
    y_NA: torch.Tensor,
    *,
    kinds_NA: torch.Tensor,
    temperature: float,
    mode: str = "released",
    valid_NA: torch.Tensor | None = None,
    minority_A: torch.Tensor | None = None,
    beta: tuple[float, float] = (0.8, 1.2),
) -> torch.Tensor:
    """Return the loss; arguments as for `aunce_loss`, with a kind for each of the 2N anchors, [2N, A] or [A]."""
    count, aus = y_NA.shape
    z, y = torch.cat([z1_NAD, z2_NAD]), y_NA.repeat(2, 1)
    valid = (torch.ones_like(y_NA) if valid_NA is None else valid_NA).bool().repeat(2, 1)
    s = torch.einsum("mad,nad->mna", z, z) / temperature
    known = valid[:, None] & valid[None]
    equal = y[:, None] == y[None]
    positive, negative = equal & known, ~equal & known
    if mode == "corrected":
        positive = positive & ~torch.eye(2 * count, dtype=torch.bool, device=z.device)[:, :, None]
    low, high = torch.finfo(s.dtype).min, torch.finfo(s.dtype).max
    positives = positive.sum(1)
    divisor = positives.clamp(min=1) if mode == "corrected" else torch.full_like(positives, 2 * count)
    partner = torch.arange(2 * count, device=z.device).roll(count)
    kinds = torch.stack(
        [
            s.masked_fill(~positive, low).amax(1),
            s.masked_fill(~positive, low).logsumexp(1) - divisor.to(s.dtype).log(),
            s.gather(1, partner[:, None, None].expand(-1, 1, aus))[:, 0],
            s.masked_fill(~positive, high).amin(1),
        ]
    )
    lpos = kinds.gather(0, kinds_NA.expand(2 * count, aus)[None])[0]
    rare = y == (1 if minority_A is None else minority_A)
    power = torch.where(rare, s.new_tensor(beta[1]), s.new_tensor(beta[0]))
    lneg = (power[:, None] * s).masked_fill(~negative, low).logsumexp(1)
    counts = valid & negative.any(1) & ((positives > 0) | (kinds_NA == 2))
    loss = torch.where(counts, F.softplus(torch.where(counts, lneg, 0.0) - torch.where(counts, lpos, 0.0)), 0.0)
    if mode == "released":
        return (loss.sum(0) / (2 * count)).mean()
    per_au, signal = loss.sum(0) / counts.sum(0).clamp(min=1), counts.any(0)
    return per_au.sum() / signal.sum().clamp(min=1)
