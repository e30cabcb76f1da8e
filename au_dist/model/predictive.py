"""Predictive coding of unlabelled clips: from the blocks seen so far, the feature map of the next ones.

After dense predictive coding (Han, Xie, Zisserman, ICCV workshops 2019), the parent of Sanchez et al. (ACCV 2020): a
recurrent network of 1 x 1 convolutions reads block features and predicts P later ones, each from its own last
prediction; every cell of every prediction must find its own target among all cells, steps and clips of the set.
Equations re-derived from the published method; `released` choices (no temperature, no normalisation) are the defaults
of the functions here, not of the recipe.
"""

import torch
import torch.nn.functional as F
from torch import nn

from au_dist.model.tiles import log_sum_exp_of

#: The least length that vectors are divided by to have length one.
LEAST = 1e-12


class ConvGRU(nn.Module):
    """A gated recurrent unit at each cell of a map, with 1 x 1 convolutions.

    Args:
        channels: Channels C of input and state.
        dropout: Share of the state that is dropped after each step in training, as published (0.1). Networks here do
            not drop: what a worker drops would depend on how many there are, and on when a run was resumed.
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.update, self.reset, self.out = (nn.Conv2d(2 * channels, channels, 1) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        for gate in (self.update, self.reset, self.out):
            nn.init.orthogonal_(gate.weight)
            if gate.bias is not None:
                nn.init.zeros_(gate.bias)

    def forward(self, x_BCHW: torch.Tensor, state_BCHW: torch.Tensor | None = None) -> torch.Tensor:
        """Return the state after one step, [B, C, H, W]; it begins with zeros."""
        state_BCHW = torch.zeros_like(x_BCHW) if state_BCHW is None else state_BCHW
        both = torch.cat([x_BCHW, state_BCHW], 1)
        update, reset = torch.sigmoid(self.update(both)), torch.sigmoid(self.reset(both))
        proposed = torch.tanh(self.out(torch.cat([x_BCHW, state_BCHW * reset], 1)))
        return self.dropout(state_BCHW * (1 - update) + proposed * update)


def make_predictor(channels: int) -> nn.Module:
    """Return what turns the memory of the blocks seen so far into the map of the next one."""
    return nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1))


def foresee(memory: ConvGRU, predictor: nn.Module, seen_BNCHW: torch.Tensor, steps: int) -> torch.Tensor:
    """Return the predicted feature maps of the next blocks.

    Args:
        memory: Reads the blocks.
        predictor: From `make_predictor`.
        seen_BNCHW: Features of N blocks before the rectifier; the memory reads them after it.
        steps: Number of blocks P to predict, each from the memory of the one before.

    Returns:
        [B, P, C, H, W], before the rectifier as the targets are.
    """
    state = remember(memory, seen_BNCHW)[:, -1]
    maps = []
    for step in range(steps):
        maps.append(predictor(state))
        if step + 1 < steps:
            state = memory(F.relu(maps[-1]), state)
    return torch.stack(maps, 1)


def remember(memory: ConvGRU, seen_BNCHW: torch.Tensor) -> torch.Tensor:
    """Return the memory's state after each of N maps, [B, N, C, H, W]; maps are read after the rectifier."""
    states: list[torch.Tensor] = []
    for seen in F.relu(seen_BNCHW).unbind(1):
        states.append(memory(seen, states[-1] if states else None))
    return torch.stack(states, 1)


def cells(x_BPCHW: torch.Tensor) -> torch.Tensor:
    """Return feature maps as rows, [B * P * H * W, C], cells of a map together."""
    return x_BPCHW.permute(0, 1, 3, 4, 2).reshape(-1, x_BPCHW.shape[2])


def prediction_terms(
    query_QC: torch.Tensor,
    key_KC: torch.Tensor,
    own_Q: torch.Tensor,
    *,
    temperature: float = 1.0,
    normalise: bool = False,
    least: float = LEAST,
) -> torch.Tensor:
    """Return the InfoNCE loss of each predicted cell, [Q], in memory linear in Q and K.

    Negatives are all other keys: the same cell at another step, other cells of the clip, other clips.

    Args:
        query_QC: Predicted cells of this rank.
        key_KC: Target cells of the whole contrast set, gathered with gradient.
        own_Q: int64 [Q]: which key each query must find.
        temperature: Divides the products.
        normalise: Whether queries and keys are brought to length one first.
        least: Shorter ones are divided by this instead: what is next to nothing has no direction.
    """
    if normalise:
        query_QC, key_KC = F.normalize(query_QC, dim=1, eps=least), F.normalize(key_KC, dim=1, eps=least)
    everyone_Q = log_sum_exp_of(query_QC, key_KC, 1 / temperature)
    return everyone_Q - (query_QC * key_KC[own_Q]).sum(1) / temperature


def prediction_terms_within(
    query_BPC: torch.Tensor,
    key_BPC: torch.Tensor,
    *,
    temperature: float = 1.0,
    normalise: bool = False,
    least: float = LEAST,
) -> torch.Tensor:
    """Return the InfoNCE loss of each predicted cell among the cells of its own clip, [B, P].

    Args:
        query_BPC: Predicted cells of each clip.
        key_BPC: Its true cells, in the same order.
        temperature: Divides the products.
        normalise: Whether queries and keys are brought to length one first.
        least: Shorter ones are divided by this instead.
    """
    if normalise:
        query_BPC, key_BPC = F.normalize(query_BPC, dim=2, eps=least), F.normalize(key_BPC, dim=2, eps=least)
    product_BPP = query_BPC @ key_BPC.transpose(1, 2) / temperature
    return product_BPP.logsumexp(2) - product_BPP.diagonal(dim1=1, dim2=2)
