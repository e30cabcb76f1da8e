"""The module of predictive coding, and how it is judged."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from au_dist.dist.collectives import all_gather, all_gather_objects, all_reduce_sum
from au_dist.dist.world import World
from au_dist.methods.base import Held, Judgement, Learner, Parts, Validation
from au_dist.methods.clips import Clips, inputs_of_all
from au_dist.methods.predictive import Predictive
from au_dist.methods.probe import identity, sampled
from au_dist.model.clip_network import ClipNetwork
from au_dist.model.losses import full_precision
from au_dist.model.norm import share
from au_dist.model.predictive import LEAST, cells, foresee, make_predictor, prediction_terms, prediction_terms_within

#: Changes of a cell that are shorter count less, and where nothing moves there is no direction to learn. Maps have a
#: variance of one a channel; in pretrainings on synthetic faces all changes were longer (2 to 14).
LEAST_CHANGE = 1.0


class PredictiveTask(nn.Module):
    """Predictive coding of unlabelled clips.

    Args:
        network: The network that reads clips.
        config: The method's section of the recipe.
        world: This process among the workers.
    """

    def __init__(self, network: ClipNetwork, config: Predictive, world: World) -> None:
        super().__init__()
        self.network, self.config, self.world = network, config, world
        share(network, lambda x: all_reduce_sum(x, world))
        self.predictor = make_predictor(network.width)
        self.least = LEAST_CHANGE if config.target == "change" else LEAST

    def forward(
        self, views: tuple[torch.Tensor, ...], y_BA: torch.Tensor, valid_BA: torch.Tensor, contrast_set: int
    ) -> torch.Tensor:
        """Return this rank's loss of one contrast set; as many views of frames in a row as the recipe says.

        Of the labels only `valid_BA` counts: the cells of a clip in which nothing is known are no candidates.
        """
        query_QC, key_QC = self.pairs(*views[: self.config.views])
        there_C = valid_BA.unflatten(0, (-1, self.config.blocks * self.config.frames)).flatten(1).any(1)
        if self.config.negatives == "clip":
            return self._within_clips(query_QC, key_QC, there_C)
        there_Q = there_C.repeat_interleave(len(query_QC) // len(there_C))
        there_K = all_gather(there_Q.to(torch.uint8), self.world).bool()
        key_KC = all_gather(key_QC, self.world)[there_K]
        first = self.world.rank * len(query_QC)
        own_Q = (there_K.cumsum(0) - 1)[first : first + len(query_QC)][there_Q]
        with full_precision(query_QC.device):
            loss_Q = prediction_terms(
                query_QC[there_Q],
                key_KC,
                own_Q,
                temperature=self.config.temperature,
                normalise=self.config.normalise,
                least=self.least,
            )
        return self.world.size * loss_Q.sum() / there_K.sum().clamp(min=1)

    def _within_clips(self, query_QC: torch.Tensor, key_QC: torch.Tensor, there_C: torch.Tensor) -> torch.Tensor:
        query_CPD, key_CPD = (x.unflatten(0, (len(there_C), -1)) for x in (query_QC, key_QC))
        with full_precision(query_QC.device):
            loss_CP = prediction_terms_within(
                query_CPD,
                key_CPD,
                temperature=self.config.temperature,
                normalise=self.config.normalise,
                least=self.least,
            )
        count = all_reduce_sum(there_C.float().sum() * loss_CP.shape[1], self.world)
        return self.world.size * (loss_CP * there_C[:, None]).sum() / count.clamp(min=1)

    def pairs(self, x_BCHW: torch.Tensor, other_BCHW: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return predicted and true cells of the last blocks of each clip, float32 [Q, C] each.

        Args:
            x_BCHW: The view whose first blocks are seen.
            other_BCHW: The view whose last blocks are to be found; the same when None.
        """
        clips = len(x_BCHW) // (self.config.blocks * self.config.frames)
        both_BCHW = x_BCHW if other_BCHW is None else torch.cat([x_BCHW, other_BCHW])
        map_BTCHW = self.network.maps(both_BCHW).float().unflatten(0, (-1, self.config.blocks * self.config.frames))
        block_BNCHW = map_BTCHW.unflatten(1, (self.config.blocks, self.config.frames)).mean(2)
        first = self.config.blocks - self.config.steps
        seen_BNCHW, there_BNCHW = block_BNCHW[:clips, :first], block_BNCHW[-clips:]
        predicted_BPCHW = foresee(self.network.memory, self.predictor, seen_BNCHW, self.config.steps)
        next_BPCHW = there_BNCHW[:, first:]
        if self.config.target == "change":
            predicted_BPCHW = predicted_BPCHW - seen_BNCHW[:, -1:]
            next_BPCHW = next_BPCHW - there_BNCHW[:, first - 1 : first]
        return cells(predicted_BPCHW).float(), cells(next_BPCHW)


@torch.no_grad()
def judge_foresight(module: PredictiveTask, clips_of: Clips, size: int, world: World) -> Judgement:
    """Return how well the next blocks of validation clips are foreseen.

    `val_accuracy` is the share of predicted cells whose nearest true cell among those of the same clip, in all steps
    that are predicted, is their own; `val_chance` what guessing would give. `val_identity` is the share of clips whose
    nearest clip, by the mean of what is true there, shows the same subject (`probe.identity`).

    Args:
        module: The predictor, in evaluation mode.
        clips_of: This rank's validation clips.
        size: Side of the network's input in pixels.
        world: This process among the workers.
    """
    found, means, seen = [np.zeros((0, 2))], [np.zeros((0, module.network.width), np.float32)], 0
    for x_BCHW, real in inputs_of_all(clips_of, size, world):
        query_QC, key_QC = module.pairs(x_BCHW)
        if not real:
            continue
        if module.config.normalise:
            query_QC, key_QC = (F.normalize(x, dim=1, eps=module.least) for x in (query_QC, key_QC))
        # Within clips: which clips go through the network together depends on the number of workers.
        clips = len(x_BCHW) // clips_of.frames
        query_BPC, key_BPC = (x.unflatten(0, (clips, -1)) for x in (query_QC, key_QC))
        nearest_BP = (query_BPC @ key_BPC.transpose(1, 2)).argmax(2)
        right_B = (nearest_BP == torch.arange(nearest_BP.shape[1], device=nearest_BP.device)).sum(1).cpu().numpy()
        found.append(np.stack([right_B, np.full(clips, nearest_BP.shape[1])], 1))
        means.append(key_BPC.mean(1).cpu().numpy())
        seen += clips
    whole_M = clips_of.whole_M[:seen]
    whole = [row for row, there in zip(clips_of.rows[:seen], whole_M, strict=True) if there]
    subjects = [row["subject"] for row in whole]
    # Who is seen is asked of some clips only: those that any number of workers would choose.
    few = sampled([row["clip_id"] for row in whole], sum(all_gather_objects(len(whole), world)))
    names = [(row["subject"], f"{row['subject']}/{row['video']}", row["clip_id"]) for row in (whole[k] for k in few)]
    mine = subjects, np.concatenate(found)[whole_M], names, np.concatenate(means)[whole_M][few]
    parts = list(zip(*all_gather_objects(mine, world), strict=True))
    subject_M = np.array([name for part in parts[0] for name in part], str)
    lists = ([name[k] for part in parts[2] for name in part] for k in range(3))
    who, chance = identity(np.concatenate(parts[3]), *lists)
    beside = {"val_identity": who, "val_identity_chance": chance}
    return Judgement(subject_M, (np.concatenate(parts[1]),), _measure, beside)


def _measure(found_M2: np.ndarray) -> dict[str, float]:
    """Return the share of right cells and what guessing would give, of clips' right cells and all that were asked.

    Of no clips neither is known.
    """
    right, asked = found_M2.sum(0).tolist()
    if not asked:
        return {"val_accuracy": float("nan"), "val_chance": float("nan")}
    return {"val_accuracy": right / asked, "val_chance": len(found_M2) / asked}


def _module(parts: Parts) -> nn.Module:
    return PredictiveTask(ClipNetwork(parts.model, parts.size), parts.section, parts.world)


def _validation(module: PredictiveTask, held: Held) -> Validation:
    """Foresight is judged by each clip's first window."""
    rows = held.rows("validation", None)
    clips = Clips(rows, held.columns, held.num_columns, held.labels, held.side, frames=held.frames)
    return Validation((clips,), lambda: judge_foresight(module, clips, held.size, held.world))


LEARNER = Learner(_module, _validation)
