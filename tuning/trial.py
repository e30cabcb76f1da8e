"""One trial: a training run like any other, inside a function that Ray Tune calls."""

import math
import os
import threading
from collections.abc import Iterator
from typing import Any

from ray import tune
from ray.train import UserCallback
from ray.util.queue import Empty, Queue

from au_dist.config import Recipe
from au_dist.errors import AuDistError, ClusterError, StorageError
from au_dist.jobs.context import make_context
from au_dist.jobs.session import ENVIRONMENT
from au_dist.jobs.train import train

#: What a trial reports last.
OUTCOME = "outcome"

#: When a scheduler may judge; absent at the last validation, because stopping a finished trial saves nothing.
RUNG = "rung"


class Forward(UserCallback):
    """Sends what the training workers report to a queue.

    Ray's own `TuneReportCallback` fills a queue that Tune's thread reads while the trial's thread reports too; with a
    slow driver both have something to say at once, and the trial stands still for good. Here one thread speaks.
    """

    def __init__(self, mailbox: Queue) -> None:
        self.mailbox = mailbox

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Called by Ray Train's controller when all workers have reported; the ranks' metrics are equal."""
        self.mailbox.put(metrics[0])


def run_trial(config: dict[str, Any]) -> None:
    """Train a trial and report its validations and its outcome; called by Ray Tune in a process of its own."""
    recipe = Recipe.model_validate(config["recipe"])
    os.environ.update({name: text for name, text in ENVIRONMENT.items() if name not in os.environ})
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(recipe.workers.start_timeout_s)
    for message in messages(recipe):
        tune.report(message)


def messages(recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Train a recipe; yield each validation as it is made and the outcome last.

    A validation has ``validation`` (from 1), the metrics and ``rung``. The outcome is ``finished`` with the run's best
    metric, ``failed`` (this recipe cannot be trained) or ``interrupted`` (something outside it went wrong: it can be
    taken up again), the two with an ``error``.
    """
    mailbox = Queue(actor_options={"num_cpus": 0})
    ended: list[dict[str, Any]] = []

    def run() -> None:
        ended.append(_outcome(recipe, mailbox))

    thread = threading.Thread(target=run, name=recipe.name, daemon=True)
    thread.start()
    plan = None
    while thread.is_alive() or not mailbox.empty():
        try:
            metrics = mailbox.get(timeout=0.5)
        except Empty:
            continue
        plan = plan or make_context(recipe).plan(recipe.workers.count)
        validation = math.ceil(metrics["step"] / plan.every)
        yield {**metrics, "validation": validation, **({RUNG: validation} if metrics["step"] < plan.steps else {})}
    yield from ended


def _outcome(recipe: Recipe, mailbox: Queue) -> dict[str, Any]:
    """Train, and return what became of it."""
    try:
        result = train(recipe, callbacks=(Forward(mailbox),))
    except (StorageError, ClusterError) as error:
        return {OUTCOME: "interrupted", "error": str(error)}
    except AuDistError as error:
        return {OUTCOME: "failed", "error": str(error)}
    except Exception as error:  # noqa: BLE001 - the thread's last word; Tune's thread waits for it
        return {OUTCOME: "interrupted", "error": f"{type(error).__name__}: {error}"[:500]}
    if not math.isfinite(result["best"]):
        return {OUTCOME: "failed", "error": f"{result['metric']} is no number at any validation."}
    return {OUTCOME: "finished", result["metric"]: result["best"]}
