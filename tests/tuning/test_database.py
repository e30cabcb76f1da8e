"""A study in PostgreSQL: the same draws as in a journal, no password anywhere, and a database that is away."""

import threading
import time
from pathlib import Path

import optuna
import pytest
from campaign_files import drawn, write_campaign
from postgres_server import PASSWORD, Postgres

from au_dist.core.errors import RecipeError, StorageError
from au_dist.storage.store import Store
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.claims import claim, stored_campaign, withdraw
from au_dist.tuning.record import trials_of
from au_dist.tuning.run import run_campaign
from au_dist.tuning.study import open_study


def campaign_in(folder: Path, **keys: object) -> Campaign:
    folder.mkdir(exist_ok=True)
    return load_campaign(write_campaign(folder, trials=30, **keys))


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("postgresql://me:hush-hush@there/studies", "holds a password"),
        ("postgresql://me@there/studies?password=hush-hush", "holds a password"),
        ("mysql://me:hush-hush@there/studies", "cannot be kept there"),
        ("postgresql://there", "cannot be kept there"),
        ("postgresql://there:port/studies", "cannot be kept there"),
        ("study.db", "cannot be kept there"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(
    tmp_path: Path, address: str, match: str
) -> None:
    with pytest.raises(RecipeError, match=match) as caught:
        campaign_in(tmp_path, storage=address)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.slow
def test_a_study_in_a_database_draws_what_one_in_a_journal_does(tmp_path: Path, database: str) -> None:
    with open_study(campaign_in(tmp_path / "journal", name="draws")) as study:
        whole = drawn(study, 8)
    kept = campaign_in(tmp_path / "database", name="draws", storage=database)
    assert trials_of(kept) == []
    assert optuna.get_all_study_names(database.replace("postgresql:", "postgresql+psycopg:")).count("draws") == 0
    claim(kept, "manifest")
    parts = []
    for count in (1, 4, 3):
        with open_study(kept) as study:
            parts += drawn(study, count)
            # Cut off: before its parameters were drawn, and when they had been, but nothing more.
            study._storage.create_new_trial(study._study._study_id)
    assert parts == whole
    assert [trial.state for trial in trials_of(stored_campaign(kept.place.uri))] == ["finished"] * 8
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD in path.read_text("latin-1")]
    assert not kept.place.exists("study.journal")

    with pytest.raises(RecipeError, match="another campaign of this name"):
        trials_of(campaign_in(tmp_path / "other", name="draws", storage=database))


@pytest.mark.slow
def test_a_draw_that_was_stored_but_not_told_is_the_next(tmp_path: Path, database: str) -> None:
    with open_study(campaign_in(tmp_path / "journal", name="told")) as study:
        whole = drawn(study, 3)
    kept = campaign_in(tmp_path / "database", name="told", storage=database)
    with open_study(kept) as study:
        drawn(study, 2)
        describe, study._describe = study._describe, lambda number: 1 / 0  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            study.ask()
        study._describe = describe  # type: ignore[method-assign]
        number = study.ask()
        assert study.trial(number).values == whole[2]
        assert len(study.trials()) == 3


@pytest.mark.slow
def test_a_database_that_is_away_is_waited_for(tmp_path: Path, database: str, postgres: Postgres) -> None:
    said: list[str] = []
    campaign = campaign_in(tmp_path, name="away", storage=database)
    with open_study(campaign, said.append) as study:
        number = study.ask()
        postgres.stop()

        def back() -> None:
            time.sleep(2)
            postgres.start()

        thread = threading.Thread(target=back)
        thread.start()
        study.report(number, 1, 0.5)
        study.finish(number, 0.5)
        thread.join()
        assert drawn(study, 1)
    assert trials_of(campaign)[0].metric == 0.5
    assert len(said) == 2
    assert said[0].startswith("the database of the study does not answer, it is asked again: ")
    assert "answers again, after" in said[1]
    assert PASSWORD not in "".join(said)


@pytest.mark.slow
def test_a_campaign_that_never_began_leaves_no_study(tmp_path: Path, database: str) -> None:
    campaign = campaign_in(tmp_path, name="withdrawn", storage=database)
    claim(campaign, "manifest")
    with open_study(campaign) as study:
        study.fail(study.ask(), "no good")
        study.fail(0, "told twice")
        assert study.trial(0).error == "no good"
    withdraw(campaign)
    assert not campaign.place.list()
    assert trials_of(campaign) == []


def test_a_database_that_is_not_there_takes_no_name(tmp_path: Path, shards: Store) -> None:
    pytest.importorskip("psycopg")
    path = write_campaign(tmp_path, shards.uri, storage="postgresql://me@127.0.0.1:9/studies")
    with pytest.raises(StorageError, match="does not answer, or refuses"):
        run_campaign(path, [], lambda: [{"CPU": 4.0}])
    assert not [file for file in (tmp_path / "campaigns").rglob("*") if file.is_file()]


@pytest.mark.slow
def test_a_database_that_is_not_there_or_refuses_is_an_error_at_once(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.monotonic()
    nowhere = campaign_in(tmp_path, storage="postgresql://me@127.0.0.1:9/studies")
    with pytest.raises(StorageError, match="does not answer, or refuses"):
        trials_of(nowhere)
    monkeypatch.setenv("PGPASSWORD", "wrong-word")
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        trials_of(campaign_in(tmp_path, storage=database))
    assert "wrong-word" not in str(caught.value)
    assert time.monotonic() - begun < 30
