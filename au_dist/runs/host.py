"""What is around the steps of a rank: its record, its checkpoints, the driver."""

import contextlib
import functools
import gc
import importlib.metadata
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch

from au_dist.dist.collectives import all_gather
from au_dist.dist.engine import Engine
from au_dist.dist.world import World
from au_dist.runs.context import Context
from au_dist.runs.coordinator import Heartbeat
from au_dist.runs.leases import check_lease
from au_dist.train import checkpoint
from au_dist.train.events import Leaving, Recorded, Stored, numbers
from au_dist.train.ledger import Ledger
from au_dist.train.plan import BatchPlan
from au_dist.train.record import Record
from au_dist.train.state import CheckpointState, OrderPosition, Subjects
from au_dist.train.uploader import CheckpointUploader

#: Seconds that failing ranks wait for the leading one to store its record.
PATIENCE_S = 60


class RunHost:
    """The host of a rank of a run (`au_dist.train.loop.Host`).

    Args:
        context: The recipe with its data.
        plan: The batch plan.
        start: Steps done before.
        world: This process among the workers.
        engine: Holds the weights.
        ledger: Notes which clips were seen.
        coordinator: The run's coordinator.
        lease: The word of the command that the run belongs to.
        validate: Returns validation metrics.
        idle: Returns inputs of the engine that nothing is wrong with.
    """

    def __init__(
        self,
        context: Context,
        plan: BatchPlan,
        start: int,
        world: World,
        engine: Engine,
        ledger: Ledger,
        coordinator: Any,
        lease: str,
        validate: Callable[[], dict[str, Any]],
        idle: Callable[[], tuple[Any, ...]],
    ) -> None:
        self.context, self.plan, self.world, self.engine, self.ledger = context, plan, world, engine, ledger
        self.coordinator, self.lease, self.idle, self._validate = coordinator, lease, idle, validate
        self.saving = CheckpointUploader()
        self._spent: dict[str, float] = {}
        self._heartbeat = Heartbeat(coordinator, world.rank, lambda: peak_memory(world.device))
        self.at = self._heartbeat.at
        self._record = Record(context.run, start) if world.is_leader else None
        self._answer: Any = None
        self._leaving = Leaving.NO

    def record(self, event: Recorded) -> None:
        """Record and show what happened; only the leading rank does."""
        if self._record is None:
            return
        self._record.add(event)
        self._answer = self.coordinator.add.remote(event)
        if self._record.due():
            self.saving.meanwhile(self._send)

    def leaving(self) -> Leaving:
        """Return whether the driver has asked to stop; only the leading rank knows."""
        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            self._leaving = ray.get(self._answer)
            self._answer = None
        return self._leaving

    def validate(self) -> dict[str, Any]:
        """Return validation metrics, and note what that took."""
        begun = time.monotonic()
        metrics = self._validate()
        peak = all_gather(torch.tensor([peak_memory(self.world.device)], device=self.world.device), self.world)
        self._spent = {"validated_s": time.monotonic() - begun, "memory_mib": float(peak.max()) / 2**20}
        return metrics

    def save(self, step: int, metrics: dict[str, Any]) -> None:
        """Begin to store a checkpoint; on the leading rank in the background."""
        self.saving.stored(wait=True)  # so that no second copy of the weights is made
        weights, moments = self.engine.weights(), self.engine.moments()
        self.ledger.write()
        if self._record is not None:
            state = checkpoint_state(self.context, self.plan, step, metrics)
            spent, self._spent = self._spent, {}
            self.saving.begin(step, lambda: self._store(weights, moments, state, spent))

    def _store(self, weights: Any, moments: Any, state: CheckpointState, spent: dict[str, float]) -> None:
        run, begun = self.context.run, time.monotonic()
        self._send()
        written = checkpoint.write(run, weights, moments, state, lambda: check_lease(run, self.lease))
        self.coordinator.add.remote(Stored(step=state.step, bytes=written, seconds=time.monotonic() - begun, **spent))
        check_lease(run, self.lease)
        checkpoint.prune(run, self.context.recipe.checkpoint, self.context.recipe.metric)

    def _send(self) -> None:
        assert self._record is not None
        check_lease(self.context.run, self.lease)
        self._record.send()

    def stored(self, wait: bool = False) -> int:
        """Return the newest step that is stored, on the leading rank."""
        return self.saving.stored(wait)

    def report(self, step: int, metrics: dict[str, Any]) -> None:
        """Tell Ray Train of a stored checkpoint."""
        ray.train.report(numbers(metrics) | {"step": step})

    def close(self) -> None:
        """Store what is left of the record, and go."""
        self.saving.close()
        if self._record is not None:
            check_lease(self.context.run, self.lease)
            self._record.close()
        self._heartbeat.close()

    def await_leader(self) -> None:
        """Wait until the leading rank has stored what is left: the first rank that fails ends them all."""
        for _ in range(PATIENCE_S):
            if ray.get(self.coordinator.has_ended.remote(0)):
                return
            time.sleep(1)


def checkpoint_state(context: Context, plan: BatchPlan, step: int, metrics: dict[str, Any]) -> CheckpointState:
    """Return what a checkpoint says of itself."""
    versions = {name: importlib.metadata.version(name) for name in ("au-dist", "torch", "ray", "deepspeed", "numpy")}
    return CheckpointState(
        step=step,
        order=OrderPosition(seed=context.recipe.seed, contrast_sets=plan.sets(step)),
        plan=plan,
        metrics=numbers(metrics),
        thresholds=metrics.get("thresholds"),
        clip_frames=context.manifest.clip_frames,
        aus=context.aus,
        crop=context.manifest.crop_recipe.known(),
        subjects=Subjects(**vars(context.split)),
        recipe=context.recipe.model_dump(mode="json"),
        recipe_hash=context.recipe.hash(),
        manifest=context.manifest.sha256,
        versions=versions,
        commit=commit(),
    )


def forget_peak(device: torch.device) -> None:
    """Count the most memory anew: what an earlier run of this process held is not this one's."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what is reserved counts, whoever reserved it
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # not on every system; then it is counted from the start of the process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """Return the most bytes that this process has held so far: of the GPU, or of the machine where it trains there."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


@functools.cache
def commit() -> str | None:
    """Return the git commit of this code, None where it is not a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
