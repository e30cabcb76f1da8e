"""Occurrence detection: binary cross-entropy on known labels, as a linear probe or through the whole network."""

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from au_dist.config.section import Section
from au_dist.core.metrics import per_au
from au_dist.data.labels import occurrence
from au_dist.dist.collectives import all_reduce_sum
from au_dist.dist.world import World
from au_dist.methods.aunce import Aunce, AunceLoss, loss_of
from au_dist.methods.base import Held, Method, Parts, Scoring, Validation
from au_dist.methods.frames import Frames, detection_metrics, outputs
from au_dist.model.losses import detection_terms
from au_dist.model.network import AUNetwork, LinearHeads
from au_dist.model.norm import share

#: Contrast sets in which a frozen network that was never trained collects its running statistics.
BN_WARMUP = 30

#: The largest weight of the positive frames of an action unit.
MOST_WEIGHT = 10.0


class Joint(Aunce):
    """AUNCE beside the cross-entropy.

    Attributes:
        weight: Of its loss, beside the cross-entropy's 1.
    """

    weight: float = Field(0.3, gt=0)


class Detection(Section):
    """Occurrence detection on top of a pretrained or fresh network.

    Attributes:
        train: ``probe`` trains one linear layer per action unit on a frozen network, ``all`` fine-tunes everything.
        balance: Weight the positive frames of an action unit by its training odds (capped at 10).
        views: Random views of each clip that are learnt from.
        aunce: The contrastive loss beside the cross-entropy, over two views; none when None.
    """

    train: Literal["probe", "all"] = "probe"
    balance: bool = True
    views: Literal[1, 2] = 1
    aunce: Joint | None = None

    @model_validator(mode="after")
    def _something_is_contrasted(self) -> "Detection":
        if self.aunce and self.train == "probe":
            raise ValueError("aunce trains the network, which train: probe leaves as it is: use train: all")
        return self


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
        network: AUNetwork,
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

    def _embeddings(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.probe):
            return self.network(x_BCHW)


def _module(parts: Parts) -> nn.Module:
    network = AUNetwork(parts.model, parts.num_aus, parts.size)
    odds = [min(MOST_WEIGHT, (1 - rate) / rate) if rate > 0 else 1.0 for rate in parts.rates]
    weight_A = torch.tensor(odds if parts.section.balance else [1.0] * parts.num_aus)
    bn_warmup, section = 0 if parts.pretrained else BN_WARMUP, parts.section
    joint = (loss_of(parts, section.aunce), section.aunce.weight) if section.aunce else None
    return DetectionTask(network, section.train == "probe", weight_A, parts.world, bn_warmup, joint)


def _views(section: Detection) -> int:
    return 2 if section.aunce else section.views


def _validation(module: DetectionTask, held: Held) -> Validation:
    judged, labels = held.rows("validation", None), held.labels.of_validation
    validation = Frames(judged, held.columns, held.num_columns, labels, held.side)

    def metrics() -> dict[str, Any]:
        logits_NA = torch.from_numpy(outputs(module.logits, validation, held.size, len(held.columns), held.world))
        return detection_metrics(torch.sigmoid(logits_NA).numpy(), validation, held.world)

    return Validation((validation,), metrics)


def _scores(module: DetectionTask, x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
    return torch.sigmoid(module.logits(x_BCHW).float())


DETECTION = Method(
    name="detection",
    supervised=True,
    section=Detection,
    views=_views,
    metrics=("val_auc", "val_f1"),
    module=_module,
    validation=_validation,
    scoring=Scoring(
        scores=_scores,
        labels=occurrence,
        judge=per_au,
        measures={"f1": "F1", "auc": "AUC", "prevalence": "prevalence", "all_positive_f1": "F1 all positive"},
        thresholds=True,
        scale=1.0,
        beside={"auc": True, "f1": True},
        knowing_nothing=("f1", "all_positive_f1", "calling every frame positive"),
    ),
)
