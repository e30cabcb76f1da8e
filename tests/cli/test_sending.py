"""What of a command travels to a cluster, and under which name its job is found again."""

from pathlib import Path

import pytest
import yaml

from au_dist.cli.sending import Sent, sent, variables
from au_dist.cli.verbs import app
from au_dist.core.errors import ClusterError, RecipeError
from au_dist.recipes.files import load_recipe
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.claims import dump_campaign

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*words: object, notes: list[str] | None = None) -> Sent:
    notes = [] if notes is None else notes
    return sent(app, [str(word) for word in words], notes.append)


def test_a_recipe_alone_is_trained_and_travels_with_its_changes(here: Path) -> None:
    alone = made(EXAMPLES / "probe.yaml", "workers.count=3")
    assert alone == made("train", EXAMPLES / "probe.yaml", "workers.count=3")
    assert alone.words == ("train", "recipe.yaml")
    assert alone.typed == ("train", str(EXAMPLES / "probe.yaml"), "workers.count=3")
    (here / "recipe.yaml").write_bytes(alone.files["recipe.yaml"])
    there, mine = load_recipe(here / "recipe.yaml"), load_recipe(EXAMPLES / "probe.yaml", ["workers.count=3"])
    assert there.workers.count == 3
    assert there.shards == str(here / mine.shards)
    assert there.optim == mine.optim


def test_a_campaign_travels_with_its_recipe_and_is_the_same_campaign(here: Path) -> None:
    raw = yaml.safe_load((EXAMPLES / "campaigns" / "demo.yaml").read_text())
    (here / "recipe.yaml").write_text(yaml.safe_dump(raw["recipe"]))
    own = here / "own.yaml"
    own.write_text(yaml.safe_dump({**raw, "recipe": "recipe.yaml", "warm_start": ["earlier/one"]}))
    job = made("tune", "run", own, "trials=7")
    assert job.words == ("tune", "run", "campaign.yaml")
    assert job.name == raw["name"]
    (here / "there").mkdir()
    (here / "there" / "campaign.yaml").write_bytes(job.files["campaign.yaml"])
    there = load_campaign(here / "there" / "campaign.yaml")
    assert there.warm_start == (str(here / "earlier" / "one"),)
    mine = load_campaign(own, ["trials=7"]).model_copy(update={"warm_start": there.warm_start})
    assert dump_campaign(there) == dump_campaign(mine)


def test_tables_travel_and_other_places_are_named(here: Path) -> None:
    (here / "labels.csv").write_text("path,subject,AU1\n")
    notes: list[str] = []
    job = made(
        "ingest", "table", "labels.csv", "--root", "videos", "--out", "s3://b/set", "--already-cropped", notes=notes
    )
    assert job.files == {"labels.csv": b"path,subject,AU1\n"}
    assert job.words == (
        *("ingest", "table", "--out", "s3://b/set", "--root", str(here / "videos"), "--already-cropped", "labels.csv"),
    )
    assert notes == [f"not sent, the nodes must find it there: {here / 'videos'}"]


def test_what_is_no_place_stays_as_it_is_and_layouts_travel(here: Path) -> None:
    (here / "own.yaml").write_text("columns: {}\n")
    job = made("ingest", "gft", "/data/gft", "--layout", "own.yaml", "--out", "s3://b/set")
    assert job.files == {"own.yaml": b"columns: {}\n"}
    assert job.words == ("ingest", "gft", "--out", "s3://b/set", "--layout", "own.yaml", "/data/gft")
    words = ("ingest", "lists", "/data/lists", "--out", "s3://b/set", "--lists", "BP4D_.*", "--pictures", "crops")
    assert made(*words).words[4:] == ("--lists", "BP4D_.*", "--pictures", "crops", "/data/lists")


def test_a_table_that_travels_says_where_its_videos_are(here: Path) -> None:
    (here / "labels.csv").write_text("video,frame,subject,AU1\n")
    notes: list[str] = []
    job = made("ingest", "table", "labels.csv", "--out", "s3://b/set", notes=notes)
    assert job.words == ("ingest", "table", "--out", "s3://b/set", "--root", str(here), "labels.csv")
    assert notes == [f"not sent, the nodes must find it there: {here}"]


def test_a_stored_campaign_is_found_from_elsewhere_and_one_that_is_not_there_is_missed_here(here: Path) -> None:
    (here / "campaigns" / "own").mkdir(parents=True)
    job = made("tune", "confirm", "campaigns/own", "--seeds", "2")
    assert job.words == ("tune", "confirm", "--seeds", "2", str(here / "campaigns" / "own"))
    with pytest.raises(RecipeError, match=r"no such file \(nothing\.yaml\)"):
        made("tune", "run", "nothing.yaml")


def test_a_campaign_without_early_stopping_has_none_there_either(here: Path) -> None:
    raw = yaml.safe_load((EXAMPLES / "campaigns" / "demo.yaml").read_text())
    (here / "own.yaml").write_text(yaml.safe_dump({**raw, "early_stopping": None}))
    (here / "there.yaml").write_bytes(made("tune", "run", "own.yaml").files["campaign.yaml"])
    assert load_campaign(here / "own.yaml").early_stopping is None
    assert load_campaign(here / "there.yaml").early_stopping is None


def test_results_do_not_stay_in_the_folder_of_a_job(here: Path) -> None:
    job = made("predict", "s3://b/runs/a", "s3://b/a.mp4", "--faces", "all")
    assert job.words == ("predict", "--out", str(here), "--faces", "all", "s3://b/runs/a", "s3://b/a.mp4")
    assert job.name == "predict-a"


def test_what_the_environment_says_of_places_is_said_to_the_job(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AU_DIST_RUNS", "s3://b/runs")
    assert made("evaluate", "a").words == ("evaluate", "--runs", "s3://b/runs", "a")


def test_the_same_command_is_the_same_job_and_another_is_not(here: Path) -> None:
    recipe = EXAMPLES / "probe.yaml"
    first = made(recipe).job({})
    assert first.startswith("probe-")
    assert made("train", recipe).job({}) == first
    others = [made(recipe, "seed=1").job({}), made("plan", recipe).job({}), made(recipe).job({"A": "1"})]
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["runs"], "no verb that works on a cluster.*one of train, tune"),
        (["tune", "status", "a"], "no verb that works on a cluster.*tune run"),
        (["tune"], "no verb that works on a cluster.*tune run"),
        (["ingest", "bp5d"], "no verb that works on a cluster.*ingest bp4d"),
        (["submit", "train"], "no verb that works on a cluster"),
    ],
)
def test_what_cannot_be_sent_is_refused(here: Path, words: list[str], expected: str) -> None:
    with pytest.raises(ClusterError, match=expected):
        made(*words)


def test_a_recipe_that_is_not_there_is_missed_here(here: Path) -> None:
    with pytest.raises(RecipeError, match=r"no such file \(nothing\.yaml\)"):
        made("nothing.yaml")


def test_variables_are_sent_by_their_names() -> None:
    assert variables(["A"], {"A": "1", "B": "2"}) == {"A": "1"}
    with pytest.raises(ClusterError, match=r"sent by its name \(--env A\)") as caught:
        variables(["A=hidden"], {"A": "1"})
    assert "hidden" not in str(caught.value)
    with pytest.raises(ClusterError, match="not set"):
        variables(["C"], {})
