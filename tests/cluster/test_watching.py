"""The dashboard and the alert rules: their gauges are known; each query has an answer while a real run is scraped."""

import http.client
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from small_run import write_recipe

from au_dist.cluster import local, nodes
from au_dist.cluster.local import LocalCluster
from au_dist.runs.gauges import GAUGES, PREFIX
from au_dist.runs.session import ENVIRONMENT
from au_dist.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "cluster/grafana/au-dist.json"
RULES = ROOT / "cluster/prometheus/alerts.yaml"
CONFIG = ROOT / "cluster/prometheus/prometheus.yaml"

#: Panels of what only a node with a GPU has.
OF_GPUS = {"GPU memory of each node", "GPU use of each node"}

RUN = "watched"


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def of_panels() -> dict[str, list[str]]:
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in panels()}


def of_alerts() -> dict[str, str]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def gauges_in(text: str) -> set[str]:
    return set(re.findall(rf"\bray_{PREFIX}(\w+)", text))


def test_every_gauge_is_on_the_dashboard_and_no_other():
    assert gauges_in(" ".join(expr for exprs in of_panels().values() for expr in exprs)) == GAUGES.keys()
    assert gauges_in(DASHBOARD.read_text()) == GAUGES.keys()


def test_the_dashboard_is_one_that_grafana_loads():
    raw = json.loads(DASHBOARD.read_text())
    assert {"uid", "title", "schemaVersion", "panels", "templating"} <= raw.keys()
    ids = [panel["id"] for panel in raw["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(cell, row) for panel in raw["panels"] for cell, row in cells(panel["gridPos"])]
    assert len(set(places)) == len(places)
    assert max(cell for cell, _ in places) < 24
    variables = {variable["name"] for variable in raw["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) - {"__all"} <= variables
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    assert of_panels().keys() > OF_GPUS


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_alerts_compare_gauges_that_are_known_with_a_number_for_each_run():
    for name, expr in of_alerts().items():
        assert re.fullmatch(r"max by \(run\) \(.+\) > [\d.]+", expr), name
        assert gauges_in(expr), name
        assert gauges_in(expr) < GAUGES.keys(), name


def test_prometheus_is_told_what_ray_calls_its_list_of_nodes():
    raw = yaml.safe_load(CONFIG.read_text())
    (scrape,) = raw["scrape_configs"]
    (discovery,) = scrape["file_sd_configs"]
    assert [Path(file).name for file in discovery["files"]] == [nodes.METRICS]
    assert [(CONFIG.parent / file).resolve() for file in raw["rule_files"]] == [RULES]


#: For each alert a gauge and its values, a minute apart, that end in it; and such that do not.
TOLD = {
    "RunStalled": ("progress_age_seconds", "540+60x10", "0x10"),
    "LossNotFinite": ("skipped_clips", "0x5 2x5", "2x10"),
    "UpdatesLeftOut": ("left_out_steps", "0+5x10", "0x5 3x5"),
    "SlowStore": ("checkpoint_upload_seconds", "400x10", "200x10"),
    "WaitsForData": ("data_wait_ratio", "0.8x12", "0.2x12"),
    "WorkersLost": ("worker_failures", "0x5 1x5", "1x10"),
    "WorkersLate": ("late_workers", "1x10", "0x5 1x5"),
}


@pytest.mark.skipif(not shutil.which("promtool"), reason="no Prometheus here")
def test_each_alert_fires_for_the_run_that_it_is_about_and_no_other(tmp_path: Path) -> None:
    assert TOLD.keys() == of_alerts().keys()
    series = [
        {"series": f'ray_{PREFIX}{gauge}{{run="{name}-{kind}"}}', "values": values}
        for name, (gauge, *told) in TOLD.items()
        for kind, values in zip(("bad", "good"), told, strict=True)
    ]
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    wanted = [
        {
            "eval_time": "10m",
            "alertname": rule["alert"],
            "exp_alerts": [{"exp_labels": {**rule["labels"], "run": f"{rule['alert']}-bad"}}],
        }
        for rule in group["rules"]
    ]
    for rule in group["rules"]:
        del rule["annotations"]  # promtool would compare their words
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    tests = [{"interval": "1m", "input_series": series, "alert_rule_test": wanted}]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    told = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    monkeypatch.setenv("AU_DIST_HOME", str(tmp_path / "home"))
    for name in [*filter(lambda name: name.startswith("RAY_A"), os.environ)]:
        monkeypatch.delenv(name)
    try:
        yield local.up(nodes=1, cpus_per_node=4, object_store_mb=80)
    finally:
        local.down()


@pytest.fixture
def ask(cluster: LocalCluster, tmp_path: Path) -> Iterator[Callable[[str], list[float]]]:
    """A real Prometheus that scrapes the cluster, with the rules; asked for the values of a query."""
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        pytest.skip("no Prometheus here")
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, capture_output=True)
    raw = yaml.safe_load(CONFIG.read_text())
    raw["global"] = {"scrape_interval": "2s", "evaluation_interval": "2s"}
    raw["rule_files"] = [str(RULES)]
    raw["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(cluster.metrics)], "refresh_interval": "2s"}]
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump(raw))
    subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)
    port = nodes.free_ports().head
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        (tmp_path / "prometheus.log").open("w") as log,
        subprocess.Popen(["prometheus", *options], stdout=log, stderr=log) as process,
    ):
        try:
            yield lambda query: values(port, query)
        finally:
            process.terminate()


def values(port: int, query: str) -> list[float]:
    """Return the values of a query; none while Prometheus does not answer."""
    with suppress(OSError):
        answer = get(f"127.0.0.1:{port}", f"/api/v1/query?{urlencode({'query': query})}")
        assert answer["status"] == "success", answer
        return [float(row["value"][1]) for row in answer["data"]["result"]]
    return []


def get(host: str, path: str, token: str = "") -> Any:
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def await_(condition: Callable[[], Any], what: Callable[[], str], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what()
        time.sleep(1.0)


@pytest.mark.ray
@pytest.mark.slow
def test_every_query_has_an_answer_while_a_run_trains_and_none_when_it_has_ended(
    cluster: LocalCluster, ask: Callable[[str], list[float]], shards: Store, tmp_path: Path
) -> None:
    queries = {
        f"panel {title!r}: {expr}": expr.replace("$run", RUN)
        for title, exprs in of_panels().items()
        if title not in OF_GPUS
        for expr in exprs
    } | {f"alert {name}": expr.rpartition(" > ")[0] for name, expr in of_alerts().items()}
    recipe = write_recipe(
        tmp_path, name=RUN, shards=shards.uri, runs=str(tmp_path / "runs"), optim={"epochs": 100_000.0}
    )
    log = tmp_path / "run.log"
    command = [sys.executable, "-m", "au_dist", "train", str(recipe), "--address", "local"]
    # A Ray inside this process has set it otherwise.
    tracked = {**os.environ, "RAY_TRAIN_ENABLE_STATE_TRACKING": ENVIRONMENT["RAY_TRAIN_ENABLE_STATE_TRACKING"]}
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=tracked) as run:
        try:
            missing = dict(queries)

            def answered() -> bool:
                assert run.poll() is None, log.read_text()[-3000:]
                for name, query in [*missing.items()]:
                    found = ask(query)
                    if found and all(map(math.isfinite, found)):
                        del missing[name]
                return not missing

            await_(answered, lambda: f"no answer: {[*missing]}\n{log.read_text()[-3000:]}", 360.0)
            assert not ask('ALERTS{alertstate="firing"}')
            named_in_rays_dashboard(cluster)
        finally:
            run.send_signal(signal.SIGTERM)
            assert run.wait(120) == 75, log.read_text()[-3000:]
    left = f"ray_{PREFIX}progress_age_seconds"
    await_(lambda: not ask(left), lambda: f"it stays: {ask(left)}", 90.0)
    assert ask("up")


def named_in_rays_dashboard(cluster: LocalCluster) -> None:
    """See that the coordinator and Ray Train's run have the run's name there."""
    host, token = cluster.dashboard.removeprefix("http://"), cluster.token_path.read_text()
    actors = get(host, "/api/v0/actors?detail=1", token)["data"]["result"]["result"]
    assert [one["class_name"] for one in actors if (one["name"] or "").startswith(f"{RUN}-")] == ["RunCoordinator"]
    assert [run["name"] for run in get(host, "/api/train/v2/runs/v1", token)["train_runs"]] == [RUN]
