"""The study: its draws belong to seed and number, and its place in storage is all it needs."""

from pathlib import Path

import optuna
import pytest
from campaign_files import drawn, write_campaign
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from s3_fixture import S3Store

from au_dist.core.errors import LeaseLostError, StorageError
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.record import JOURNAL
from au_dist.tuning.study import open_study


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return load_campaign(write_campaign(tmp_path, trials=30))


def test_a_study_that_is_taken_up_draws_what_it_would_have_drawn(campaign: Campaign, tmp_path: Path) -> None:
    with open_study(campaign) as study:
        whole = drawn(study, 12)
    again = campaign.model_copy(update={"campaigns": str(tmp_path / "again")})
    parts = []
    for count in (1, 4, 6, 1):
        with open_study(again) as study:
            parts += drawn(study, count)
    assert parts == whole
    assert len({values["aunce.temperature"] for values in whole}) == 12
    other = campaign.model_copy(update={"campaigns": str(tmp_path / "other"), "seed": 1})
    with open_study(other) as study:
        first, second = drawn(study, 2)
        assert first == whole[0]  # the recipe itself
        assert second != whole[1]


def test_a_draw_that_was_cut_off_is_no_trial_and_changes_no_other(campaign: Campaign, tmp_path: Path) -> None:
    with open_study(campaign) as study:
        whole = drawn(study, 4)
    again = campaign.model_copy(update={"campaigns": str(tmp_path / "again")})
    with open_study(again) as study:
        parts = drawn(study, 2)
        study._storage.create_new_trial(study._study._study_id)
        study._home.publish()
    with open_study(again) as study:
        parts += drawn(study, 2)
        assert [trial.state for trial in study.trials()] == ["finished"] * 4
    assert parts == whole


def test_a_reader_of_the_journal_alone_sees_run_and_shares(campaign: Campaign, tmp_path: Path) -> None:
    with open_study(campaign) as study:
        values = study.trial(study.ask()).values
        study.spend(0, 90.0)
        study.finish(0, 0.5)
    journal = str(campaign.place.uri) + f"/{JOURNAL}"
    (trial,) = optuna.load_study(study_name=campaign.name, storage=JournalStorage(JournalFileBackend(journal))).trials
    assert trial.user_attrs == {
        "run": f"{campaign.place.uri}/runs/trial-00000",
        "aunce.positive_weights": values["aunce.positive_weights"],
        "seconds": 90.0,
    }


def test_what_became_of_trials_is_kept(campaign: Campaign) -> None:
    with open_study(campaign) as study:
        numbers = [study.ask() for _ in range(5)]
        study.report(0, 1, 0.5)
        study.report(0, 2, 0.75)
        study.report(0, 3, 0.6)
        study.report(0, 3, 0.1)
        study.finish(0, 0.75)
        study.report(1, 1, 0.25, stops=True)
        study.fail(2, "no good")
        study.report(3, 1, 0.3)
        study.interrupt(3, "store away")
    with open_study(campaign) as study:
        trials = study.trials()
    assert numbers == [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.state for trial in trials] == ["finished", "stopped early", "failed", "unfinished", "unfinished"]
    assert trials[0].history == {1: 0.5, 2: 0.75, 3: 0.6}
    assert [trial.metric for trial in trials] == [0.75, 0.25, float("-inf"), 0.3, float("-inf")]
    assert [trial.error for trial in trials] == [None, None, "no good", "store away", None]
    assert all(0.05 <= trial.values["aunce.temperature"] <= 1 for trial in trials)


def test_a_trial_is_stopped_together_with_the_validation_at_which_it_is(campaign: Campaign) -> None:
    """A driver that is cut off between the two leaves both or, in a database, what the next one ends."""
    for stored in (False, True):
        with open_study(campaign) as study:
            number = study.ask()
            study._prune = lambda number: 1 / 0  # type: ignore[method-assign]
            with pytest.raises(ZeroDivisionError):
                study.report(number, 1, 0.25, stops=True)
            if stored:
                study._home.publish()
        with open_study(campaign) as study:
            found = study.trial(number)
            state = "stopped early" if stored else "unfinished"
            assert (found.state, found.history) == (state, {1: 0.25} if stored else {})


def test_a_driver_whose_campaign_is_taken_over_writes_no_more(campaign: Campaign) -> None:
    with open_study(campaign) as first:
        first.ask()
        with open_study(campaign) as second:
            second.ask()
        with pytest.raises(LeaseLostError, match="taken over this campaign"):
            first.ask()
    with open_study(campaign) as third:
        assert len(third.trials()) == 2


def test_a_study_of_other_kinds_of_numbers_is_refused(tmp_path: Path) -> None:
    def of(space: dict) -> Campaign:
        return load_campaign(write_campaign(tmp_path, space=space))

    with open_study(of({"aunce.temperature": {"uniform": [0.1, 1]}})) as study:
        study.ask()
    with pytest.raises(StorageError, match="cannot be read"), open_study(of({"aunce.temperature": {"choice": [1, 2]}})):
        pass


def test_a_damaged_study_is_refused(campaign: Campaign) -> None:
    campaign.place.write(JOURNAL, b'{"op_code": 0}\n')
    with pytest.raises(StorageError, match="cannot be read"), open_study(campaign):
        pass


@pytest.mark.s3
def test_a_study_lives_in_a_bucket(s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in s3_store.environment.items():
        monkeypatch.setenv(name, text)
    path = write_campaign(tmp_path, campaigns=f"s3://{s3_store.bucket}/campaigns")
    campaign = load_campaign(path)
    with open_study(campaign) as study:
        first = drawn(study, 1)
        study.ask()
    with open_study(campaign) as study:
        assert study.trial(0).values == first[0]
        assert [trial.state for trial in study.trials()] == ["finished", "unfinished"]
    journal = campaign.place.read(JOURNAL).decode()
    assert s3_store.secret_key not in journal
    assert s3_store.access_key not in journal
