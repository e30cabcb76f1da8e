"""How far a campaign is, told from its storage; and how it is asked to stop from elsewhere."""

import dataclasses
import json
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from campaign_files import write_campaign

from au_dist.cli.verbs import app
from au_dist.core.errors import ClusterError, RecipeError, TrainError
from au_dist.tuning.campaign import STOP, Campaign, load_campaign
from au_dist.tuning.claims import claim, is_campaign, stored_campaign
from au_dist.tuning.record import TrialState, read_study
from au_dist.tuning.report import REPORT, Best, best_of
from au_dist.tuning.status import an_hour, ask_to_stop, status
from au_dist.tuning.study import open_study


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """A campaign of which three trials have been drawn; one has ended, one cannot be trained."""
    found = load_campaign(write_campaign(tmp_path, trials=2))
    longer = found.model_copy(update={"trials": 5})
    claim(found, "hash")
    with open_study(longer) as study:
        for _ in range(3):
            study.ask()
        study.report(0, 1, 0.5)
        study.report(0, 2, 0.75)
        study.finish(0, 0.75)
        study.report(1, 1, 0.625)
        study.fail(2, "no good")
    return longer


def test_a_campaign_is_read_back_from_its_place_alone(campaign: Campaign) -> None:
    there = stored_campaign(campaign.place.uri)
    assert there.space == campaign.space
    assert there.recipe["data"]["size"] == 32
    assert there.place == campaign.place
    with pytest.raises(RecipeError, match="No campaign is there"):
        stored_campaign(campaign.place.parent.uri)
    Path(campaign.place.uri).rename(campaign.place.parent.at("other").uri)
    with pytest.raises(RecipeError, match=r"has been renamed(?s:.)*the folder `campaign`"):
        stored_campaign(campaign.place.parent.at("other").uri)


def test_the_best_values_begin_another_campaign(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_study(campaign) as study:
        number = study.ask()
        study.report(number, 1, 0.875, stops=True)
        best = study.trial(number).values
    app(["tune", "points", campaign.place.uri, "--best", "5"], standalone_mode=False)
    text = capsys.readouterr().out
    assert [line.rpartition("#")[2] for line in text.splitlines()[1:]] == [" trial 3: 0.8750", " trial 0: 0.7500"]
    (tmp_path / "next").mkdir()
    other = load_campaign(write_campaign(tmp_path / "next", **yaml.safe_load(text)))
    with open_study(other) as study:
        first, second = (study.trial(study.ask()).values for _ in range(2))
    assert first["aunce.temperature"] == 0.5  # the recipe itself, which trial 0 was
    assert second["aunce.temperature"] == best["aunce.temperature"]
    assert second["aunce.positive_weights"] == pytest.approx(best["aunce.positive_weights"])


def test_there_are_no_best_values_before_a_result(tmp_path: Path) -> None:
    found = load_campaign(write_campaign(tmp_path))
    claim(found, "hash")
    with open_study(found) as study:
        study.ask()
    with pytest.raises(TrainError, match="No trial has come to a result yet"):
        app(["tune", "points", found.place.uri], standalone_mode=False)


def test_the_status_is_what_the_study_holds(campaign: Campaign) -> None:
    found = status(stored_campaign(campaign.place.uri))
    assert (found.planned, found.left) == (5, 3)
    assert [(row.number, row.state, row.metric) for row in found.trials] == [
        (0, "finished", 0.75),
        (1, "unfinished", 0.625),
        (2, "failed", None),
    ]
    assert found.columns[:4] == ["trial", "state", "validations", "val_auc"]
    assert found.rows[0][:4] == ["0", "finished", "2", "0.7500"]
    lines = found.summary.splitlines()
    assert lines[0] == f"campaign  {campaign.place.uri}"
    assert lines[1] == "trials    2 of 5 ended: 1 finished, 1 failed; 1 under way or interrupted"
    assert lines[2] == "trial 2 failed: no good"
    assert lines[3] == f"best      trial 0, val_auc 0.750000, {campaign.place.uri}/runs/trial-00000"
    assert lines[-1].startswith("driver    on ")


def test_who_looks_disturbs_nobody(campaign: Campaign) -> None:
    with open_study(campaign) as study:
        with read_study(campaign) as record:
            assert not hasattr(record, "ask")
        status(campaign)
        assert study.ask() == 3  # the lease is still this driver's
    assert len(status(campaign).trials) == 4


def test_a_campaign_without_a_trial_has_a_status(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=2))
    claim(campaign, "hash")
    found = status(campaign)
    assert found.summary.splitlines()[1:] == ["trials    0 of 2 ended", "driver    none so far"]


def test_the_rate_is_that_of_the_last_ends() -> None:
    begin = datetime(2026, 1, 1)

    def ended(*minutes: float) -> list[TrialState]:
        return [
            TrialState(k, "finished", {}, {}, None, begin, begin + timedelta(minutes=after))
            for k, after in enumerate(minutes)
        ]

    assert an_hour(ended()) is None
    assert an_hour(ended(5)) is None
    assert an_hour(ended(5, 5)) is None
    assert an_hour(ended(5, 15)) == pytest.approx(6)
    # A night passed before the last ten.
    assert an_hour(ended(0, *(1000 + 2 * k for k in range(10)))) == pytest.approx(30)


@pytest.mark.slow
def test_whoever_asks_waits_until_it_was_heard(campaign: Campaign) -> None:
    def driver() -> None:
        while not campaign.place.exists(STOP):
            pass
        campaign.place.delete(STOP)

    thread = threading.Thread(target=driver)
    thread.start()
    ask_to_stop(campaign, 60)
    thread.join()
    with pytest.raises(ClusterError, match=r"Nobody heard(?s:.)*within 3 s(?s:.)*last one on "):
        ask_to_stop(campaign, 3, sleep=lambda s: None, clock=iter([0.0, 1.0, 3.0]).__next__)
    assert not campaign.place.exists(STOP)


def test_a_campaign_is_pulled_by_its_best_or_by_a_trial(campaign: Campaign) -> None:
    with read_study(campaign) as study:
        trials = study.trials()
    runs = campaign.place.at("runs")
    assert best_of(campaign, trials, None) == runs.at("trial-00000").uri
    assert best_of(campaign, trials, 1) == runs.at("trial-00001").uri
    with pytest.raises(TrainError, match=r"no such trial(?s:.)*7"):
        best_of(campaign, trials, 7)
    with pytest.raises(TrainError, match="No trial has come to a result"):
        best_of(campaign, trials[1:], None)
    for number in (0, 1):
        best = Best(number, {}, 0.75, 0.75, runs.at(f"trial-0000{number}/checkpoints/000000003").uri)
        campaign.place.write(REPORT, json.dumps({"best": dataclasses.asdict(best)}).encode())
        # Of a conclusion that another trial has overtaken nothing is taken.
        assert best_of(campaign, trials, None) == (runs.at("trial-00000").uri if number else best.checkpoint)
    assert is_campaign(campaign.place.uri)
    assert not is_campaign(runs.uri)
    assert not is_campaign("campaign")


@pytest.mark.slow
def test_the_verbs_take_a_file_or_an_address(campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    texts = []
    for which in (str(tmp_path / "campaign.yaml"), campaign.place.uri):
        app(["tune", "status", which], standalone_mode=False)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "trials    2 of 5 ended" in texts[0]
    with pytest.raises(ClusterError):
        app(["tune", "stop", campaign.place.uri, "--wait-s", "1"], standalone_mode=False)
