"""What a campaign will take, from one measured run of its recipe."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from au_dist.runs.preview import Preview, preview
from au_dist.runs.room import Nodes
from au_dist.train.plan import worker_counts
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.fit import trials_at_once
from au_dist.tuning.sections import FINISHED, EarlyStopping
from au_dist.tuning.status import status

#: Steps that are measured, after the first ones.
STEPS = 10


@dataclass(frozen=True)
class Forecast:
    """What a campaign will take, if all its trials are as long as its recipe.

    Attributes:
        trials: How many are left to run.
        at_once: How many at once.
        trial_s: Seconds of a trial that runs to its end, its start included.
        start_s: Seconds from a trial's begin to its first step.
        share: How much of a trial is run on the average; 1 without early stopping.
        total_s: Seconds of the campaign.
        most_s: The same if no trial is stopped early.
        gpu_hours: Of all trials.
        cpu_hours: Of all trials and their reading.
    """

    trials: int
    at_once: int
    trial_s: float
    start_s: float
    share: float
    total_s: float
    most_s: float
    gpu_hours: float
    cpu_hours: float

    def ends(self, now: datetime) -> datetime:
        """Return when the campaign ends if it begins now."""
        return now + timedelta(seconds=self.total_s)


def measure(campaign: Campaign, nodes: Nodes) -> Forecast:
    """Measure a campaign's recipe in a short run of which nothing is kept; Ray must be connected.

    Args:
        campaign: The campaign, begun or not.
        nodes: What each node of the cluster has.

    Raises:
        AuDistError: The recipe does not run as it is, or not even one trial fits.
    """
    now = status(campaign)
    left = max(0, campaign.trials - (now.planned - now.left))
    at_once = trials_at_once(campaign.base(), nodes, min(max(left, 1), campaign.concurrent or campaign.trials))
    # Below a folder of its own: a measurement is no trial.
    recipe = campaign.base().model_copy(update={"runs": campaign.place.parent.uri})
    return forecast(campaign, preview(recipe, worker_counts(recipe)[-1], STEPS, variants=False), left, at_once)


def forecast(campaign: Campaign, preview: Preview, trials: int, at_once: int) -> Forecast:
    """Return what a campaign will take.

    Args:
        campaign: The campaign.
        preview: Its recipe, measured.
        trials: How many are left to run.
        at_once: How many at once.
    """
    estimate, start_s = preview.estimate, preview.measured[0].start_s
    validations = math.ceil(preview.plan.steps / preview.plan.every)
    share = expected_share(campaign.early_stopping, validations, trials, campaign.trials - trials)
    rounds = trials / min(at_once, max(trials, 1))
    return Forecast(
        trials=trials,
        at_once=at_once,
        trial_s=start_s + estimate.total_s,
        start_s=start_s,
        share=share,
        total_s=rounds * (start_s + share * estimate.total_s),
        most_s=rounds * (start_s + estimate.total_s),
        gpu_hours=trials * share * estimate.gpu_hours,
        cpu_hours=trials * share * estimate.cpu_hours,
    )


def expected_share(rule: EarlyStopping | None, validations: int, trials: int, ended: int) -> float:
    """Return how much of a trial early stopping runs on the average, where trials differ by nothing but luck.

    Args:
        rule: The campaign's early stopping.
        validations: How many a whole trial has.
        trials: How many are left.
        ended: How many are not.
    """
    if rule is None or rule.grace >= validations:
        return 1.0
    if rule.by == "median":  # the first ones come to their end; of the others half are below it where it is asked first
        half = (rule.grace + (validations - rule.grace) / 2) / validations
        whole = min(trials, max(0, FINISHED - ended))
        return (whole + (trials - whole) * half) / max(trials, 1)
    run, alive, rung = float(rule.grace), 1.0, rule.grace
    while rung < validations:
        alive /= rule.reduction
        following = min(rung * rule.reduction, validations)
        run += alive * (following - rung)
        rung = following
    return run / validations
