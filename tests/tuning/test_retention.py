"""What ended trials keep."""

from pathlib import Path

import pytest
import torch
from campaign_files import write_campaign
from pydantic import ValidationError
from states import state

from au_dist.cli.verbs import app
from au_dist.train import checkpoint
from au_dist.tuning.campaign import Campaign, load_campaign, trial_name
from au_dist.tuning.claims import claim
from au_dist.tuning.record import TrialState
from au_dist.tuning.retention import Retention
from au_dist.tuning.sections import Keep
from au_dist.tuning.study import open_study

VALUES = (0.5, 0.9, 0.7, 0.8, 0.6)


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """A campaign of trials with a checkpoint each; all but the last one, the worst but one, have ended."""
    found = load_campaign(write_campaign(tmp_path, trials=len(VALUES)))
    claim(found, "hash")
    tensors = {"a": torch.zeros(3)}
    with open_study(found) as study:
        for value in VALUES:
            number = study.ask()
            study.report(number, 1, value)
            checkpoint.write(found.place.at("runs", trial_name(number)), tensors, tensors, state(2, {"val_auc": value}))
            if number < 4:
                study.finish(number, value)
    return found


def trials(campaign: Campaign) -> list[TrialState]:
    with open_study(campaign) as study:
        return study.trials()


def kept(campaign: Campaign) -> list[str]:
    """What each trial has: a whole checkpoint, weights, or nothing."""
    found = []
    for number in range(len(VALUES)):
        names = campaign.place.at("runs", trial_name(number)).list("checkpoints", recursive=True)
        whole = any(name.endswith(checkpoint.OPTIMIZER) for name in names)
        found.append("whole" if whole else "weights" if names else "nothing")
    return found


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        pytest.param(Keep(), ["whole"] * 5, marks=pytest.mark.slow),
        (Keep(resumable=2), ["weights", "whole", "weights", "whole", "whole"]),
        (Keep(resumable=1, weights=1), ["nothing", "whole", "nothing", "weights", "whole"]),
        pytest.param(
            Keep(resumable=1, weights=0), ["nothing", "whole", "nothing", "nothing", "whole"], marks=pytest.mark.slow
        ),
        pytest.param(Keep(resumable=9), ["whole"] * 5, marks=pytest.mark.slow),
    ],
)
def test_the_better_keep_more_and_those_that_may_go_on_everything(
    campaign: Campaign, keep: Keep, expected: list[str]
) -> None:
    retention = Retention(campaign.model_copy(update={"keep": keep}))
    freed = retention.apply(trials(campaign))
    assert kept(campaign) == expected
    assert (freed > 0) == (expected != ["whole"] * 5)
    assert retention.apply(trials(campaign)) == 0


def test_a_trial_that_failed_takes_nobodys_place(campaign: Campaign) -> None:
    with open_study(campaign) as study:
        study.report(4, 2, 0.99)
        study.fail(4, "The gradient is not finite.")
    Retention(campaign.model_copy(update={"keep": Keep(resumable=1, weights=0)})).apply(trials(campaign))
    assert kept(campaign) == ["nothing", "whole", "nothing", "nothing", "nothing"]


def test_weights_are_counted_after_the_resumable() -> None:
    with pytest.raises(ValidationError, match=r"give keep.resumable, too"):
        Keep(weights=3)


@pytest.mark.slow
def test_the_verb_does_what_the_file_says_now(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["tune", "clean", str(tmp_path / "campaign.yaml")], standalone_mode=False)
    assert kept(campaign) == ["whole"] * 5
    app(["tune", "clean", str(tmp_path / "campaign.yaml"), "keep.resumable=1"], standalone_mode=False)
    assert kept(campaign) == ["weights", "whole", "weights", "weights", "whole"]
    assert capsys.readouterr().out.splitlines()[0] == "freed  0.0 MiB"
