"""The modules of occurrence detection, and how they are judged."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from au_dist.dist.collectives import all_reduce_sum
from au_dist.dist.world import World
from au_dist.methods.base import Held, Judgement, Learner, Parts, Validation
from au_dist.methods.frames import Frames, joined, judge_detection, outputs
from au_dist.methods.learners.aunce import AunceLoss, loss_of
from au_dist.methods.ridge import fit_units
from au_dist.model.losses import detection_terms
from au_dist.model.network import AUNetwork, LinearHeads, PooledNetwork, make_network
from au_dist.model.norm import share

#: Contrast sets in which a frozen network that was never trained collects its running statistics.
BN_WARMUP = 30

#: Training clips that a ridge regression is fitted on, over all ranks, and frames of each.
RIDGE_CLIPS, RIDGE_FRAMES = 1024, 2

#: The largest weight of the positive frames of an action unit.
MOST_WEIGHT = 10.0


class DetectionTask(nn.Module):
    """Occurrence detection: binary cross-entropy on known labels.

    Args:
        network: The action-unit network; frozen when `probe`.
        probe: Whether only the heads are trained.
        weight_A: Weight of positive frames.
        world: This process among the workers.
        bn_warmup: Contrast sets in which a frozen network that was never trained collects the running statistics of its
            normalisation; a trained one brings them.
        joint: The contrastive loss of the embeddings that is added, with its weight; None for none.
    """

    weight_A: torch.Tensor

    def __init__(
        self,
        network: AUNetwork | PooledNetwork,
        probe: bool,
        weight_A: torch.Tensor,
        world: World,
        bn_warmup: int = 0,
        joint: tuple[AunceLoss, float] | None = None,
    ) -> None:
        super().__init__()
        self.contrast: AunceLoss | None
        self.contrast, self.contrast_weight = joint or (None, 0.0)
        self.network, self.probe, self.world, self.bn_warmup = network, probe, world, bn_warmup
        share(network, lambda x: all_reduce_sum(x, world))
        self.heads = LinearHeads(network.num_aus, network.width)
        self.register_buffer("weight_A", weight_A, persistent=False)
        if probe:
            network.requires_grad_(False)

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one micro-batch; arguments as for `AunceTask`, one view or two."""
        if self.probe:
            self.network.train(self.training and contrast_set < self.bn_warmup)
        z_MAD, y_MA, valid_MA = self._embeddings(torch.cat(views)), *(y.repeat(len(views), 1) for y in (y_BA, valid_BA))
        loss, count = detection_terms(self.heads(z_MAD).float(), y_MA, valid_MA, self.weight_A)
        mean = self.world.size * loss / all_reduce_sum(count.float(), self.world).clamp(min=1)
        if self.contrast is None:
            return mean
        return mean + self.contrast_weight * self.contrast(z_MAD.float(), y_BA, valid_BA, contrast_set)

    def logits(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits [B, A]."""
        return self.heads(self._embeddings(x_BCHW))

    def probabilities(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the probability [B, A] of each action unit."""
        return torch.sigmoid(self.logits(x_BCHW).float())

    def _embeddings(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.probe):
            return self.network(x_BCHW)


class RidgeTask(nn.Module):
    """Occurrence detection by ridge regression of a frozen network's embeddings, fitted when it is validated.

    Args:
        network: The action-unit network.
        shared: Each action unit is read off the embeddings of all of them.
        world: This process among the workers.
    """

    weight_FA: torch.Tensor
    bias_A: torch.Tensor
    strength_A: torch.Tensor

    def __init__(self, network: AUNetwork | PooledNetwork, shared: bool, world: World) -> None:
        super().__init__()
        self.network, self.shared, self.world = network.requires_grad_(False), shared, world
        num_aus, width = network.num_aus, network.width
        self.register_buffer("weight_FA", torch.zeros(width * (num_aus if shared else 1), num_aus))
        self.register_buffer("bias_A", torch.zeros(num_aus))
        self.register_buffer("strength_A", torch.full((num_aus,), torch.nan))
        self.eval()

    def train(self, mode: bool = True) -> "RidgeTask":
        """Stay as it is: statistics of the network's normalisation are its own."""
        return super().train(False)

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's share of the mean squared error of one micro-batch; arguments as for `AunceTask`."""
        error_BA = (self.estimates(views[0]) - y_BA).square() * valid_BA
        return self.world.size * error_BA.sum() / all_reduce_sum(valid_BA.float().sum(), self.world).clamp(min=1)

    def estimates(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return what the regression gives [B, A]."""
        z_BAD = self.network(x_BCHW).float()
        if self.shared:
            return z_BAD.flatten(1) @ self.weight_FA + self.bias_A
        return torch.einsum("bad,da->ba", z_BAD, self.weight_FA) + self.bias_A

    def probabilities(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the estimates [B, A] as probabilities."""
        return self.estimates(x_BCHW).clamp(0, 1)

    def fit(self, z_NAD: np.ndarray, train: Frames) -> None:
        """Fit the regressions; all ranks come to the same.

        Args:
            z_NAD: Embeddings of this rank's training frames.
            train: These frames.
        """
        arrays = joined((z_NAD, np.array(train.subjects), train.y_NA, train.valid_NA), self.world)
        z_NAD, subject_N, y_NA, valid_NA = arrays
        if self.shared:
            found = [fit_units(z_NAD.reshape(len(z_NAD), -1), y_NA, valid_NA, subject_N)]
        else:
            units = (slice(au, au + 1) for au in range(y_NA.shape[1]))
            found = [fit_units(z_NAD[:, u.start], y_NA[:, u], valid_NA[:, u], subject_N) for u in units]
        self.weight_FA.copy_(torch.from_numpy(np.concatenate([one.weight_DK for one in found], 1)))
        self.bias_A.copy_(torch.from_numpy(np.concatenate([one.bias_K for one in found])))
        self.strength_A.copy_(torch.from_numpy(np.concatenate([one.strength_K for one in found])))


def _module(parts: Parts) -> nn.Module:
    network = make_network(parts.model, parts.num_aus, parts.size)
    if parts.section.train == "ridge":
        return RidgeTask(network, parts.section.embeddings == "all", parts.world)
    odds = [min(MOST_WEIGHT, (1 - rate) / rate) if rate > 0 else 1.0 for rate in parts.rates]
    weight_A = torch.tensor(odds if parts.section.balance else [1.0] * parts.num_aus)
    bn_warmup, section = 0 if parts.pretrained else BN_WARMUP, parts.section
    joint = (loss_of(parts, section.aunce), section.aunce.weight) if section.aunce else None
    return DetectionTask(network, section.train == "probe", weight_A, parts.world, bn_warmup, joint)


def _validation(module: DetectionTask | RidgeTask, held: Held) -> Validation:
    judged, labels = held.rows("validation", None), held.labels.of_validation
    validation = Frames(judged, held.columns, held.num_columns, labels, held.side)

    def applied(function: Callable[[torch.Tensor], torch.Tensor], frames: Frames) -> np.ndarray:
        return outputs(function, frames, held.size, len(held.columns), held.world)

    def judge() -> Judgement:
        return judge_detection(applied(module.probabilities, validation), validation, held.world)

    if isinstance(module, DetectionTask):
        return Validation((validation,), judge)
    rows = held.rows("train", RIDGE_CLIPS)
    train = Frames(rows, held.columns, held.num_columns, held.labels, held.side, per_clip=RIDGE_FRAMES)

    def fitted() -> Judgement:
        module.fit(applied(module.network, train), train)
        strengths = module.strength_A[torch.isfinite(module.strength_A)]
        median = float(strengths.median()) if len(strengths) else float("nan")
        return replace(judge(), beside={"ridge_strength": median})

    return Validation((train, validation), fitted)


LEARNER = Learner(_module, _validation)
