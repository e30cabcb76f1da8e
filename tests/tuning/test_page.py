"""The HTML report of a campaign."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from campaign_files import write_campaign

from au_dist.cli.verbs import app
from au_dist.core.errors import TrainError
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim
from au_dist.tuning.page import render
from au_dist.tuning.plots import as_drawn, figures
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import Best
from au_dist.tuning.study import open_study


def searched(folder: Path, *values: float, **keys: Any) -> tuple[Campaign, list[TrialState]]:
    """A campaign whose trials came to these values; the last one failed."""
    campaign = load_campaign(write_campaign(folder, trials=len(values) + 1, **keys))
    claim(campaign, "hash")
    with open_study(campaign) as study:
        for value in values:
            number = study.ask()
            study.report(number, 1, value - 0.1)
            study.report(number, 2, value)
            study.finish(number, value)
        study.fail(study.ask(), "The network gives <no> numbers.")
        return campaign, study.trials()


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL))


def test_the_page_says_who_won_by_how_much_and_that_one_seed_is_no_proof(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path, 0.5, 0.7, 0.6)
    best = Best(1, trials[1].values, 0.7, 0.7000001, f"{campaign.place.uri}/runs/trial-00001/checkpoints/000000009")
    page = render(campaign, trials, best)
    text = text_of(page)
    assert "Trial 1 is +0.2000 val_auc from the recipe as it stands, the best of 3. Each was trained once" in text
    assert "trial 0, as it stands" in text
    assert f"au-dist pull {best.checkpoint} --to FOLDER" in text
    assert "The network gives &lt;no&gt; numbers." in text
    for title in ("Every trial", "Validations of each", "Which values matter", "Value by value", "as shares"):
        assert title in text
    # One file that needs nothing else.
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


@pytest.mark.slow
def test_the_recipe_of_the_winner_can_be_trained(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path, 0.5, 0.7)
    page = render(campaign, trials, None)
    text = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert text is not None
    recipe = Recipe.model_validate(yaml.safe_load(text[1].replace("&#39;", "'").replace("&#34;", '"')))
    assert recipe.name == "campaign-1"
    assert recipe.aunce.temperature == pytest.approx(trials[1].values["aunce.temperature"])
    assert "The campaign goes on" in text_of(page)


def test_a_base_that_nothing_beat_is_said_to_be_so(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path, 0.7, 0.5)
    assert "Nothing beat the recipe as it stands." in text_of(render(campaign, trials, None))


def test_without_the_recipe_among_the_trials_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path, 0.7, 0.5, space={"aunce.temperature": {"log": [0.05, 0.1]}})
    text = text_of(render(campaign, trials, None))
    assert "nothing to compare the winner with" in text
    assert "(the space does not hold aunce.temperature 0.5)" in text


def test_optuna_is_shown_recipe_values_and_shares(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path, 0.5, 0.7)
    base, _, failed = as_drawn(campaign.space, trials).trials
    assert base.value == 0.5
    assert base.params["aunce.temperature"] == pytest.approx(0.5)
    shares = [base.params[f"positive_weights: {kind}"] for kind in ("highest", "mean", "view")]
    assert shares == pytest.approx([0.2, 0.6, 0.2])
    assert (failed.state.name, failed.value) == ("FAIL", None)
    assert base.intermediate_values == {1: 0.4, 2: 0.5}


@pytest.mark.slow
def test_a_trial_that_failed_wins_nothing(tmp_path: Path) -> None:
    campaign, _ = searched(tmp_path, 0.5, 0.6)
    with open_study(campaign) as study:
        study.report(study.ask(), 1, 0.9)
        study.fail(3, "The gradient is not finite.")
        trials = study.trials()
    assert "Trial 1 is +0.1000 val_auc" in text_of(render(campaign, trials, None))


def test_the_recipe_as_it_stands_is_known_by_its_values(tmp_path: Path) -> None:
    """Campaigns of before began with a draw."""
    campaign, trials = searched(tmp_path, 0.5, 0.7, 0.6)
    moved = [dataclasses.replace(trial, number=(trial.number + 1) % 3) for trial in trials[:3]]
    assert "trial 1, as it stands" in text_of(render(campaign, sorted(moved, key=lambda one: one.number), None))


def test_plots_are_of_what_has_ended(tmp_path: Path) -> None:
    """Of a choice that was only ever stopped early, and of a campaign no trial of which has ended, there are fewer."""
    space = {
        "model.encoder": {"choice": ["tiny", "swin_t"]},
        "model.drop_path": {"uniform": [0.1, 0.3], "when": {"model.encoder": "swin_t"}},
        "aunce.temperature": {"log": [0.05, 1.0]},
    }
    campaign = load_campaign(write_campaign(tmp_path, trials=12, space=space))
    with open_study(campaign) as study:
        for _ in range(12):
            number = study.ask()
            study.report(number, 1, 0.5 + number / 100)
        titles = [title for title, _, _ in figures(campaign.space, study.trials(), "val_auc")]
        assert titles == ["Validations of each trial"]
        for trial in study.trials():
            swin = trial.values["model.encoder"] == "swin_t"
            number, value = trial.number, trial.metric
            study.report(number, 1, value, stops=True) if swin else study.finish(number, value)
        trials = study.trials()
    assert len({trial.state for trial in trials}) == 2
    titles = [title for title, _, _ in figures(campaign.space, trials, "val_auc")]
    assert titles == ["Every trial, and the best so far", "Validations of each trial", "Value by value"]


def test_one_value_is_no_plot(tmp_path: Path) -> None:
    campaign, trials = searched(tmp_path, 0.5)
    assert list(figures(campaign.space, trials, "val_auc")) == []


def test_the_verb_writes_the_page_of_a_campaign_that_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign, _ = searched(tmp_path, 0.5, 0.7)
    app(["tune", "report", campaign.place.uri], standalone_mode=False)
    assert capsys.readouterr().out == f"report  {campaign.place.uri}/report.html\n"
    assert campaign.place.read("report.html").startswith(b"<!doctype html>")


def test_there_is_no_page_before_the_first_trial(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path))
    claim(campaign, "hash")
    with pytest.raises(TrainError, match="nothing to report yet"):
        app(["tune", "report", campaign.place.uri], standalone_mode=False)
