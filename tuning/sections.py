"""Sections of a campaign's file."""

from typing import Literal

from pydantic import Field, model_validator

from au_dist.config.section import Section

#: Trials that must have finished before one is stopped by the median rule.
FINISHED = 5


class EarlyStopping(Section):
    """Which trials do not come to their end.

    A trial that is one run is stopped within it, by asynchronous successive halving: at validation grace, grace x
    reduction, ... only the best go on; or by the median rule: from validation grace on where its best so far is below
    the median of what finished trials had there, once five (`FINISHED`) have. One of several runs is stopped between
    them, by Wilcoxon's signed-rank test against the same runs of the best trial so far.

    Attributes:
        by: Which of the two, for trials of one run.
        grace: Validations that every trial of one run gets.
        reduction: Of so many such trials that reach a rung of halving, about one goes on.
        worse: The test's p below which a trial of several runs is taken for worse than the best. Three runs cannot
            show less than 1/8, four 1/16.
    """

    by: Literal["halving", "median"] = "halving"
    grace: int = Field(1, ge=1)
    reduction: int = Field(3, ge=2)
    worse: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _has_effect(self) -> "EarlyStopping":
        if self.by == "median" and self.reduction != type(self).model_fields["reduction"].default:
            raise ValueError("early_stopping.reduction belongs to halving; by: median has grace alone")
        return self


class Budget(Section):
    """When no other trial begins although some are left; those under way come to their end.

    Attributes:
        hours: Since the first trial was drawn.
        gpu_hours: GPU-hours of all trials together: the time of each x its GPUs; without GPUs nothing counts.
        patience: Trials that have ended since the last one which was better than all before it by more than `gain`.
        gain: What of the metric is no more than noise; for `patience`.
    """

    hours: float | None = Field(None, gt=0)
    gpu_hours: float | None = Field(None, gt=0)
    patience: int | None = Field(None, ge=1)
    gain: float = Field(0.0, ge=0)


class Keep(Section):
    """What ended trials keep in storage, the better ones more; all of them keep their record.

    Attributes:
        resumable: So many of the best keep whole checkpoints, from which a run can go on; all when None.
        weights: So many after these keep weights, for `evaluate`, `predict` and `pull`; all when None. Others keep no
            checkpoint.
    """

    resumable: int | None = Field(None, ge=1)
    weights: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "Keep":
        if self.weights is not None and self.resumable is None:
            raise ValueError("keep.weights counts the trials after the resumable ones: give keep.resumable, too")
        return self
