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


def train(
    *,
    plan: BatchPlan,
    start: int,
    batches: Iterator[Batch],
    engine: Engine,
    lr: float,
    size: int,
    world: World,
    validate: Callable[[], dict[str, Any]],
    save: Callable[[int, dict[str, Any]], None],
    record: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Train from a step to the end of the plan.

    Args:
        plan: The batch plan.
        start: Steps done before.
        batches: This rank's micro-batches, from that step on.
        engine: Does the steps.
        lr: Peak learning rate.
        size: Side of the network's input in pixels.
        world: This process among the workers.
        validate: Returns validation metrics; called by all ranks together.
        save: Stores a checkpoint of a step with its metrics; called by all ranks together.
        record: Takes a row of the record; called on every rank.

    Returns:
        The last validation metrics.

    Raises:
        TrainError: The loss is not finite, on any rank.
    """
    metrics: dict[str, Any] = {}
    begun = time.monotonic()
    for step in range(start, plan.steps):
        rate = learning_rate(step, lr, plan.warmup, plan.steps)
        entered, waited = time.monotonic(), 0.0
        loss = torch.zeros((), device=world.device)
        for part in range(plan.accumulate):
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            batch = batch.to(world.device)
            views = batch.views(size)
            loss += engine.micro_step(rate, views, batch.y_BA, batch.valid_BA, step * plan.accumulate + part)
        mean = float(total(loss, world)) / (world.size * plan.accumulate)
        if not math.isfinite(mean):
            raise TrainError(
                "The loss is not finite",
                where=f"step {step + 1}, learning rate {rate:.2g}, gradient norm {engine.grad_norm:.3g}",
                found=mean,
                fix="Lower optim.lr, set optim.clip, or look at the step's clips; the last checkpoint is intact.",
            )
        seconds = time.monotonic() - entered
        done = step + 1
        pace = (time.monotonic() - begun) / (done - start)
        record(
            {
                "step": done,
                "steps": plan.steps,
                "epoch": round(plan.epoch(done), 3),
                "loss": mean,
                "grad_norm": engine.grad_norm,
                "lr": rate,
                "clips_per_s": plan.clips / seconds,
                "data_wait": waited / seconds,
                "eta_s": pace * (plan.steps - done),
            }
        )
        if done % plan.every == 0 or done == plan.steps:
            metrics = validate()
            record({"step": done, **{name: number for name, number in metrics.items() if name.startswith("val_")}})
            save(done, metrics)
    return metrics
