"""Trackers of experiments that are told the rows of `metrics.jsonl` as they come: MLflow, Weights & Biases.

The driver tells them, in a thread of its own: a tracker that is slow or away holds nothing up and ends no run.
"""

import importlib.util
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from au_dist.config.paths import get, leaves
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.context import Context
from au_dist.train.events import Event, Noted, StepDone, Validated

if TYPE_CHECKING:
    from au_dist.runs.coordinator import Show

#: Seconds that the driver waits at the end for a tracker to take what is left: less than warm workers wait for a run.
PATIENCE_S = 10.0

#: Rows that are told at once, at most.
ROWS = 100

#: What has trackers tell their makers nothing, print nothing and give up within a minute, where the environment does
#: not say otherwise.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
}

#: Whose name and password stand in an address.
_CREDENTIALS = re.compile(r"//[^/@\s]+@")

Row = dict[str, Any]


class Tracker(Protocol):
    """What is told of a run."""

    def tell(self, rows: list[Row]) -> None:
        """Take rows, each with its step."""

    def end(self, whole: bool) -> None:
        """Note that nothing follows, and whether the run came to its end."""


class MlflowTracker:
    """A run on the MLflow server of `MLFLOW_TRACKING_URI`; the same one when the run goes on.

    Args:
        recipe: The recipe.
        place: The run's address, by which it is found again.
    """

    def __init__(self, recipe: Recipe, place: str) -> None:
        _be_quiet()
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        name, place = recipe.tracking.experiment, place.replace("'", "%27")
        experiment = self._experiment(name)
        found = self._client.search_runs([experiment], f"tags.au_dist_run = '{place}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        run = self._client.create_run(experiment, run_name=recipe.name, tags={"au_dist_run": place})
        self._run = run.info.run_id
        values = {path: get(recipe, path) for path in leaves(Recipe)}
        self._client.log_batch(self._run, params=[Param(path, str(value)[:500]) for path, value in values.items()])

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if there := self._client.get_experiment_by_name(name):
            return str(there.experiment_id)
        try:
            return self._client.create_experiment(name)
        except MlflowException:  # another run was faster
            if there := self._client.get_experiment_by_name(name):
                return str(there.experiment_id)
            raise

    def tell(self, rows: list[Row]) -> None:
        """Take rows, each with its step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(name, value, now, row["step"]) for row in rows for name, value in _numbers(row).items()]
        for begin in range(0, len(found), 1000):  # the server takes no more at once
            self._client.log_batch(self._run, metrics=found[begin : begin + 1000])

    def end(self, whole: bool) -> None:
        """Note that nothing follows, and whether the run came to its end."""
        self._client.set_terminated(self._run, "FINISHED" if whole else "KILLED")


class WandbTracker:
    """A run of Weights & Biases; offline, a folder for `wandb sync`, unless `WANDB_MODE` says otherwise.

    Args:
        recipe: The recipe.
        place: The run's address.
    """

    def __init__(self, recipe: Recipe, place: str) -> None:
        _be_quiet()
        import wandb

        self._run = wandb.init(
            project=recipe.tracking.experiment,
            name=recipe.name,
            reinit="create_new",  # or it would be the run before, where that has not ended
            config={**recipe.model_dump(mode="json"), "au_dist_run": place},
            settings=wandb.Settings(silent=True, disable_git=True, save_code=False, console="off"),
        )
        # A step that is done again after a failure is refused where it is wandb's own step.
        self._run.define_metric("*", step_metric="step")

    def tell(self, rows: list[Row]) -> None:
        """Take rows, each with its step."""
        for row in rows:
            self._run.log({"step": row["step"], **_numbers(row)})

    def end(self, whole: bool) -> None:
        """Note that nothing follows, and whether the run came to its end."""
        self._run.finish(exit_code=0 if whole else 1)


#: Trackers by their name in recipes.
TRACKERS: dict[str, type[MlflowTracker] | type[WandbTracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}


def _be_quiet() -> None:
    for name, text in DEFAULTS.items():
        os.environ.setdefault(name, text)


def _numbers(row: Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name != "step" and isinstance(value, int | float)}


def check_tracker(recipe: Recipe) -> None:
    """Refuse a tracker that is not installed, or has no address.

    Raises:
        RecipeError: So it is.
    """
    to = recipe.tracking.to
    if to and importlib.util.find_spec(to) is None:
        raise RecipeError(f"{to} is not installed", where="tracking.to", fix=f"pip install 'au-dist[{to}]'")
    if to == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise RecipeError(
            "The address of MLflow's server is not known",
            where="tracking.to",
            expected="the variable MLFLOW_TRACKING_URI, in the process that starts the run",
            fix="Set it; `au-dist submit --env MLFLOW_TRACKING_URI` sends it with a job. Trials need it on the nodes.",
        )


@contextmanager
def tracked(context: Context, show: "Show", is_whole: Callable[[], bool]) -> Iterator["Show"]:
    """Tell the tracker that the recipe names what is shown while a block runs.

    Args:
        context: The recipe with its data.
        show: Called with each event.
        is_whole: Returns whether the run has come to its end; asked after the block.

    Yields:
        What is to be called with each event instead.
    """
    to = context.recipe.tracking.to
    if to is None:
        yield show
        return
    line = Line(lambda: TRACKERS[to](context.recipe, context.run.uri), to, show)
    whole = False
    try:
        yield line.show
        whole = is_whole()
    finally:
        line.close(whole)


class Line:
    """Rows on their way to a tracker, in a thread.

    Args:
        make: Returns the tracker; called in the thread.
        to: Its name, for messages.
        show: Called with each event.
    """

    def __init__(self, make: Callable[[], Tracker], to: str, show: "Show") -> None:
        self._make, self._to, self._show = make, to, show
        self._rows: queue.SimpleQueue[Row | bool] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)
        self._thread.start()

    def show(self, event: Event) -> None:
        """Show an event, and have the tracker told what stands in the record."""
        if isinstance(event, StepDone | Validated) and not self._failed:
            self._rows.put(event.row())
        self._show(event)

    def close(self, whole: bool) -> None:
        """Have the tracker told the end, and wait for it for a while."""
        self._rows.put(whole)
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._show(Noted(f"{self._to} has not taken all that it was told within {PATIENCE_S:g} s of the end"))

    def _run(self) -> None:
        try:
            tracker: Tracker = self._make()
            while True:
                taken = [self._rows.get()]
                while not self._rows.empty() and len(taken) < ROWS:
                    taken.append(self._rows.get())
                if rows := [row for row in taken if not isinstance(row, bool)]:
                    tracker.tell(rows)
                if isinstance(taken[-1], bool):
                    tracker.end(taken[-1])
                    return
        except Exception as error:  # noqa: BLE001
            self._failed = True
            words = _CREDENTIALS.sub("//", str(error).strip().partition("\n")[0])[:200]
            self._show(Noted(f"{self._to} is told nothing any more: {words}; the run goes on"))
