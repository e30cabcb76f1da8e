"""When a campaign begins no other trial although some are left."""

import math
from collections.abc import Sequence
from datetime import datetime

from au_dist.tuning.record import TrialState
from au_dist.tuning.sections import Budget


def spent(budget: Budget, trials: Sequence[TrialState], used: tuple[float, float], now: datetime) -> str | None:
    """Return why no other trial begins, in words; None while one may.

    Args:
        budget: The campaign's budget.
        trials: All its trials.
        used: GPUs of a trial, and seconds of those under way that are not among their own yet.
        now: The time, by the clock of `TrialState.begun`.
    """
    begun = [trial.begun for trial in trials if trial.begun is not None]
    if budget.hours is not None and begun:
        hours = (now - min(begun)).total_seconds() / 3600
        if hours >= budget.hours:
            return f"{hours:.1f} of {budget.hours:g} hours have passed since its first trial was drawn"
    if budget.gpu_hours is not None:
        gpus, open_s = used
        hours = gpus * (open_s + sum(trial.seconds for trial in trials)) / 3600
        if hours >= budget.gpu_hours:
            return f"{hours:.1f} of {budget.gpu_hours:g} GPU-hours are used"
    if budget.patience is not None and (idle := without_gain(trials, budget.gain)) >= budget.patience:
        return f"{idle} trials have ended since one was better than all before it by more than {budget.gain:g}"
    return None


def without_gain(trials: Sequence[TrialState], gain: float) -> int:
    """Return how many trials ended after the last one that was better than all before it by more than a gain.

    Args:
        trials: The trials; those that came to no validation count as no better.
        gain: What of the metric is no more than noise.
    """
    ended = sorted((trial.ended, trial.number, trial.metric) for trial in trials if trial.ended is not None)
    best, idle = -math.inf, 0
    for _, _, metric in ended:
        idle = 0 if metric > best + gain or (best == -math.inf < metric) else idle + 1
        best = max(best, metric)
    return idle
