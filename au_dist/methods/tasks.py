"""What a step computes: modules whose forward pass gathers across ranks and returns the loss.

DeepSpeed averages gradients over ranks. Each rank's loss is therefore its share of the global sum times the number of
ranks, divided by the global count: the average of these is the loss of one process on the whole batch, and so is its
gradient, because the gather's backward pass sums over ranks.
"""

import torch
from torch import nn

from au_dist.config.recipe import Aunce, Predictive
from au_dist.config.sections import Model
from au_dist.core.seeds import torch_seed
from au_dist.dist.collectives import add_up, gather, total
from au_dist.dist.world import World
from au_dist.model.clip_network import ClipNetwork, IntensityHeads
from au_dist.model.losses import Candidates, aunce_mean, aunce_terms, detection_terms, draw_kinds, intensity_terms
from au_dist.model.network import AUNetwork, LinearHeads
from au_dist.model.norm import share
from au_dist.model.predictive import cells, foresee, make_predictor, prediction_terms


def exactly(device: torch.device) -> torch.autocast:
    """Return the context of a loss: similarities over a temperature are too coarse in bf16."""
    return torch.autocast(device.type, enabled=False)


class Contrast(nn.Module):
    """AUNCE pretraining.

    Args:
        network: The action-unit network.
        config: The loss section of the recipe.
        minority_A: The rarer label of each action unit among the training subjects.
        seed: The run's seed; the kinds of positives belong to (seed, contrast set).
        lanes: Lanes that a contrast set is dealt from.
        world: This process among the workers.
    """

    def __init__(
        self, network: AUNetwork, config: Aunce, minority_A: torch.Tensor, seed: int, lanes: int, world: World
    ) -> None:
        super().__init__()
        self.network, self.config, self.seed, self.lanes, self.world = network, config, seed, lanes, world
        share(network, lambda x: add_up(x, world))
        self.register_buffer("minority_A", minority_A, persistent=False)

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
        z_MAD = self.network(torch.cat(views)).float()
        anchor = Candidates(z_MAD, y_BA.repeat(2, 1), valid_BA.repeat(2, 1))
        everyone = Candidates(
            gather(z_MAD, self.world),
            gather(anchor.y_NA, self.world),
            gather(anchor.valid_NA.to(torch.uint8), self.world).bool(),
        )
        anchors, aus = anchor.y_NA.shape
        device = z_MAD.device
        index_M = torch.arange(anchors, device=device)
        released = self.config.mode == "released"
        with exactly(device):
            loss_MA, counts_MA = aunce_terms(
                anchor,
                everyone,
                index_M + self.world.rank * anchors,
                index_M.roll(anchors // 2) + self.world.rank * anchors,
                self._kinds(contrast_set, anchors, aus).to(device),
                torch.ones_like(self.minority_A) if released else self.minority_A,
                temperature=self.config.temperature,
                beta=(self.config.beta_majority, self.config.beta_minority),
                mode=self.config.mode,
            )
        count_A = total(counts_MA.sum(0).float(), self.world)
        return self.world.size * aunce_mean(loss_MA.sum(0), count_A, len(everyone.z_NAD), self.config.mode)

    def _kinds(self, contrast_set: int, anchors: int, aus: int) -> torch.Tensor:
        """Return the kinds of this rank's anchors; drawn for the whole set, so that N workers draw what one draws."""
        generator = torch.Generator().manual_seed(torch_seed(self.seed, "kinds", contrast_set))
        if self.config.draw == "action_unit":
            return draw_kinds(self.config.odds, aus, generator)
        # Two views; of each the lanes in turn, which ranks take in turn (`data.order.lanes_of`).
        mine = self.lanes // self.world.size
        shape = (2, mine, self.world.size, anchors // 2 // mine, aus)
        return draw_kinds(self.config.odds, shape, generator)[:, :, self.world.rank].reshape(anchors, aus)


class Detect(nn.Module):
    """Occurrence detection: binary cross-entropy on known labels.

    Args:
        network: The action-unit network; frozen when `probe`.
        probe: Whether only the heads are trained.
        weight_A: Weight of positive frames.
        world: This process among the workers.
        settle: Contrast sets in which a frozen network that was never trained collects the running statistics of its
            normalisation; a trained one brings them.
    """

    def __init__(self, network: AUNetwork, probe: bool, weight_A: torch.Tensor, world: World, settle: int = 0) -> None:
        super().__init__()
        self.network, self.probe, self.world, self.settle = network, probe, world, settle
        share(network, lambda x: add_up(x, world))
        self.heads = LinearHeads(network.aus, network.width)
        self.register_buffer("weight_A", weight_A, persistent=False)
        if probe:
            network.requires_grad_(False)

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one micro-batch; arguments as for `Contrast`, one view."""
        if self.probe:
            self.network.train(self.training and contrast_set < self.settle)
        logit_BA = self.logits(views[0])
        loss, count = detection_terms(logit_BA.float(), y_BA, valid_BA, self.weight_A)
        return self.world.size * loss / total(count.float(), self.world).clamp(min=1)

    def logits(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits [B, A]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.probe):
            z_BAD = self.network(x_BCHW)
        return self.heads(z_BAD)


class Predict(nn.Module):
    """Predictive coding of unlabelled clips.

    Args:
        network: The network that reads clips.
        config: The method's section of the recipe.
        world: This process among the workers.
    """

    def __init__(self, network: ClipNetwork, config: Predictive, world: World) -> None:
        super().__init__()
        self.network, self.config, self.world = network, config, world
        share(network, lambda x: add_up(x, world))
        self.predictor = make_predictor(network.width)

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one contrast set; one view of frames in a row.

        Of the labels only `valid_BA` counts: the cells of a clip in which nothing is known are no candidates.
        """
        query_QC, key_QC = self.pairs(views[0])
        there_C = valid_BA.unflatten(0, (-1, self.config.blocks * self.config.frames)).flatten(1).any(1)
        there_Q = there_C.repeat_interleave(len(query_QC) // len(there_C))
        there_K = gather(there_Q.to(torch.uint8), self.world).bool()
        key_KC = gather(key_QC, self.world)[there_K]
        first = self.world.rank * len(query_QC)
        own_Q = (there_K.cumsum(0) - 1)[first : first + len(query_QC)][there_Q]
        with exactly(query_QC.device):
            loss_Q = prediction_terms(
                query_QC[there_Q], key_KC, own_Q, temperature=self.config.temperature, normalise=self.config.normalise
            )
        return self.world.size * loss_Q.sum() / there_K.sum().clamp(min=1)

    def pairs(self, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return predicted and true cells of the last blocks of each clip, float32 [Q, C] each."""
        map_BTCHW = self.network.maps(x_BCHW).float().unflatten(0, (-1, self.config.blocks * self.config.frames))
        block_BNCHW = map_BTCHW.unflatten(1, (self.config.blocks, self.config.frames)).mean(2)
        seen_BNCHW, next_BPCHW = block_BNCHW.tensor_split([self.config.blocks - self.config.steps], 1)
        found_BPCHW = foresee(self.network.memory, self.predictor, seen_BNCHW, self.config.steps)
        return cells(found_BPCHW).float(), cells(next_BPCHW)


class Regress(nn.Module):
    """Intensity of action units: squared error at labelled frames, back through time from there.

    Args:
        network: The network that reads clips.
        config: The model section of the recipe.
        aus: Number of action units, A.
        frames: Frames of a clip in training.
        world: This process among the workers.
    """

    def __init__(self, network: ClipNetwork, config: Model, aus: int, frames: int, world: World) -> None:
        super().__init__()
        self.network, self.frames, self.world = network, frames, world
        share(network, lambda x: add_up(x, world))
        self.heads = IntensityHeads(config, network.grid, aus)
        share(self.heads, lambda x: add_up(x, world))

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one micro-batch: one view of frames in a row; `y_BA` are intensities."""
        loss, count = intensity_terms(self._estimates(views[0], self.frames).float(), y_BA, valid_BA)
        return self.world.size * loss / total(count.float(), self.world).clamp(min=1)

    def intensities(self, x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
        """Return the intensities of frames, [B, A], 0 to 5.

        Args:
            x_BCHW: Frames, those of a clip together and in order.
            frames: Frames of a clip.
        """
        return self._estimates(x_BCHW, frames).clamp(0, 5)

    def _estimates(self, x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
        return self.heads(self.network(x_BCHW, frames).flatten(0, 1))
