"""The winner beside the recipe as it stands, trained again."""

import math
from pathlib import Path

import pytest
import yaml
from campaign_files import write_campaign
from hypothesis import given
from hypothesis import strategies as st

from au_dist.cli.verbs import app
from au_dist.core.errors import RecipeError
from au_dist.storage.store import Store, open_store
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.confirm import Confirmation, Pair, confirm, confirmation_of, judged
from au_dist.tuning.page import render
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import row_of
from au_dist.tuning.study import open_study


def test_the_interval_is_students_over_the_pairs() -> None:
    pairs = [Pair(0, seed, 0.7 + gain, 0.7) for seed, gain in enumerate((0.01, 0.02, 0.03))]
    found = judged(7, "val_auc", pairs)
    assert found.gain == pytest.approx(0.02)
    # t of 0.975 with two degrees of freedom is 4.3027, the standard error 0.01 / sqrt 3.
    assert found.high - found.gain == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert found.words == (
        "Trained again, trial 7 is +0.0200 val_auc from the recipe as it stands (95% interval -0.0048 to +0.0448, "
        "3 pairs): no more than noise."
    )


@pytest.mark.parametrize(
    ("gains", "said"),
    [((0.02, 0.021), "more than noise."), ((-0.02, -0.021), "WORSE"), ((0.02, -0.02), "no more than noise.")],
)
def test_what_is_said_follows_the_interval(gains: tuple[float, ...], said: str) -> None:
    words = judged(1, "val_auc", [Pair(0, 0, 0.5 + gain, 0.5) for gain in gains]).words
    assert words.endswith(said) or said in words
    assert ("no more" in words) == (said == "no more than noise.")


def test_one_pair_says_nothing_of_noise() -> None:
    found = judged(1, "val_auc", [Pair(0, 0, 0.6, 0.5)])
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert "says nothing of noise" in found.words


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=6))
def test_the_gain_lies_in_its_interval(gains: list[float]) -> None:
    found = judged(1, "val_auc", [Pair(0, 0, gain, 0.0) for gain in gains])
    assert found.low <= found.gain <= found.high


def searched(folder: Path, shards: object = "shards") -> tuple[Campaign, list[TrialState]]:
    campaign = load_campaign(write_campaign(folder, shards, first=[{"aunce.temperature": 0.1}]))
    claim(campaign, "hash")
    with open_study(campaign) as study:
        for value in (0.5, 0.6):
            number = study.ask()
            study.report(number, 1, value)
            study.finish(number, value)
        return campaign, study.trials()


def test_the_recipe_itself_has_nothing_to_confirm(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path)
    with pytest.raises(RecipeError, match=r"nothing to confirm(?s:.)*trial 0"):
        confirm(campaign, row_of(campaign, trials, 0), [], 1)


def test_folds_that_are_none_are_refused(tmp_path: Path) -> None:
    campaign, _ = searched(tmp_path)
    with pytest.raises(RecipeError, match=r"no folds(?s:.)*0;1"):
        app(["tune", "confirm", campaign.place.uri, "--folds", "0;1"], standalone_mode=False)


@pytest.mark.ray
@pytest.mark.slow
def test_both_are_trained_alike_and_the_report_says_what_came_of_it(
    tmp_path: Path, shards: Store, ray_here: None
) -> None:
    campaign, trials = searched(tmp_path, shards.uri)
    campaign = campaign.model_copy(update={"recipe": {**campaign.recipe, "optim": {"epochs": 1}}})
    winner = row_of(campaign, trials, None)
    assert winner.number == 1
    shown: list[str] = []
    found = confirm(campaign, winner, [], 1, shown.append)
    assert isinstance(found, Confirmation)
    (pair,) = found.pairs
    assert (pair.fold, pair.seed) == (0, 1000)
    assert confirmation_of(campaign) == found
    names = ["winner-1-fold-0-seed-1000", "base-1-fold-0-seed-1000"]
    assert [line.split("  ")[0] for line in shown] == names
    recipes = [open_store(campaign.place.at("confirm", name).uri).read("recipe.yaml").decode() for name in names]
    assert [yaml.safe_load(text)["aunce"]["temperature"] for text in recipes] == pytest.approx([0.1, 0.5])
    assert found.words in render(campaign, trials, None).replace("&#39;", "'")
    # Again: nothing is trained twice.
    assert confirm(campaign, winner, [], 1) == found
