"""The modules of AUNCE, and how they are judged."""

from typing import Any

import torch
from torch import nn

from au_dist.core.seeds import torch_seed
from au_dist.dist.collectives import all_gather, all_reduce_sum
from au_dist.dist.world import World
from au_dist.methods.aunce import Aunce
from au_dist.methods.base import Held, Judgement, Learner, Parts, Validation
from au_dist.methods.frames import Frames, outputs
from au_dist.methods.probe import judge_embeddings
from au_dist.model.losses import Candidates, aunce_mean, aunce_terms, draw_kinds, full_precision
from au_dist.model.network import AUNetwork
from au_dist.model.norm import share

#: Training clips that the probe is fitted on, over all ranks, and frames of each.
PROBE_CLIPS, PROBE_FRAMES = 512, 2


class AunceLoss(nn.Module):
    """The contrastive loss of a contrast set, gathered over all workers.

    Args:
        config: Its section of the recipe.
        minority_A: The rarer label of each action unit among the training subjects.
        seed: The run's seed; the kinds of positives belong to (seed, contrast set).
        lanes: Lanes that a contrast set is dealt from.
        world: This process among the workers.
        shape: Images of a contrast set, N, and length of an embedding, D; for `Aunce.memory`.
    """

    minority_A: torch.Tensor
    past_z_KMAD: torch.Tensor
    past_y_KMA: torch.Tensor
    past_valid_KMA: torch.Tensor

    def __init__(
        self,
        config: Aunce,
        minority_A: torch.Tensor,
        seed: int,
        lanes: int,
        world: World,
        shape: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.config, self.seed, self.lanes, self.world = config, seed, lanes, world
        self.register_buffer("minority_A", minority_A, persistent=False)
        if config.memory:
            images, width = shape
            place = (config.memory, 2 * images, len(minority_A))
            # Part of a checkpoint: a resumed run compares with what it would have compared with.
            self.register_buffer("past_z_KMAD", torch.zeros(*place, width))
            self.register_buffer("past_y_KMA", torch.zeros(place))
            self.register_buffer("past_valid_KMA", torch.zeros(place))

    def forward(
        self, z_MAD: torch.Tensor, y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one contrast set.

        Args:
            z_MAD: Embeddings of length one of two views, float32; those of the first view first.
            y_BA: Occurrence in {0, 1}.
            valid_BA: Whether it is known.
            contrast_set: Number of the contrast set in the run.
        """
        anchor = Candidates(z_MAD, y_BA.repeat(2, 1), valid_BA.repeat(2, 1))
        everyone = Candidates(
            all_gather(z_MAD, self.world),
            all_gather(anchor.y_NA, self.world),
            all_gather(anchor.valid_NA.to(torch.uint8), self.world).bool(),
        )
        anchors, num_aus = anchor.y_NA.shape
        device = z_MAD.device
        index_M = torch.arange(anchors, device=device)
        released = self.config.mode == "released"
        with full_precision(device):
            loss_MA, counts_MA = aunce_terms(
                anchor,
                self._with_past(everyone),
                index_M + self.world.rank * anchors,
                index_M.roll(anchors // 2) + self.world.rank * anchors,
                self._kinds(contrast_set, anchors, num_aus).to(device),
                torch.ones_like(self.minority_A) if released else self.minority_A,
                temperature=self.config.temperature,
                beta=(self.config.beta_majority, self.config.beta_minority),
                mode=self.config.mode,
            )
        if self.config.memory and self.training:
            self._remember(everyone, contrast_set)
        count_A = all_reduce_sum(counts_MA.sum(0).float(), self.world)
        return self.world.size * aunce_mean(loss_MA.sum(0), count_A, len(everyone.z_NAD), self.config.mode)

    def _with_past(self, everyone: Candidates) -> Candidates:
        """Return the candidates of a set and, after them, those of the past; of an empty place nothing is known."""
        if not self.config.memory:
            return everyone
        return Candidates(
            torch.cat([everyone.z_NAD, self.past_z_KMAD.flatten(0, 1)]),
            torch.cat([everyone.y_NA, self.past_y_KMA.flatten(0, 1)]),
            torch.cat([everyone.valid_NA, self.past_valid_KMA.flatten(0, 1).bool()]),
        )

    def _remember(self, everyone: Candidates, contrast_set: int) -> None:
        """Put a set, whole and the same on every rank, in the place of the eldest."""
        place = contrast_set % self.config.memory
        with torch.no_grad():
            # New tensors: the backward pass still needs the old ones.
            finite_NA = torch.isfinite(everyone.z_NAD).all(-1)  # a step that is left out must not be met again
            for name, new in (
                ("past_z_KMAD", everyone.z_NAD.nan_to_num(0.0, 0.0, 0.0)),
                ("past_y_KMA", everyone.y_NA),
                ("past_valid_KMA", everyone.valid_NA & finite_NA),
            ):
                past = getattr(self, name).clone()
                past[place] = new.detach().to(past.dtype)
                setattr(self, name, past)

    def _kinds(self, contrast_set: int, anchors: int, num_aus: int) -> torch.Tensor:
        """Return the kinds of this rank's anchors; drawn for the whole set, so that N workers draw what one draws."""
        generator = torch.Generator().manual_seed(torch_seed(self.seed, "kinds", contrast_set))
        if self.config.draw == "action_unit":
            return draw_kinds(self.config.positive_weights, num_aus, generator)

        def draw(shape: tuple[int, ...]) -> torch.Tensor:
            return draw_kinds(self.config.positive_weights, (*shape, num_aus), generator)

        return self.world.own_rows(draw, anchors, 2, self.lanes)


class AunceTask(nn.Module):
    """AUNCE pretraining.

    Args:
        network: The action-unit network.
        loss: The loss of its embeddings.
    """

    def __init__(self, network: AUNetwork, loss: AunceLoss) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        share(network, lambda x: all_reduce_sum(x, loss.world))

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one contrast set.

        Args:
            views: Two views, each [B, 3, H, W].
            y_BA: Occurrence in {0, 1}.
            valid_BA: Whether it is known.
            contrast_set: Number of the contrast set in the run.
        """
        return self.loss(self.network(torch.cat(views)).float(), y_BA, valid_BA, contrast_set)


def loss_of(parts: Parts, config: Aunce) -> AunceLoss:
    """Return the loss of a run."""
    minority_A = torch.tensor([0.0 if rate > 0.5 else 1.0 for rate in parts.rates])
    shape = (parts.images, parts.model.embed_dim)
    return AunceLoss(config, minority_A, parts.seed, parts.lanes, parts.world, shape)


def _module(parts: Parts) -> nn.Module:
    return AunceTask(AUNetwork(parts.model, parts.num_aus, parts.size), loss_of(parts, parts.section))


def _validation(module: AunceTask, held: Held) -> Validation:
    """A linear probe of the embeddings of training frames, asked about validation frames."""
    judged, labels = held.rows("validation", None), held.labels.of_validation
    validation = Frames(judged, held.columns, held.num_columns, labels, held.side)
    rows = held.rows("train", PROBE_CLIPS)
    train = Frames(rows, held.columns, held.num_columns, held.labels, held.side, per_clip=PROBE_FRAMES)

    def embeddings(frames: Frames) -> Any:
        return outputs(module.network, frames, held.size, len(held.columns), held.world)

    def judge() -> Judgement:
        train_NAD = embeddings(train)
        return judge_embeddings(train_NAD, train, embeddings(validation), validation, held.world)

    return Validation((train, validation), judge)


LEARNER = Learner(_module, _validation)
