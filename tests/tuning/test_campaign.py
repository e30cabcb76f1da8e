"""A campaign's file: what is refused, what trials get, what may change between two runs."""

from pathlib import Path

import pytest
import yaml
from campaign_files import RECIPE, write_campaign

from au_dist.cli.verbs import app
from au_dist.core.errors import RecipeError, ShardError, StorageError
from au_dist.shards.format import read_manifest
from au_dist.storage.store import Store
from au_dist.tuning.campaign import CAMPAIGN, load_campaign
from au_dist.tuning.claims import claim

EXAMPLES = Path(__file__).parents[2] / "examples" / "campaigns"


def test_a_trial_is_a_recipe_with_its_own_name_and_place(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path), ["recipe.optim.lr=0.5", "trials=7"])
    recipe = campaign.trial(3, {"aunce.temperature": 0.25, "aunce.positive_weights": [1.0, 0.0, 0.0, 0.0]})
    assert (recipe.name, recipe.runs) == ("trial-00003", f"{tmp_path}/campaigns/campaign/runs")
    assert (recipe.aunce.temperature, recipe.optim.lr, campaign.trials) == (0.25, 0.5, 7)
    assert recipe.aunce.positive_weights == (1, 0, 0, 0)
    assert recipe.aunce.beta_majority == campaign.base().aunce.beta_majority


def test_addresses_mean_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {"runs": "old-runs", "init": {"run": "pretrain"}, "model": {"weights": "encoder.safetensors"}}
    path = write_campaign(tmp_path, recipe=recipe, campaigns="campaigns")
    monkeypatch.chdir(tmp_path)
    campaign = load_campaign(path)
    monkeypatch.chdir("/")
    base = campaign.base()
    assert campaign.place.uri == f"{tmp_path}/campaigns/campaign"
    assert (base.shards, base.model.weights) == (f"{tmp_path}/shards", f"{tmp_path}/encoder.safetensors")
    assert base.init is not None
    assert base.init.run == f"{tmp_path}/old-runs/pretrain"


def test_a_recipe_file_is_found_beside_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_campaign(tmp_path)
    raw = yaml.safe_load(path.read_text())
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"name": "base", "runs": "r", "shards": "s", **RECIPE}))
    path.write_text(yaml.safe_dump({**raw, "recipe": "base.yaml"}))
    monkeypatch.chdir("/")
    assert load_campaign(path, ["recipe.seed=4"]).base().seed == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trails=3", "Did you mean `trials`"),
        ("trials=0", "greater than or equal to 1"),
        ("early_stopping.grase=1", "Did you mean `grace`"),
        ("recipe.optim.lrr=1", "Did you mean `lr`"),
        ("recipe.init={run: pretrain}", "cannot be found by its name alone"),
        ("recipe.task=detection", "exactly one of"),
        ("name=../elsewhere", "name"),
        ("recipe.data.protocol={validation: 0}", "compared on validation subjects"),
    ],
)
def test_a_campaign_that_does_not_fit_is_refused(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_campaign(write_campaign(tmp_path), [change])
    assert message in str(caught.value)


def test_a_claimed_campaign_may_grow_but_not_change(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    claim(load_campaign(path), "a")
    claim(load_campaign(path, ["trials=50", "concurrent=1", "recipe.workers.count=1"]), "a")
    with pytest.raises(RecipeError, match=r"recipe\.optim\.lr from 0\.001 to 0\.5") as caught:
        claim(load_campaign(path, ["recipe.optim.lr=0.5"]), "a")
    assert "searches something else" in str(caught.value)
    with pytest.raises(RecipeError, match="early_stopping"):
        claim(load_campaign(path, ["early_stopping=null"]), "a")
    with pytest.raises(RecipeError, match="seed from 0 to 1"):
        claim(load_campaign(path, ["seed=1"]), "a")


def test_what_stands_in_the_way_is_said_before_ray_starts(
    tmp_path: Path, shards: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_ray(address: str | None) -> None:
        raise AssertionError("Ray was to start")

    def run(*changes: str) -> None:
        app(["tune", "run", str(path), *changes], standalone_mode=False)

    monkeypatch.setattr("au_dist.cli.tune.ray", no_ray)
    path = write_campaign(tmp_path, shards.uri)
    with pytest.raises(AssertionError, match="Ray was to start"):
        run()
    assert not (tmp_path / "campaigns").exists()
    with pytest.raises(ShardError, match="no shards"):
        run(f"recipe.shards={tmp_path}/elsewhere")
    claim(load_campaign(path), read_manifest(shards).sha256)
    with pytest.raises(RecipeError, match="searches something else"):
        run("seed=1")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        run(f"campaigns={tmp_path}/file")


def test_a_campaign_does_not_go_on_with_other_shards(tmp_path: Path) -> None:
    """Trials on one set and on another cannot be compared; what was claimed before that was written may go on."""
    campaign = load_campaign(write_campaign(tmp_path))
    claim(campaign, "a" * 64)
    with pytest.raises(RecipeError, match="the shards themselves"):
        claim(campaign, "b" * 64)
    claim(campaign, "a" * 64)
    text = campaign.place.read(CAMPAIGN).decode()
    campaign.place.write(CAMPAIGN, text.partition("\n")[2].encode())
    claim(campaign, "b" * 64)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_can_be_loaded(path: Path) -> None:
    assert load_campaign(path).trials >= 1


def test_a_campaign_of_before_goes_on(tmp_path: Path) -> None:
    """What was written before a key of the space or of the campaign existed means its default."""
    campaign = load_campaign(write_campaign(tmp_path))
    claim(campaign, "hash")
    first, text = campaign.place.read(CAMPAIGN).decode().split("\n", 1)
    raw = yaml.safe_load(text)
    for key in ("constraints", "retry_parked"):
        del raw[key]
    for dimension in raw["space"].values():
        del dimension["when"]
    campaign.place.write(CAMPAIGN, f"{first}\n{yaml.safe_dump(raw)}".encode())
    claim(campaign, "hash")
    claim(campaign.model_copy(update={"constraints": ("batch.clips > 2",)}), "hash")
    narrower = load_campaign(write_campaign(tmp_path, space={"aunce.temperature": {"log": [0.1, 1.0]}}))
    with pytest.raises(RecipeError, match="searches something else"):
        claim(narrower, "hash")
