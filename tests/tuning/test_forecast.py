"""What a campaign will take."""

from datetime import datetime
from pathlib import Path

import pytest
from campaign_files import write_campaign

from au_dist.runs.preview import Estimate, Measured, Preview
from au_dist.storage.store import Store
from au_dist.train.plan import plan_batches
from au_dist.tuning.campaign import load_campaign
from au_dist.tuning.forecast import expected_share, forecast, measure
from au_dist.tuning.sections import EarlyStopping


@pytest.mark.parametrize(
    ("rule", "validations", "share"),
    [
        (None, 9, 1.0),
        (EarlyStopping(grace=1, reduction=3), 1, 1.0),
        (EarlyStopping(grace=4, reduction=3), 4, 1.0),
        # All run 1 of 9, a third goes on to 3, a ninth to 9.
        (EarlyStopping(grace=1, reduction=3), 9, (1 + 2 / 3 + 6 / 9) / 9),
        (EarlyStopping(grace=2, reduction=2), 5, (2 + 2 / 2 + 1 / 4) / 5),
        # Of eight trials the first five come to their end, of the others half.
        (EarlyStopping(by="median", grace=1), 9, (5 + 3 * 5 / 9) / 8),
    ],
)
def test_early_stopping_runs_a_part_of_each_trial(rule: EarlyStopping | None, validations: int, share: float) -> None:
    assert expected_share(rule, validations, 8, 0) == pytest.approx(share)


def test_those_that_have_ended_are_the_measure_of_the_others() -> None:
    assert expected_share(EarlyStopping(by="median", grace=1), 9, 3, 5) == pytest.approx(5 / 9)


def test_a_campaign_is_so_many_trials_in_rounds(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, early_stopping=None))
    estimate = Estimate(50.0, 30.0, 4.0, 2.0, 1.0, 3, 10.0)
    plan = plan_batches(campaign.base(), 64, 1)
    found = forecast(campaign, Preview(None, plan, (Measured("", start_s=16.0),), estimate, ()), 8, 4)  # type: ignore[arg-type]
    assert (found.trial_s, found.total_s, found.most_s) == (100.0, 200.0, 200.0)
    assert (found.gpu_hours, found.cpu_hours) == (16.0, 8.0)
    assert found.ends(datetime(2026, 1, 1)) == datetime(2026, 1, 1, 0, 3, 20)
    last = forecast(campaign, Preview(None, plan, (Measured("", start_s=16.0),), estimate, ()), 1, 4)  # type: ignore[arg-type]
    assert last.total_s == 100.0


@pytest.mark.ray
@pytest.mark.slow
def test_one_short_run_is_measured_and_nothing_is_left(tmp_path: Path, shards: Store, ray_here: None) -> None:
    campaign = load_campaign(write_campaign(tmp_path, shards.uri, trials=6))
    found = measure(campaign, [{"CPU": 4.0}])
    assert (found.trials, found.at_once) == (6, 4)
    assert 0 < found.start_s < found.trial_s
    assert found.cpu_hours > 0 == found.gpu_hours
    assert not list((tmp_path / "campaigns").glob("**/*.*"))
