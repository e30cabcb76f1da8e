"""What a trial costs, and the trials of which none is better at less: the Pareto front."""

import math
from collections.abc import Sequence

from au_dist.train.plan import worker_counts
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.record import TrialState

#: What each cost is called.
COSTS = {"hours": "hours", "gpu_hours": "GPU-hours"}


def cost(campaign: Campaign, trial: TrialState) -> float:
    """Return what a trial has cost in the unit of `against`: hours from its workers' first step on, times its GPUs."""
    hours = trial.seconds / 3600
    if campaign.against == "gpu_hours":
        recipe = campaign.base()
        return hours * worker_counts(recipe)[-1] * recipe.workers.gpus
    return hours


def front(campaign: Campaign, trials: Sequence[TrialState]) -> list[TrialState]:
    """Return the finished trials of which none is as good at less cost, or better at no more; the best first."""
    found, least = list[TrialState](), math.inf
    done = [trial for trial in trials if trial.state == "finished" and math.isfinite(trial.metric)]
    for trial in sorted(done, key=lambda one: (-one.metric, cost(campaign, one), one.number)):
        if cost(campaign, trial) < least:
            least = cost(campaign, trial)
            found.append(trial)
    return found
