"""One run: steps, and at each checkpoint a validation. Knows neither Ray nor DeepSpeed."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from au_dist.data.batches import Batch
from au_dist.dist.collectives import total
from au_dist.dist.deepspeed_engine import Engine
from au_dist.dist.world import World
from au_dist.errors import TrainError
from au_dist.train.plan import BatchPlan, learning_rate
from au_dist.train.tolerance import Tolerance


def train(
    *,
    plan: BatchPlan,
    start: int,
    batches: Iterator[Batch],
    engine: Engine,
    lr: float,
    skip: float,
    unreadable: float,
    size: int,
    world: World,
    validate: Callable[[], dict[str, Any]],
    save: Callable[[int, dict[str, Any]], None],
    record: Callable[[dict[str, Any]], None],
    idle: Callable[[], tuple[Any, ...]],
) -> dict[str, Any]:
    """Train from a step to the end of the plan.

    Args:
        plan: The batch plan.
        start: Steps done before.
        batches: This rank's micro-batches, from that step on.
        engine: Does the steps.
        lr: Peak learning rate.
        skip: Share of the last 100 contrast sets that may be skipped because their loss is not finite.
        unreadable: Share of the clips of the last 100 contrast sets that may not decode.
        size: Side of the network's input in pixels.
        world: This process among the workers.
        validate: Returns validation metrics; called by all ranks together.
        save: Stores a checkpoint of a step with its metrics; called by all ranks together.
        record: Takes a row of the record; called on every rank.
        idle: Returns inputs of the engine that nothing is wrong with.

    Returns:
        The last validation metrics.

    Raises:
        TrainError: The loss was not finite or a clip did not decode too often (which clips, is in the record), or a
            gradient was not finite.
    """
    metrics: dict[str, Any] = {}
    tolerance = Tolerance(skip, unreadable, plan.contrast)
    begun = time.monotonic()
    for step in range(start, plan.steps):
        rate = learning_rate(step, lr, plan.warmup, plan.steps)
        entered, waited = time.monotonic(), 0.0
        mean, skipped, unlabelled, faults = 0.0, list[tuple[str, ...]](), 0, list[str]()
        for part in range(plan.accumulate):
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            batch = batch.to(world.device)
            loss = engine.loss(batch.views(size), batch.y_BA, batch.valid_BA, step * plan.accumulate + part)
            # Whether a set is learnt from, all ranks decide together.
            number, broken, labelled, damaged = total(_look(loss, batch), world).tolist()
            lost, faulty = tolerance.note(batch, broken > 0, damaged > 0, world)
            faults += faulty
            if broken:
                skipped.append(lost)
                loss = engine.no_loss(*idle())
                _check_network(loss, done=step)
            else:
                mean += number / world.size
            unlabelled += not labelled
            # A step of which nothing is left must not move the weights either.
            engine.learn(0.0 if len(skipped) == plan.accumulate else rate, loss)
        learnt = plan.accumulate - len(skipped)
        seconds = time.monotonic() - entered
        done = step + 1
        pace = (time.monotonic() - begun) / (done - start)
        record(
            {
                "step": done,
                "steps": plan.steps,
                "epoch": round(plan.epoch(done), 3),
                **({"loss": mean / learnt} if learnt else {}),
                "grad_norm": engine.grad_norm,
                "lr": rate,
                "clips_per_s": plan.clips / seconds,
                "data_wait": waited / seconds,
                "eta_s": pace * (plan.steps - done),
                **({"unlabelled_sets": unlabelled} if unlabelled else {}),
                **({"skipped_clips": sorted(set().union(*skipped))} if skipped else {}),
                **({"unreadable": faults} if faults else {}),
            }
        )
        tolerance.check(done, rate)
        _check_gradient(engine.grad_norm, done, rate)
        if done % plan.every == 0 or done == plan.steps:
            metrics = validate()
            record({"step": done, **{name: value for name, value in metrics.items() if name != "thresholds"}})
            save(done, metrics)
    return metrics


def _look(loss: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return what ranks add up: the loss where it is finite, whether it is not, whether a label is known, faults."""
    finite = torch.isfinite(loss.detach())
    faults = torch.tensor(len(batch.faults), device=finite.device)
    seen = (torch.where(finite, loss.detach(), 0.0), ~finite, batch.valid_BA.any(), faults)
    return torch.stack([part.to(torch.float64) for part in seen])


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
            fix="Lower optim.lr or set optim.clip; the last checkpoint is intact.",
        )
