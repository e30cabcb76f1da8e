"""Trackers are told the rows of the record: a real MLflow server, W&B's own files; one that fails ends nothing."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from campaign_files import RECIPE
from states import step_done

from au_dist.cluster.nodes import free_ports
from au_dist.core.errors import RecipeError, ResumeError
from au_dist.recipes.recipe import Recipe
from au_dist.runs import trackers
from au_dist.runs.trackers import TRACKERS, Line, check_tracker
from au_dist.runs.train import train
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.train.events import Event, Noted, Resumed, Validated
from au_dist.tuning.trial import Trial

ROOT = Path(__file__).resolve().parents[2]

#: MLflow's server, which `make test` installs beside the project: it wants other versions of what both use.
SERVER = ROOT / ".venv-mlflow/bin/mlflow"


class Told:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.ends: list[bool] = []

    def tell(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows

    def end(self, whole: bool) -> None:
        self.ends.append(whole)


@pytest.mark.parametrize("whole", [True, False])
def test_a_tracker_is_told_the_rows_of_the_record_in_their_order_and_then_the_end(whole: bool) -> None:
    told, seen = Told(), list[Event]()
    line = Line(lambda: told, "here", seen.append)
    events = [step_done(1), Resumed(1), step_done(2), Validated(step=2, metrics={"val_loss": 0.5})]
    for event in events:
        line.show(event)
    line.close(whole)
    assert seen == events
    assert told.rows == [event.row() for event in events if not isinstance(event, Resumed)]
    assert told.ends == [whole]


def test_a_tracker_that_fails_is_named_and_told_nothing_any_more() -> None:
    def make() -> Told:
        raise ConnectionError("nobody there\nat all")

    seen: list[Event] = []
    line = Line(make, "here", seen.append)
    line.show(step_done(1))
    line.close(True)
    assert Noted("here is told nothing any more: nobody there; the run goes on") in seen
    assert step_done(1) in seen


def test_a_password_in_its_address_is_not_shown() -> None:
    def make() -> Told:
        raise ConnectionError("API request to http://me:s3cret@10.0.0.7:5000/api failed")

    seen: list[Event] = []
    Line(make, "here", seen.append).close(True)
    assert seen == [
        Noted("here is told nothing any more: API request to http://10.0.0.7:5000/api failed; the run goes on")
    ]


def test_a_tracker_that_takes_too_long_is_named_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "PATIENCE_S", 0.2)
    seen, over = list[Event](), threading.Event()

    class Slow(Told):
        def tell(self, rows: list[dict[str, Any]]) -> None:
            over.wait(60)

    line = Line(Slow, "here", seen.append)
    line.show(step_done(1))
    line.close(True)
    over.set()
    assert Noted("here has not taken all that it was told within 0.2 s of the end") in seen


def test_a_server_without_an_address_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would make a database in the current folder."""
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = Recipe(name="x", shards="s", runs="r", method="aunce", tracking={"to": "mlflow"})
    with pytest.raises(RecipeError, match="MLFLOW_TRACKING_URI"):
        check_tracker(recipe)
    trial = Trial({"number": 0, "recipes": [recipe.model_dump(mode="json")]})
    found = trial.train()
    assert (found["outcome"], "On this node: The address of MLflow" in found["error"]) == ("interrupted", True)
    trial.stop()


@pytest.mark.parametrize("to", TRACKERS)
def test_a_tracker_that_is_not_installed_is_refused(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, to, None)
    recipe = Recipe(name="x", shards="s", runs="r", method="aunce", tracking={"to": to})
    with pytest.raises(RecipeError, match=rf"{to} is not installed.*au-dist\[{to}\]"):
        check_tracker(recipe)


def recipe_of(shards: Store, place: Path, to: str, **keys: Any) -> Recipe:
    raw = {**RECIPE, "name": "tracked", "shards": shards.uri, "runs": str(place), "tracking": {"to": to}}
    return Recipe.model_validate({**raw, **keys})


def recorded(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "tracked/metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def mlflow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if not SERVER.exists():
        pytest.skip("no MLflow server here: `make test` installs it")
    port = free_ports().head
    address = f"http://127.0.0.1:{port}"
    options = [f"--backend-store-uri=sqlite:///{tmp_path}/mlflow.db", f"--artifacts-destination={tmp_path}/artifacts"]
    command = [SERVER, "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", *options]
    alone = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=alone) as process,
    ):
        try:
            until = time.monotonic() + 180.0
            while time.monotonic() < until and process.poll() is None:
                with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
                time.sleep(1.0)
            else:
                pytest.fail((tmp_path / "server.log").read_text()[-2000:])
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            yield address
        finally:
            process.terminate()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_mlflow_has_the_rows_and_the_recipe_and_one_run_when_it_went_on(
    mlflow_server: str, shards: Store, tmp_path: Path, ray_here: None
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    recipe = recipe_of(shards, tmp_path, "mlflow", optim={"epochs": 2})
    stop, seen = threading.Event(), list[Event]()
    stop.set()
    with pytest.raises(ResumeError):
        train(recipe, seen.append, stop=stop)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("au-dist")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    train(recipe, seen.append)
    assert not [event for event in seen if isinstance(event, Noted) and "is told nothing" in event.words]
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("tracked", "FINISHED")
    assert run.data.params["batch.clips"] == "4"
    rows = recorded(tmp_path)
    assert max(row["step"] for row in rows) == max(checkpoint.steps(open_store(tmp_path / "tracked")))
    names = {name for row in rows for name, value in row.items() if name != "step" and isinstance(value, int | float)}
    assert {"loss", "grad_norm", "step_s", "val_auc"} <= names
    for name in names:
        wanted = [(row["step"], row[name]) for row in rows if name in row]
        found = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        assert sorted(found) == sorted(wanted), name


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_wandb_writes_a_folder_offline(
    shards: Store, tmp_path: Path, ray_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    seen: list[Event] = []
    train(recipe_of(shards, tmp_path, "wandb", optim={"epochs": 1}), seen.append)
    assert not [event for event in seen if isinstance(event, Noted) and "is told nothing" in event.words]
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    written = file.read_bytes()
    rows = recorded(tmp_path)
    assert rows
    for name in ("loss", "grad_norm"):
        assert all(repr(row[name]).encode() in written for row in rows if name in row), name
