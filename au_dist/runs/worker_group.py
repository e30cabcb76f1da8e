"""A group of workers that trains a run, or one run after another: what starting them takes is paid once."""

import functools
import os
import threading
import time
import uuid
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from au_dist.runs.claims import FOLDER
from au_dist.runs.context import Context
from au_dist.storage.store import Store
from au_dist.train.events import WorkersLost
from au_dist.train.plan import worker_counts

if TYPE_CHECKING:
    from au_dist.runs.coordinator import Show

#: Seconds between looks whether the cluster has room for another number of workers.
RESIZE_S = 15.0

#: Seconds that an elastic run waits for workers that Ray finds room for, before room is counted again; how often.
COUNT_AGAIN_S, COUNT_AGAIN = 15.0, 10

#: Seconds between two questions of idle workers, and of who waits for them.
ASK_S = 0.1

#: Seconds that workers may take to go.
GO_S = 60.0

#: Seconds that workers wait for another run where it follows on the one before.
IDLE_S = 20.0


class WorkerGroup:
    """Workers, from the first run on; they train runs of one shape, and others start where the next has another.

    Args:
        idle_s: Seconds that they wait for another run; 0 where there is one.
        home: Where Ray Train keeps its own records, which nothing reads; in the run's folder when None.
        of: What its runs belong to, such as a campaign; they are shown and measured by its name and their own.
    """

    def __init__(self, idle_s: float = 0.0, home: Store | None = None, of: str = "") -> None:
        self._idle_s, self._home, self._of = idle_s, home, of
        self._coordinator: Any = None
        self._shape: Any = None
        self._fit: Future[None] | None = None

    def train(self, context: Context, lease: str, show: "Show", stop: threading.Event, drop: threading.Event) -> bool:
        """Train a run from its newest whole checkpoint to its end, or until it is to stop.

        Args:
            context: The recipe with its data.
            lease: The word of the command that the run belongs to.
            show: Called with each event as it comes.
            stop: Set when the run is to store a checkpoint and stop.
            drop: Set when the run is to stop at once.

        Returns:
            Whether the workers have stopped to begin elsewhere.

        Raises:
            Exception: What ended the workers; none are left then.
        """
        import ray

        from au_dist.runs.coordinator import RunMonitor
        from au_dist.runs.room import why_it_waits

        kept = ray.put({"context": context, "source": ray.put(context.source()), "lease": lease})
        if not self._takes(context, kept):
            self._start(context, kept)
        assert self._fit is not None
        try:
            waits = functools.partial(why_it_waits, context.recipe)
            with RunMonitor(self._coordinator, show, stop, drop, why_it_waits=waits):
                # `_thread.interrupt_main` wakes nobody who waits without end.
                while not self._fit.done() and not self._done():
                    time.sleep(ASK_S)
            if self._fit.done():
                self._fit.result()
            moves = bool(ray.get(self._coordinator.moves.remote()))
            if moves or not self._waits:
                self.close()
        except BaseException:
            self._leave()
            raise
        return moves

    def __enter__(self) -> "WorkerGroup":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_idle(self) -> bool:
        """Whether workers wait for another run."""
        import ray

        with suppress(ray.exceptions.RayError):
            return self._alive and bool(ray.get(self._coordinator.is_open.remote()))
        return False

    def close(self) -> None:
        """Let the workers go, and wait until they have."""
        import ray

        if self._fit is not None:
            with suppress(ray.exceptions.RayError):
                ray.get(self._coordinator.close.remote())
            until = time.monotonic() + GO_S
            while not self._fit.done() and time.monotonic() < until:
                time.sleep(ASK_S)
        self._leave()

    def _leave(self) -> None:
        self._coordinator = self._shape = self._fit = None

    @property
    def _alive(self) -> bool:
        return self._fit is not None and not self._fit.done()

    @property
    def _waits(self) -> bool:
        return self._idle_s > 0 and self._alive

    def _done(self) -> bool:
        """Return whether workers that stay have done their run; those of a single run go by themselves."""
        import ray

        return self._waits and bool(ray.get(self._coordinator.is_done.remote()))

    def _takes(self, context: Context, kept: Any) -> bool:
        """Give a run to the workers that are there; return whether they take it."""
        import ray

        with suppress(ray.exceptions.RayError):
            if self._alive and self._shape == _shape(context):
                return ray.get(self._coordinator.give.remote([kept], self._title(context))) is not None
        return False

    def _title(self, context: Context) -> str:
        """Return what a run is measured by."""
        return f"{self._of}/{context.recipe.name}" if self._of else context.recipe.name

    def _start(self, context: Context, kept: Any) -> None:
        import ray

        from au_dist.runs.coordinator import start_coordinator

        self.close()
        idle_s = self._idle_s if len(worker_counts(context.recipe)) == 1 else 0.0
        name = self._of or context.recipe.name
        coordinator = start_coordinator(idle_s, name)
        ray.get(coordinator.give.remote([kept], self._title(context)))
        fit: Future[None] = Future()
        trainer = _trainer(context, coordinator, name, self._home)

        def run() -> None:
            try:
                trainer.fit()
                fit.set_result(None)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                fit.set_exception(error)

        self._coordinator, self._shape, self._fit = coordinator, _shape(context), fit
        # In the main thread Ray Train would take Ctrl-C for itself.
        threading.Thread(target=run, name="fit", daemon=True).start()


def _shape(context: Context) -> dict[str, Any]:
    """Return what workers must have in common with those of another run to train it."""
    return context.recipe.workers.model_dump()


def _trainer(context: Context, coordinator: Any, name: str, home: Store | None) -> Any:
    """Return Ray Train's trainer of a group of workers, which Ray's dashboard shows by a name."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    from au_dist.compat.ray import driver_is_gone
    from au_dist.compat.ray_ranks import RankConfig
    from au_dist.compat.ray_train import RankTrainer
    from au_dist.runs.elastic import lane_policy
    from au_dist.runs.failure_policy import FailurePolicy

    workers = context.recipe.workers
    folder, home = (FOLDER, context.run) if home is None else (f"{FOLDER}-{uuid.uuid4().hex[:8]}", home)
    filesystem, path = home.filesystem_anywhere()
    resources = {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
    counts = worker_counts(context.recipe)
    elastic = len(counts) > 1
    # Where nodes have just gone, Ray may believe for a while that there is room: an elastic run soon counts again.
    patience = min(COUNT_AGAIN_S, workers.start_timeout_s) if elastic else workers.start_timeout_s
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(patience)

    scaling = ScalingConfig(
        num_workers=(counts[0], counts[-1]) if elastic else counts[0],
        use_gpu=workers.gpus > 0,
        resources_per_worker=resources,
        label_selector=dict(workers.node_labels) or None,
        elastic_resize_monitor_interval_s=RESIZE_S,
    )
    return RankTrainer(
        _work,
        policy=lane_policy(context, scaling) if elastic else None,
        train_loop_config={"coordinator": coordinator},
        scaling_config=scaling,
        run_config=RunConfig(
            name=name,  # and a folder of this name in the one below
            storage_path=f"{path}/{folder}",
            storage_filesystem=filesystem,
            # Without a limit a group of workers that cannot be placed is asked for again without end.
            failure_config=FailureConfig(
                max_failures=workers.max_failures, controller_failure_limit=COUNT_AGAIN if elastic else 0
            ),
            callbacks=[FailurePolicy(lambda words: coordinator.add.remote(WorkersLost(words)), driver_is_gone)],
        ),
        backend_config=RankConfig("nccl" if workers.gpus else "gloo"),
    )


def _work(config: dict[str, Any]) -> None:
    """Train one rank; the worker's module loads torch, which the driver has no need of."""
    from au_dist.runs.worker import work

    work(config["coordinator"])
