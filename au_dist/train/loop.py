"""One run: steps, and at each checkpoint a validation. Knows no Ray, and of DeepSpeed the engine alone."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from au_dist.config.running import Optim
from au_dist.core.errors import TrainError
from au_dist.core.seeds import torch_seed
from au_dist.data.batches import ClipBatch
from au_dist.dist.collectives import all_reduce_sum
from au_dist.dist.engine import Engine
from au_dist.dist.world import World
from au_dist.train.error_budget import ErrorBudget
from au_dist.train.events import Leaving, Recorded, StepDone, Validated
from au_dist.train.plan import BatchPlan, learning_rate


class Host(Protocol):
    """What is around the steps of a rank: where its numbers and checkpoints go, and who may ask it to stop."""

    def idle(self) -> tuple[Any, ...]:
        """Return inputs of the engine that nothing is wrong with."""

    def validate(self) -> dict[str, Any]:
        """Return validation metrics, none without validation subjects; called by all ranks together."""

    def record(self, event: Recorded) -> None:
        """Take what stands in the record."""

    def save(self, step: int, metrics: dict[str, Any]) -> None:
        """Begin to store a checkpoint; called by all ranks together."""

    def stored(self, wait: bool = False) -> int:
        """Return the newest step that is stored, on the leading rank; 0 on others.

        Args:
            wait: Until everything is stored that was begun.
        """

    def report(self, step: int, metrics: dict[str, Any]) -> None:
        """Take notice that a checkpoint is stored; called by all ranks together."""

    def at(self, phase: str, number: int) -> None:
        """Take notice of where this rank is.

        Args:
            phase: One of `au_dist.runs.heartbeat.PHASES`.
            number: The contrast set.
        """

    def leaving(self) -> Leaving:
        """Return whether somebody has asked this rank to stop."""


@dataclass
class _Step:
    """What is found out during a step.

    Attributes:
        loss: Sum of the finite losses.
        skipped: Clips of each contrast set that was skipped.
        unlabelled: Contrast sets without a label.
        faults: Frames that did not decode, and why.
        waited: Seconds that the step waited for data.
        stored: Newest step that is stored.
        leaving: What the rank was asked that was asked most.
    """

    loss: float = 0.0
    skipped: list[tuple[str, ...]] = field(default_factory=list)
    unlabelled: int = 0
    faults: list[str] = field(default_factory=list)
    waited: float = 0.0
    stored: int = 0
    leaving: Leaving = Leaving.NO


@dataclass(kw_only=True)
class Loop:
    """Trains from a step to the end of the plan.

    Attributes:
        plan: The batch plan.
        start: Steps done before.
        batches: This rank's micro-batches, from that step on.
        engine: Does the steps.
        optim: The learning rate, its schedule, and how much may be skipped.
        unreadable: Share of the clips of the last 100 contrast sets that may not decode.
        size: Side of the network's input in pixels.
        seed: The run's seed; what layers draw belongs to (seed, contrast set).
        world: This process among the workers.
        host: What is around it.
    """

    plan: BatchPlan
    start: int
    batches: Iterator[ClipBatch]
    engine: Engine
    optim: Optim
    unreadable: float
    size: int
    seed: int
    world: World
    host: Host

    def run(self) -> None:
        """Train to the end, or until the run is asked to stop.

        Raises:
            TrainError: The loss was not finite or a clip did not decode too often (which clips, is in the record), or
                a gradient was not finite.
        """
        plan, host = self.plan, self.host
        self.error_budget = ErrorBudget(self.optim.skip, self.unreadable, plan.contrast)
        begun, saved = time.monotonic(), dict[int, dict[str, Any]]()
        for step in range(self.start, plan.steps):
            entered = time.monotonic()
            rate, tally = self._rate(step), _Step()
            for part in range(plan.accumulate):
                self._learn(plan.sets(step) + part, rate, tally)
            done, seconds = step + 1, time.monotonic() - entered
            pace = (time.monotonic() - begun) / (done - self.start)
            host.record(self._done(done, rate, tally, seconds, pace * (plan.steps - done)))
            self.error_budget.check(done, rate)
            if not self.engine.left_out:
                _check_gradient(self.engine.grad_norm, done, rate)
            if tally.leaving is Leaving.AT_ONCE:
                break
            number = plan.sets(done) - 1
            if done % plan.every == 0 or done == plan.steps:
                host.at("validates", number)
                saved[done] = host.validate()
                if shown := {name: value for name, value in saved[done].items() if name != "thresholds"}:
                    host.record(Validated(step=done, metrics=shown))
            if done in saved or tally.leaving:
                host.at("waits for the store", number)
                host.save(done, saved.get(done, {}))
            self._report(saved, tally.stored)
            if tally.leaving:
                break
        stored = all_reduce_sum(torch.tensor(host.stored(wait=True), device=self.world.device), self.world)
        self._report(saved, int(stored))

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.optim.lr, self.plan.warmup, self.plan.steps, self.optim.schedule)

    def _learn(self, number: int, rate: float, tally: _Step) -> None:
        """Learn from a contrast set; a set without a finite loss moves nothing."""
        asked = time.monotonic()
        self.host.at("waits for data", number)
        batch = next(self.batches)
        tally.waited += time.monotonic() - asked
        self.host.at("computes", number)
        batch = batch.to(self.world.device)
        torch.manual_seed(torch_seed(self.seed, "layers", number))
        loss = self.engine.loss(batch.views(self.size), batch.y_BA, batch.valid_BA, number)
        # Whether a set is learnt from, all ranks decide together; what the ranks know of the run travels with it.
        seen = _look(loss, batch, self.host.stored(), self.host.leaving())
        self.host.at("meets the others", number)
        value, broken, labelled, damaged, stored, leaving, at_once = all_reduce_sum(seen, self.world).tolist()
        tally.stored = int(stored)
        tally.leaving = Leaving.AT_ONCE if at_once else Leaving.STORED if leaving else Leaving.NO
        lost, faulty = self.error_budget.note(batch, broken > 0, damaged > 0, self.world)
        tally.faults += faulty
        tally.unlabelled += not labelled
        if broken:
            tally.skipped.append(lost)
            loss = self.engine.no_loss(*self.host.idle())
            _check_network(loss, done=number // self.plan.accumulate)
        else:
            tally.loss += value / self.world.size
        # A step of which nothing is left must not move the weights either.
        self.engine.learn(0.0 if len(tally.skipped) == self.plan.accumulate else rate, loss)

    def _done(self, done: int, rate: float, tally: _Step, seconds: float, eta_s: float) -> StepDone:
        learnt, engine = self.plan.accumulate - len(tally.skipped), self.engine
        return StepDone(
            step=done,
            steps=self.plan.steps,
            epoch=round(self.plan.epoch(done), 3),
            loss=tally.loss / learnt if learnt else None,
            grad_norm=None if engine.left_out else engine.grad_norm,
            loss_scale=engine.scale.size if engine.scale else None,
            lr=rate,
            clips_per_s=self.plan.clips / seconds,
            step_s=seconds,
            data_wait=tally.waited / seconds,
            eta_s=eta_s,
            unlabelled_sets=tally.unlabelled,
            skipped_clips=tuple(sorted(set().union(*tally.skipped))),
            unreadable=tuple(tally.faults),
        )

    def _report(self, saved: dict[int, dict[str, Any]], stored: int) -> None:
        """Report the checkpoints that have been stored since the last time."""
        for step in [step for step in saved if step <= stored]:
            self.host.report(step, saved.pop(step))


def _look(loss: torch.Tensor, batch: ClipBatch, stored: int, leaving: Leaving) -> torch.Tensor:
    """Return what ranks add up: the loss if it is finite, if it is not, if a label is known, faults, and the rest."""
    finite = torch.isfinite(loss.detach())
    asked = (leaving > Leaving.NO, leaving > Leaving.STORED)
    numbers = torch.tensor([len(batch.faults), stored, *asked], dtype=torch.float64, device=finite.device)
    seen = (torch.where(finite, loss.detach(), 0.0), ~finite, batch.valid_BA.any())
    return torch.cat([torch.stack([part.to(torch.float64) for part in seen]), numbers])


def _check_gradient(norm: float, step: int, rate: float) -> None:
    """Stop the run when a finite loss had a gradient that is not: the weights are spoilt, and must not be stored."""
    if math.isfinite(norm):
        return
    raise TrainError(
        "The gradient is not finite",
        where=f"step {step}, learning rate {rate:.2g}",
        found=norm,
        fix="Lower optim.lr, or use engine.precision: fp32; the last checkpoint is intact.",
    )


def _check_network(loss: torch.Tensor, done: int) -> None:
    """Stop the run when the network has no value even for pictures that nothing is wrong with."""
    if not bool(torch.isfinite(loss.detach())):
        raise TrainError(
            "The network gives no numbers any more",
            where=f"after step {done}",
            fix="Lower optim.lr or set optim.grad_clip; the last checkpoint is intact.",
        )
