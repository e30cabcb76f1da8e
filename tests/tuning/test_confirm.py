"""The winner beside the recipe as it stands, trained again."""

import json
import math
from pathlib import Path

import pytest
import yaml
from campaign_files import write_campaign
from hypothesis import given
from hypothesis import strategies as st

from au_dist.cli.verbs import app
from au_dist.core.errors import ClusterError, RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.storage.store import Store, open_store
from au_dist.train import checkpoint
from au_dist.tuning import confirm as confirming
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.confirm import confirm
from au_dist.tuning.confirmation import Confirmation, Pair, confirmations_of
from au_dist.tuning.intervals import jackknife
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
        "3 pairs; +0.0073 to +0.0327 over 2 validation subjects): no more than noise."
    )


def test_a_subject_counts_in_the_folds_that_they_validate() -> None:
    one = Pair(0, 1, 0.6, 0.5, {"a": (0.6, 0.6), "b": (0.7, 0.5)})
    pairs = (one, Pair(1, 1, 0.8, 0.5, {"a": (0.9, 0.5), "c": (0.8, 0.5)}))
    found = Confirmation(1, "val_auc", pairs)
    # Without a: 0 and 0.4; without b: 0.2, and the second pair as it is; without c the first as it is.
    expected = jackknife(0.2, [0.2, 0.25, 0.2])
    assert (found.over_subjects.low, found.over_subjects.high) == pytest.approx((expected.low, expected.high))
    assert found.over_subjects.of == 3


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
    assert found.words.endswith("validation subjects: without one of them nothing can be judged): more than noise.")


def test_one_pair_says_nothing_of_noise() -> None:
    found = judged(1, (0.1,), {"a": 0.001, "b": -0.001})
    assert "says nothing of the noise of seeds" in found.words
    assert "over 2 validation subjects" in found.words
    assert not found.sure


def test_of_folds_with_a_single_validation_subject_it_is_said() -> None:
    pairs = (Pair(fold, 1, 0.6 + fold / 100, 0.5, {str(fold): (None, None)}) for fold in range(3))
    found = Confirmation(1, "val_auc", tuple(pairs))
    assert list(found.intervals) == ["pairs"]
    assert found.sure
    assert "not known for other validation subjects: a fold has one of them" in found.words


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


@pytest.mark.parametrize(("folds", "match"), [([0, 0], "given twice"), ([0, 99], "99")])
def test_folds_are_checked_before_anything_is_trained(
    tmp_path: Path, folds: list[int], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "train", None)
    campaign, trials = searched(tmp_path)
    with pytest.raises(RecipeError, match=match):
        confirm(campaign, row_of(campaign, trials, 1), folds, 1)


def test_pairs_are_kept_and_nothing_is_judged_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign, trials = searched(tmp_path)
    winner, runs, judged_again, lost = row_of(campaign, trials, 1), campaign.place.at("confirm"), [], [True]

    def best(recipe: Recipe, stop: object, group: object) -> tuple[Store, float]:
        value = {"winner": 0.7, "base": 0.6}[recipe.name.partition("-")[0]] + recipe.data.protocol.fold / 8
        return runs.at(recipe.name, checkpoint.folder(1)), value

    def apart(work: object, base: Recipe, place: Store, *_: object) -> dict[str, dict[str, float]]:
        name = place.parent.parent.name
        if lost and "base" in name:
            raise ClusterError("A process on the cluster was lost")
        judged_again.append(name)
        less = 0.05 if "winner" in name else 0.01
        fold = 0.125 * ("fold-1" in name)
        whole = (0.7 if "winner" in name else 0.6) + fold
        return {"a": {"val_auc": whole - less}, "b": {"val_auc": whole + less}, "c": {"val_auc": float("nan")}}

    monkeypatch.setattr(confirming, "_best", best)
    monkeypatch.setattr(confirming, "judged_apart", apart)
    with pytest.raises(ClusterError):
        confirm(campaign, winner, [0, 1], 1)
    (kept,) = confirmations_of(campaign)
    assert [(pair.winner, pair.base, pair.without) for pair in kept.pairs] == [(0.7, 0.6, {}), (0.825, 0.725, {})]
    lost.clear()
    found = confirm(campaign, winner, [0, 1], 1)
    assert confirm(campaign, winner, [0, 1], 1) == confirmations_of(campaign)[0] == found
    names = [f"{kind}-1-fold-{fold}-seed-1000" for fold in (0, 1) for kind in ("winner", "base")]
    assert judged_again == names
    assert "NaN" not in campaign.place.read("confirm/beside-the-recipe.json").decode()
    assert found.pairs[1].without["a"] == (pytest.approx(0.775), pytest.approx(0.715))
    assert [found.pairs[0].gain(name) for name in ("a", "b", "nobody")] == pytest.approx([0.06, 0.14, 0.1])
    assert found.pairs[0].without["c"] == (None, None)


@pytest.mark.slow
def test_the_winner_is_compared_with_a_trial_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign, trials = searched(tmp_path)
    seen = []

    def best(recipe: Recipe, stop: object, group: object) -> tuple[Store, float]:
        seen.append((recipe.name, recipe.aunce.temperature))
        return campaign.place.at("confirm", recipe.name, checkpoint.folder(1)), recipe.aunce.temperature

    monkeypatch.setattr(confirming, "_best", best)
    monkeypatch.setattr(confirming, "judged_apart", lambda *_: {})
    winner, other = row_of(campaign, trials, 1), row_of(campaign, trials, 0)
    with pytest.raises(RecipeError, match="nothing to confirm"):
        confirm(campaign, winner, [], 1, beside=winner)
    found = confirm(campaign, winner, [], 1, beside=other)
    assert seen == [("winner-1-fold-0-seed-1000", 0.1), ("winner-0-fold-0-seed-1000", pytest.approx(0.5))]
    assert "from trial 0" in found.words
    plain = confirm(campaign, winner, [], 1)
    assert confirmations_of(campaign) == [plain, found]
    page = render(campaign, trials, None)
    assert "from trial 0" in page
    assert "from the recipe as it stands" in page


def test_a_confirmation_of_before_is_read(tmp_path: Path) -> None:
    campaign, _ = searched(tmp_path)
    pair = {"fold": 0, "seed": 1, "winner": 0.6, "base": 0.5}
    old = {
        "trial": 1,
        "metric": "val_auc",
        "pairs": [pair, {**pair, "winner": 0.7}],
        "gain": 0.15,
        "low": 0.0,
        "high": 1.0,
    }
    campaign.place.write("confirmation.json", json.dumps(old).encode())
    (found,) = confirmations_of(campaign)
    assert found.gain == pytest.approx(0.15)
    assert list(found.intervals) == ["pairs"]
    assert "not asked yet over validation subjects: the same command does" in found.words


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
    assert confirmations_of(campaign) == [found]
    names = ["winner-1-fold-0-seed-1000", "base-1-fold-0-seed-1000"]
    assert [line.split("  ")[0] for line in shown[:2]] == names
    assert shown[2] == "asking how much that depends on who the validation subjects are"
    assert set(pair.without) == {"synthetic/S005"}  # the only validation subject: without them nothing is known
    recipes = [open_store(campaign.place.at("confirm", name).uri).read("recipe.yaml").decode() for name in names]
    assert [yaml.safe_load(text)["aunce"]["temperature"] for text in recipes] == pytest.approx([0.1, 0.5])
    assert found.words in render(campaign, trials, None).replace("&#39;", "'")
    # Again: nothing is trained twice.
    assert confirm(campaign, winner, [], 1) == found
