"""What a run measures, as gauges of `ray.util.metrics`, which Ray offers to Prometheus.

Ray forgets a gauge that is not set again within two of its reports, 20 s, but keeps a counter until the node's agent
ends. So all are gauges, counts too, and are set again as long as a driver watches the run: what has ended is gone,
and a campaign of a thousand trials leaves nothing behind (docs/decisions/0022-watching.md).
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from au_dist.train.events import Event, StepDone, Stored, Validated, WorkersLost, numbers

#: Seconds between two times that the gauges are set; Ray sends them on every ten.
EVERY_S = 5.0

#: What the names of all gauges begin with; Ray puts ``ray_`` before it.
PREFIX = "au_dist_"

#: The gauge of what a validation measures, which has one value for each of its metrics.
VALIDATION = "validation"

#: All gauges, and what they are. None of them is there before its first value.
GAUGES = {
    "steps_done": "Steps done.",
    "steps_planned": "Steps of the whole run.",
    "eta_seconds": "Time that is left, at the pace so far.",
    "progress_age_seconds": "Time since the last step, validation or checkpoint.",
    "clips_per_second": "Clips a second, over all workers, in the last step.",
    "step_seconds": "Time that the last step took.",
    "data_wait_ratio": "Share of the last step in which the leading worker waited for data.",
    "loss": "Mean loss of the last step; not there where nothing was learnt from.",
    "grad_norm": "Norm of the gradient before it was clipped; not there where the update was left out.",
    "learning_rate": "Learning rate.",
    "left_out_steps": "Steps so far whose update was left out because fp16 cannot hold the gradient.",
    "skipped_clips": "Clips so far whose loss was not finite.",
    VALIDATION: "What the last validation measured, by metric.",
    "validation_seconds": "Time that the last validation took.",
    "checkpoint_step": "Step of the newest checkpoint in storage.",
    "checkpoint_bytes": "Size of the newest checkpoint.",
    "checkpoint_upload_seconds": "Time to store it, while training went on.",
    "workers": "Workers that have begun and not ended.",
    "late_workers": "Workers that keep the others waiting.",
    "worker_failures": "Times so far that workers failed.",
    "worker_memory_peak_bytes": "Most memory that a worker has held: of its GPU, where it trains on one.",
}

#: Gauges that count, from 0 at a run's beginning.
COUNTS = ("left_out_steps", "skipped_clips", "worker_failures")


class Measured(NamedTuple):
    """A gauge's value; None where the gauge has none any more."""

    gauge: str
    value: float | None
    metric: str = ""


Publish = Callable[[str, list[Measured]], None]


def measured(event: Event) -> list[Measured]:
    """Return what an event tells of a run; numbers that are not finite are none."""
    found: dict[str, float | None] = {}
    match event:
        case StepDone():
            found = {
                "steps_done": event.step,
                "steps_planned": event.steps,
                "eta_seconds": event.eta_s,
                "clips_per_second": event.clips_per_s,
                "step_seconds": event.step_s,
                "data_wait_ratio": event.data_wait,
                "loss": event.loss,
                "grad_norm": event.grad_norm,
                "learning_rate": event.lr,
            }
        case Stored():
            found = {
                "checkpoint_step": event.step,
                "checkpoint_bytes": event.bytes,
                "checkpoint_upload_seconds": event.seconds,
                **({} if event.validated_s is None else {"validation_seconds": event.validated_s}),
            }
        case Validated():
            return [Measured(VALIDATION, _finite(value), name) for name, value in numbers(event.metrics).items()]
    return [Measured(gauge, _finite(value)) for gauge, value in found.items()]


def counted(event: Event) -> dict[str, int]:
    """Return what an event adds to the gauges that count."""
    match event:
        case StepDone():
            return {"left_out_steps": int(event.left_out), "skipped_clips": len(event.skipped_clips)}
        case WorkersLost():
            return {"worker_failures": 1}
    return {}


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


class RunGauges:
    """The gauges of the run that a group of workers trains.

    Args:
        publish: Sets gauges of a run, by its name; Ray's when None.
        clock: Seconds.
    """

    def __init__(self, publish: Publish | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._publish: Publish | None = RayGauges() if publish is None else publish
        self._clock, self._run = clock, ""
        self._values: dict[tuple[str, str], float] = {}
        self._moved, self._sent = clock(), -math.inf

    def begin(self, run: str) -> None:
        """Measure another run from now on; without a name nothing is measured."""
        self._run, self._moved, self._sent = run, self._clock(), -math.inf
        self._values = {(name, ""): 0.0 for name in COUNTS}

    def add(self, event: Event) -> None:
        """Take in what happened."""
        for gauge, value, metric in measured(event):
            if value is None:
                self._values.pop((gauge, metric), None)
            else:
                self._values[gauge, metric] = value
        for gauge, more in counted(event).items():
            self._values[gauge, ""] = self._values.get((gauge, ""), 0.0) + more
        if isinstance(event, StepDone | Validated | Stored):
            self._moved = self._clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time to set the gauges again."""
        return bool(self._run) and self._publish is not None and self._clock() - self._sent >= EVERY_S

    def send(self, now: Mapping[str, float]) -> None:
        """Set the gauges again; whatever comes of it, the run goes on.

        Args:
            now: Values of this moment, by gauge.
        """
        if self._publish is None:
            return
        self._sent = self._clock()
        values = [Measured(gauge, value, metric) for (gauge, metric), value in self._values.items()]
        values += [Measured(gauge, value) for gauge, value in now.items()]
        try:
            self._publish(self._run, [*values, Measured("progress_age_seconds", self._sent - self._moved)])
        except Exception:
            # A run must not end of being watched.
            logging.getLogger(__name__).warning("The run is not measured any more", exc_info=True)
            self._publish = None


class RayGauges:
    """Sets gauges of Ray; they are made when they have their first value."""

    def __init__(self) -> None:
        self._gauges: dict[str, Any] = {}

    def __call__(self, run: str, values: list[Measured]) -> None:
        """Set gauges of a run."""
        from ray.util.metrics import Gauge

        for name, value, metric in values:
            if name not in self._gauges:
                tags = ("run", "metric") if name == VALIDATION else ("run",)
                self._gauges[name] = Gauge(f"{PREFIX}{name}", GAUGES[name], tag_keys=tags)
            self._gauges[name].set(value, {"run": run, **({"metric": metric} if metric else {})})
