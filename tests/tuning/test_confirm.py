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
from au_dist.core.intervals import jackknife
from au_dist.storage.store import Store, open_store
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.confirm import Confirmation, Pair, confirm, confirmation_of
from au_dist.tuning.page import render
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import row_of
from au_dist.tuning.study import open_study


def judged(trial: int, gains: tuple[float, ...], without: dict[str, float] | None = None) -> Confirmation:
    """Pairs whose winners are better by so much; without a subject by so much less."""
    less = {name: (0.7 - gain, 0.7) for name, gain in (without or {}).items()}
    pairs = (
        Pair(0, seed, 0.7 + gain, 0.7, {name: (winner + gain, base) for name, (winner, base) in less.items()})
        for seed, gain in enumerate(gains)
    )
    return Confirmation(trial, "val_auc", tuple(pairs))


def test_both_intervals_are_said() -> None:
    found = judged(7, (0.01, 0.02, 0.03), {"a": 0.001, "b": -0.001})
    assert found.gain == pytest.approx(0.02)
    assert found.words == (
        "Trained again, trial 7 is +0.0200 val_auc from the recipe as it stands (95% interval -0.0048 to +0.0448 over "
        "3 pairs, +0.0073 to +0.0327 over 2 validation subjects): no more than noise."
    )


def test_a_subject_counts_in_the_folds_that_they_validate() -> None:
    pairs = (Pair(0, 1, 0.6, 0.5, {"a": (0.6, 0.6), "b": (0.7, 0.5)}), Pair(1, 1, 0.8, 0.5, {"a": (0.9, 0.5)}))
    found = Confirmation(1, "val_auc", pairs)
    # Without a: 0 and 0.4; without b: 0.2, and the second pair as it is.
    expected = jackknife(0.2, [0.2, 0.25])
    assert (found.over_subjects.low, found.over_subjects.high) == pytest.approx((expected.low, expected.high))
    assert found.over_subjects.of == 2


@pytest.mark.parametrize(
    ("gains", "without", "said"),
    [
        ((0.02, 0.021), {}, "more than noise."),
        ((0.02, 0.021), {"a": 0.001, "b": -0.001}, "more than noise."),
        ((0.02, 0.021), {"a": 0.01, "b": -0.01}, "no more than noise."),
        ((-0.02, -0.021), {"a": 0.001, "b": -0.001}, "WORSE"),
        ((0.02, -0.02), {}, "no more than noise."),
    ],
)
def test_what_is_said_follows_all_intervals(gains: tuple[float, ...], without: dict[str, float], said: str) -> None:
    found = judged(1, gains, without)
    assert found.words.endswith(said) or said in found.words
    assert ("no more" in found.words) == (said == "no more than noise.")
    assert found.sure == (said == "more than noise.")


def test_a_subject_without_whom_nothing_is_known_leaves_the_interval_without_end() -> None:
    found = Confirmation(1, "val_auc", (Pair(0, 1, 0.6, 0.5, {"a": (0.6, 0.4), "b": (None, 0.5)}),) * 2)
    assert found.over_subjects.low == -math.inf
    assert "-inf to +inf over 2 validation subjects): no more than noise" in found.words


def test_one_pair_says_nothing_of_noise() -> None:
    found = judged(1, (0.1,), {"a": 0.001, "b": -0.001})
    assert "says nothing of the noise of seeds" in found.words
    assert "over 2 validation subjects" in found.words
    assert not found.sure
    assert judged(1, (0.1,)).words.endswith("from the recipe as it stands.")


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=6))
def test_the_gain_lies_in_its_intervals(gains: list[float]) -> None:
    found = judged(1, tuple(gains), {"a": 0.1, "b": 0.2})
    assert all(interval.low <= found.gain <= interval.high for interval in found.intervals.values())


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
    assert [line.split("  ")[0] for line in shown[:2]] == names
    assert "2 checkpoints are judged again" in shown[2]
    assert set(pair.without) == {"synthetic/S005"}  # the only validation subject: without them nothing is known
    recipes = [open_store(campaign.place.at("confirm", name).uri).read("recipe.yaml").decode() for name in names]
    assert [yaml.safe_load(text)["aunce"]["temperature"] for text in recipes] == pytest.approx([0.1, 0.5])
    assert found.words in render(campaign, trials, None).replace("&#39;", "'")
    # Again: nothing is trained twice.
    assert confirm(campaign, winner, [], 1) == found
