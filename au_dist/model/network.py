"""The action-unit network: encoder, one branch an action unit, the relation graph, embeddings of length one.

After the graph of ME-GraphAU and AUNCE (docs/methods.md). As there, branches are normalised over the batch, here over
the whole contrast set on all workers: without it faces are so alike that the contrast has nothing to start from
(docs/decisions/0004-what-small-networks-need.md).
"""

import torch
import torch.nn.functional as F
from torch import nn

from au_dist.config.sections import Model
from au_dist.model.encoders import make_encoder
from au_dist.model.norm import SharedBatchNorm


class Relations(nn.Module):
    """One layer of the action-unit relation graph: each node keeps its most similar neighbours, itself included."""

    def __init__(self, num_aus: int, width: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.mix, self.keep = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = SharedBatchNorm(num_aus)
        for layer in (self.mix, self.keep):
            nn.init.normal_(layer.weight, 0, (2 / width) ** 0.5 / 2)
            nn.init.zeros_(layer.bias)

    def forward(self, node_BAD: torch.Tensor) -> torch.Tensor:
        """Return nodes [B, A, D] that have heard from their neighbours."""
        with torch.no_grad():
            similarity_BAA = node_BAD @ node_BAD.transpose(1, 2)
            least = similarity_BAA.topk(min(self.neighbours, node_BAD.shape[1]), dim=2).values[..., -1:]
            adjacency_BAA = (similarity_BAA >= least).to(node_BAD.dtype)
            scale_BA = adjacency_BAA.sum(2).rsqrt()
            adjacency_BAA = scale_BA[:, :, None] * adjacency_BAA * scale_BA[:, None, :]
        heard_BAD = adjacency_BAA @ self.mix(node_BAD) + self.keep(node_BAD)
        return F.relu(node_BAD + self.norm(heard_BAD.transpose(1, 2)).transpose(1, 2))


class _Shared(nn.Module):
    """A layer that all branches share, normalised over all tokens of the contrast set."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(before, after, bias=False), SharedBatchNorm(after)

    def forward(self, token_BSC: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.linear(token_BSC)))


class AUNetwork(nn.Module):
    """Pixels to one embedding an action unit.

    Each branch sees the whole grid of tokens, its channels squeezed, because where on an aligned face something
    happens says which action unit it is. With ``bottleneck_channels=0`` a branch is averaged over the grid instead, as
    in the published networks; small networks without pretrained weights do not learn that way
    (docs/decisions/0004-what-small-networks-need.md).

    Args:
        config: The model section of the recipe.
        num_aus: Number of action units, A.
        size: Side of the input in pixels.
    """

    def __init__(self, config: Model, num_aus: int, size: int) -> None:
        super().__init__()
        self.num_aus, self.width = num_aus, config.embed_dim
        self.encoder = make_encoder(config)
        with torch.no_grad():
            places = self.encoder(torch.zeros(1, 3, size, size)).shape[1]
        channels = config.shared_dim or self.encoder.channels
        features = config.bottleneck_channels * places if config.bottleneck_channels else channels
        self.shared = _Shared(self.encoder.channels, config.shared_dim) if config.shared_dim else nn.Identity()
        # No biases before the normalisation: their gradient is nothing but rounding, which AdamW would make steps of.
        self.squeeze = (
            nn.Linear(channels, config.bottleneck_channels, bias=False) if config.bottleneck_channels else None
        )
        self.branches = nn.Linear(features, num_aus * config.embed_dim, bias=False)
        self.norm = SharedBatchNorm(num_aus * config.embed_dim)
        self.relations = (
            Relations(num_aus, config.embed_dim, config.num_neighbors) if config.num_neighbors else nn.Identity()
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return embeddings z_BAD of length one."""
        token_BSC = self.shared(self.encoder(x_BCHW))
        if self.squeeze is not None:
            token_BSC = self.squeeze(token_BSC).flatten(1)[:, None]
        node_BAD = F.relu(self.norm(self.branches(token_BSC))).mean(1).unflatten(1, (self.num_aus, self.width))
        return F.normalize(self.relations(node_BAD), dim=-1)


class PooledNetwork(nn.Module):
    """Pixels to the mean over an encoder's tokens, the same for every action unit, as FMAE's classifier reads it.

    Args:
        config: The model section of the recipe.
        num_aus: Number of action units, A.
    """

    def __init__(self, config: Model, num_aus: int) -> None:
        super().__init__()
        self.encoder = make_encoder(config)
        self.num_aus, self.width = num_aus, self.encoder.channels

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return z_BAD, of length about one: `LinearHeads` read the mean itself."""
        mean_BC = self.encoder.pooled(x_BCHW) / self.width**0.5
        return mean_BC[:, None].expand(-1, self.num_aus, -1)


def make_network(config: Model, num_aus: int, size: int) -> "AUNetwork | PooledNetwork":
    """Return the network that detects.

    Args:
        config: The model section of the recipe.
        num_aus: Number of action units, A.
        size: Side of the input in pixels.
    """
    return AUNetwork(config, num_aus, size) if config.embed_dim else PooledNetwork(config, num_aus)


class LinearHeads(nn.Module):
    """One linear layer an action unit: embeddings to logits.

    Embeddings have length one, so their entries are of size D^-1/2; they are scaled up to size one first, without
    which AdamW at usual learning rates needs thousands of steps to reach a useful logit. They do not start at zero:
    no gradient would reach the network at first, and it then learns much later.
    """

    def __init__(self, num_aus: int, width: int) -> None:
        super().__init__()
        self.weight_AD = nn.Parameter(torch.randn(num_aus, width) * 0.1)
        self.bias_A = nn.Parameter(torch.zeros(num_aus))

    def forward(self, z_BAD: torch.Tensor) -> torch.Tensor:
        """Return logits [B, A]."""
        return torch.einsum("bad,ad->ba", z_BAD, self.weight_AD) * z_BAD.shape[-1] ** 0.5 + self.bias_A
