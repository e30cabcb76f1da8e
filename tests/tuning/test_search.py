"""What Ray Tune is told: which trial is next, what became of one, who is stopped."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from campaign_files import write_campaign

from au_dist.core.errors import LeaseLostError, RecipeError
from au_dist.runs.worker_group import IDLE_S, WorkerGroup
from au_dist.tuning.campaign import Campaign, load_campaign
from au_dist.tuning.earlier import Earlier
from au_dist.tuning.presence import Presence, Standing
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import line, table, winner
from au_dist.tuning.room import Room, Wait
from au_dist.tuning.search import GOING_S, MOST_ROOMLESS, ByStudy, Halving, StudySearch
from au_dist.tuning.sections import EarlyStopping
from au_dist.tuning.study import open_study
from au_dist.tuning.trial import BEGUN, Trial

CONTINUE, STOP = "CONTINUE", "STOP"


class Somebody(Presence):
    """A presence that no cluster hears."""

    def __init__(self) -> None:
        self.name, self.heard, self.right, self.dropped = "somebody", list[Standing](), True, list[int]()
        self.released = list[int]()

    def tell(self, now: Standing) -> None:
        self.heard.append(now)

    def claim(self, now: Standing) -> bool:
        return self.right

    def drop(self, number: int) -> None:
        self.dropped.append(number)

    def release(self, number: int) -> None:
        self.released.append(number)


class Given(Room):
    """Room as a test gives it."""

    def __init__(self) -> None:
        self.now: Wait | None = None
        self.now_anew: Wait | None = None
        self.asked = list[tuple[int, int, int]]()

    def wait(self, running: int, starting: int, idle: int = 0, anew: bool = False) -> Wait | None:
        self.asked.append((running, starting, idle))
        return self.now_anew if anew and self.now_anew else self.now


def validation(number: int, value: float) -> dict[str, Any]:
    return {"validation": number, "validations": 4, "rung": number, "step": number, "val_auc": value}


def test_a_validation_says_how_far_its_trial_is(tmp_path: Path) -> None:
    """By the time since its workers' first step, over all commands; not by that of starting them."""
    campaign, now = load_campaign(write_campaign(tmp_path, trials=1)), [0.0]
    shown: list[str] = []
    for first in (1, 3):
        with open_study(campaign) as study:
            search = StudySearch(campaign, study, lambda event: shown.append(line(event)), clock=lambda: now[0])
            search.suggest("a")
            now[0] += 100
            search.on_trial_result("a", {"begun": True})
            for number in (first, first + 1):
                now[0] += 30
                search.on_trial_result("a", validation(number, 0.5))
            search.on_trial_complete("a", error=True)
    assert [text for text in shown if "validation" in text] == [
        "trial 0  validation 1 of 4  val_auc 0.5000, about 0:01:30 left",
        "trial 0  validation 2 of 4  val_auc 0.5000, about 0:01:00 left",
        "trial 0  validation 3 of 4  val_auc 0.5000, about 0:00:30 left",
        "trial 0  validation 4 of 4  val_auc 0.5000",
    ]


def test_each_outcome_finds_its_way_into_the_study(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=4))
    shown: list[dict[str, Any]] = []
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append)
        assert search.left == 4
        configs = [search.suggest(name) for name in "abcd"]
        assert search.suggest("e") is None  # one of the four may come back
        assert [config["recipes"][0]["name"] for config in configs] == [f"trial-0000{number}" for number in range(4)]
        search.on_trial_result("a", validation(1, 0.5))
        search.on_trial_result("a", validation(1, 0.5))
        search.on_trial_result("a", {"outcome": "finished", "val_auc": 0.5})
        search.on_trial_complete("a", {"outcome": "finished", "val_auc": 0.5})
        search.on_trial_complete("b", validation(1, 0.25))
        search.on_trial_complete("c", {"outcome": "failed", "error": "no good"})
        search.on_trial_result("d", validation(1, 0.75))
        search.on_trial_complete("d", validation(1, 0.75), error=True)
        assert [trial.state for trial in study.trials()] == ["finished", "stopped early", "failed", "unfinished"]
        assert study.trial(1).history == {1: 0.25}
        assert study.trial(2).error == "no good"
    events = [(row["trial"], row["event"]) for row in shown if row["event"] != "start"]
    assert events == [
        (0, "validation"),
        (0, "finished"),
        (1, "validation"),
        (1, "stopped early"),
        (2, "failed"),
        (3, "validation"),
        (3, "lost"),
    ]
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append)
        assert search.left == 1
        assert search.suggest("f")["number"] == 3
        search.on_trial_complete("f", {"outcome": "finished", "val_auc": 0.75})
        assert search.suggest("g") == StudySearch.FINISHED


def trial(name: str, number: int = 99) -> SimpleNamespace:
    return SimpleNamespace(trial_id=name, config={"number": number})


def state(number: int, state: str, *history: float) -> TrialState:
    return TrialState(number, state, {}, dict(enumerate(history, 1)), None)


@pytest.mark.parametrize(("value", "decision"), [(0.9, CONTINUE), (0.42, STOP)])
def test_halving_knows_the_trials_of_earlier_sessions(value: float, decision: str) -> None:
    rule = EarlyStopping(grace=2, reduction=2)
    past = [state(0, "finished", 0.0, 0.5, 0.9), state(1, "stopped early", 0.0, 0.4)]
    halving = Halving(rule, "val_auc", past)
    new = trial("new")
    halving.on_trial_add(None, new)
    assert halving.on_trial_result(None, new, validation(1, -1.0)) == CONTINUE
    assert halving.on_trial_result(None, new, validation(2, value)) == decision
    fresh = Halving(rule, "val_auc", [])
    fresh.on_trial_add(None, new)
    assert fresh.on_trial_result(None, new, validation(2, value)) == CONTINUE


def test_a_trial_that_is_taken_up_is_not_judged_twice_on_a_rung() -> None:
    past = [state(0, "stopped early", 0.9), state(1, "unfinished", 0.1)]
    halving = Halving(EarlyStopping(grace=1, reduction=2), "val_auc", past)
    resumed = trial("again", number=1)
    halving.on_trial_add(None, resumed)
    assert halving.on_trial_result(None, resumed, validation(1, 0.1)) == CONTINUE
    # The same trial, had its first validation not been known.
    stranger = trial("stranger")
    halving.on_trial_add(None, stranger)
    assert halving.on_trial_result(None, stranger, validation(1, 0.1)) == STOP


def test_the_last_validation_is_on_no_rung() -> None:
    halving = Halving(EarlyStopping(grace=1, reduction=2), "val_auc", [state(0, "finished", 0.9, 0.9)])
    new = trial("new")
    halving.on_trial_add(None, new)
    last = {key: value for key, value in validation(2, 0.0).items() if key != "rung"}
    assert halving.on_trial_result(None, new, last) == CONTINUE
    # Of the finished trial, too: its second validation set no bar for others.
    assert halving.on_trial_result(None, new, validation(2, 0.0)) == CONTINUE


def lose(campaign: Campaign, error: str | None = None) -> list[str]:
    """Take up a campaign of one trial, whose process is lost or interrupted at once; return what is shown of it."""
    shown: list[dict[str, Any]] = []
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append)
        if search.suggest("a") != StudySearch.FINISHED:
            outcome = {"outcome": "interrupted", "error": error} if error else None
            search.on_trial_complete("a", outcome, error=not error)
    return [row["event"] for row in shown]


def test_a_trial_that_is_lost_again_and_again_is_parked_with_its_reason(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=1))
    assert lose(campaign) == ["start", "lost"]
    # What is outside is no trial's fault: it may be so for long.
    assert [lose(campaign, "store away") for _ in range(4)] == [["start", "interrupted"]] * 4
    assert lose(campaign) == ["start", "lost"]
    assert lose(campaign) == ["start", "parked"]
    assert lose(campaign) == []
    with open_study(campaign) as study:
        (trial,) = study.trials()
        assert (trial.state, trial.error) == ("parked", "The process of the trial was lost.")
        # Somebody mended something: it may get further, and then be lost as often again.
        study.report(0, 1, 0.5)
        study.interrupt(0, "lost", lost=True)
        assert study.trial(0).state == "unfinished"
    assert [lose(campaign) for _ in range(2)] == [["start", "lost"], ["start", "parked"]]
    again = campaign.model_copy(update={"retry_parked": True})
    assert lose(again, "asked to stop") == ["start", "interrupted"]
    assert lose(campaign) == ["start", "lost"]  # it is no longer parked


def test_a_draw_that_the_recipe_refuses_has_failed_in_its_words(tmp_path: Path) -> None:
    """No accepted file draws one; a study of a version that accepted more may hold it."""
    swin = {"model": {"encoder": "swin_t"}}
    path = write_campaign(tmp_path, trials=3, recipe=swin, space={"model.drop_path": {"uniform": [0.1, 0.5]}})
    campaign = load_campaign(path)
    strict = campaign.model_copy(update={"recipe": {**campaign.recipe, "model": {"encoder": "tiny"}}})
    shown: list[dict[str, Any]] = []
    with open_study(campaign) as study:
        search = StudySearch(strict, study, shown.append)
        assert search.suggest("a") == StudySearch.FINISHED
        assert [trial.state for trial in study.trials()] == ["failed"] * 3
    assert [row["event"] for row in shown] == ["failed"] * 3
    assert "no sample can go round a block of the encoder `tiny`" in shown[0]["error"]


def test_a_search_that_is_asked_to_stop_begins_no_other_trial(tmp_path: Path) -> None:
    campaign, stop = load_campaign(write_campaign(tmp_path, trials=3)), threading.Event()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda row: None, stop, presence=Somebody())
        assert search.suggest("a")["leaving"] == "somebody"
        stop.set()
        assert search.suggest("b") == StudySearch.FINISHED
        assert len(study.trials()) == 1


def test_nothing_is_drawn_while_there_is_no_room_and_the_wait_is_said(tmp_path: Path) -> None:
    campaign, clock, shown = load_campaign(write_campaign(tmp_path, trials=3)), [0.0], list[dict[str, Any]]()
    room, presence = Given(), Somebody()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append, None, room, presence, lambda: clock[0])
        assert search.suggest("a")["number"] == 0
        room.now = Wait("0 of 4 CPU are free")
        for clock[0] in (1.0, 5.0, 6.0, 30.0, 65.0, 66.5):
            assert search.suggest("b") is None
        room.now = Wait("full", own=True)
        assert search.suggest("b") is None
        room.now = None
        search.on_trial_result("a", {BEGUN: True})
        assert search.suggest("b")["number"] == 1
        assert len(study.trials()) == 2
    words = [{key: value for key, value in row.items() if key != "values"} for row in shown]
    said = {"event": "waiting", "running": 1, "why": "0 of 4 CPU are free"}
    assert words == [
        {"trial": 0, "event": "start"},
        said,
        said,
        {"event": "room", "after_s": 65.5},
        {"trial": 1, "event": "start"},
    ]
    waits = Standing(1, starting=1, waiting=True)
    begun = Standing(1, starting=1)
    assert presence.heard == [Standing(0), begun, *[waits] * 6, begun, Standing(1), Standing(2, starting=1)]
    assert [room.asked[0], room.asked[2], room.asked[-1]] == [(0, 0, 0), (1, 1, 0), (1, 0, 0)]


def test_room_that_another_campaign_has_just_taken_is_left_to_it(tmp_path: Path) -> None:
    """Both saw it; what was seen before a claim is looked at again after it."""
    campaign, room, presence = load_campaign(write_campaign(tmp_path, trials=1)), Given(), Somebody()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda row: None, None, room, presence)
        room.now_anew = Wait("0 of 4 CPU are free")
        assert search.suggest("a") is None
        presence.right, room.now_anew = False, None
        assert search.suggest("a") is None
        assert (study.trials(), presence.heard) == ([], [Standing(0)] * 3)
        presence.right = True
        assert search.suggest("a")["number"] == 0


def test_workers_of_a_trial_that_ended_wait_a_while_for_another(tmp_path: Path) -> None:
    campaign, clock, room, presence = load_campaign(write_campaign(tmp_path, trials=9)), [0.0], Given(), Somebody()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda row: None, None, room, presence, lambda: clock[0])
        for name in "abc":
            search.suggest(name)
            search.on_trial_result(name, {BEGUN: True})
        search.on_trial_complete("a", {"outcome": "finished", "val_auc": 0.5, "idle": True})
        search.on_trial_complete("b", {"outcome": "lost", "error": "gone", "idle": False})
        search.on_trial_complete("c", validation(1, 0.25))
        assert presence.dropped == [2]
        for name, asked in (("d", (0, 0, 1)), ("e", (1, 0, 0)), ("f", (2, 1, 0))):
            assert search.suggest(name)["number"] > 2
            assert room.asked[-1] == asked  # those that have workers are not among the ones that start
        search.on_trial_complete("f", validation(1, 0.25))  # known from before: its workers were never started
        search.on_trial_complete("d", {"outcome": "finished", "val_auc": 0.5, "idle": True})
        assert presence.dropped == [2, 5]
        clock[0] += IDLE_S - GOING_S
        search.suggest("h")
        assert room.asked[-1] == (1, 1, 0)
        search.on_trial_complete("h", {"outcome": "finished", "val_auc": 0.5, "idle": True})
        room.now = Wait("another campaign waits", gives_way=True)
        for idle in (1, 0):
            assert search.suggest("i") is None
            assert room.asked[-1] == (1, 1, idle)
            assert presence.released == [3, 6]  # which of them Tune has kept, nobody knows


def test_a_trial_of_several_runs_is_worth_their_mean_and_is_stopped_between_them(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=3, folds=[1, 0], seeds=3, recipe={"seed": 7}))
    shown: list[str] = []

    def done(run: int, value: float) -> dict[str, Any]:
        rung = {"rung": run} if run < 6 else {}
        return {"validation": run, "validations": 6, "val_auc": value, **rung}

    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda event: shown.append(line(event)))
        config, between = search.suggest("a"), ByStudy(search)
        recipes = [(one["name"], one["data"]["protocol"]["fold"], one["seed"]) for one in config["recipes"]]
        assert recipes == [(f"trial-00000.fold-{f}.seed-{s}", f, s) for f in (1, 0) for s in (7, 8, 9)]
        values = [0.5, 0.6, 0.7, 0.8, 0.7, 0.6]
        for run, value in enumerate(values, 1):
            assert between.on_trial_result(None, trial("a"), done(run, value)) == CONTINUE
            search.on_trial_result("a", done(run, value))
            assert study.trial(0).metric == (pytest.approx(0.65) if run == 6 else float("-inf"))
        search.on_trial_complete("a", {"outcome": "finished", "val_auc": 0.65})
        (row,) = table(campaign, study.trials())
        assert (row.metric, row.runs, row.validations) == (pytest.approx(0.65), 6, 6)
        assert row.run.endswith("trial-00000.fold-0.seed-7")  # the fourth is the best of them

        # Below it run for run: four say it with p < 0.1, three cannot. What is 0.5 or more elsewhere does not count.
        search.suggest("b")
        for run, below in enumerate(values[:4], 1):
            decision = between.on_trial_result(None, trial("b"), done(run, below - 0.01))
            assert decision == (STOP if run == 4 else CONTINUE)
            if decision == CONTINUE:
                search.on_trial_result("b", done(run, below - 0.01))
        search.on_trial_complete("b", done(4, 0.79))
        assert study.trial(1).state == "stopped early"
        assert winner(table(campaign, study.trials())) == row

        # What earlier campaigns came to is no measure.
        better = TrialState(9, "finished", {}, dict.fromkeys(range(1, 7), 0.95), None, runs=6)
        study.learn([Earlier("there#9", study._all()[0].params, better)] * 2)
        assert len(study._all()) == 3

        # Better in most of them, if not in all.
        search.suggest("c")
        for run, value in enumerate(values, 1):
            value += 0.1 if run != 2 else -0.3
            assert between.on_trial_result(None, trial("c"), done(run, value)) == CONTINUE
    assert "trial 0  run 2 of 6  val_auc 0.6000" in shown
    assert sum("trial 1  run" in text for text in shown) == 4


def test_trials_that_come_to_nothing_one_after_the_other_are_not_all_burnt(tmp_path: Path) -> None:
    shown: list[str] = []
    campaign = load_campaign(write_campaign(tmp_path, trials=9))
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda event: shown.append(line(event)))
        ended = {"outcome": "interrupted", "validation": 0, "error": "Cannot list: the store cannot be reached"}
        for name in "ab":
            search.suggest(name)
            search.on_trial_complete(name, ended)
        search.suggest("c")
        search.on_trial_result("c", validation(1, 0.5))  # one that comes to something
        search.on_trial_complete("c", ended)
        search.suggest("d")
        search.on_trial_complete("d", ended)
        assert search.broken is None
        search.suggest("e")  # the third in a row
        search.on_trial_complete("e", ended)
        assert search.suggest("f") == StudySearch.FINISHED
        assert search.broken == "Cannot list: the store cannot be reached"
        why = "3 in a row were interrupted before a validation"
        assert shown[-1] == f"no other trial begins, 4 of them are left undone: {why}"
        assert [one.state for one in study.trials()] == ["unfinished"] * 5


def test_one_node_that_goes_does_not_stop_the_others(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=9))
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda event: None)
        for name in "abcd":
            search.suggest(name)
        for name in "abc":
            search.on_trial_complete(name, None, error=True)
        assert isinstance(search.suggest("e"), dict)
        assert search.broken is None


def test_a_campaign_that_is_asked_to_stop_is_not_taken_for_broken(tmp_path: Path) -> None:
    campaign, stop = load_campaign(write_campaign(tmp_path, trials=9)), threading.Event()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda event: None, stop)
        for name in "abc":
            search.suggest(name)
        stop.set()
        for name in "abc":
            search.on_trial_complete(name, {"outcome": "interrupted", "validation": 0, "error": "asked to stop"})
        assert search.suggest("d") == StudySearch.FINISHED
        assert search.broken is None


def test_by_the_median_a_trial_is_stopped_where_half_of_the_finished_ones_were_better(tmp_path: Path) -> None:
    rule = {"by": "median", "grace": 2}
    campaign = load_campaign(write_campaign(tmp_path, trials=8, early_stopping=rule))
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda event: None)
        scheduler = ByStudy(search)

        def told(name: str, *values: float) -> list[str]:
            search.suggest(name)
            decisions = []
            for number, value in enumerate(values, 1):
                rung = {"rung": number} if number < 3 else {}
                result = {"validation": number, "validations": 3, "val_auc": value, **rung}
                decisions.append(scheduler.on_trial_result(None, trial(name), result))
                if decisions[-1] == STOP:
                    search.on_trial_complete(name, result)
                    return decisions
                search.on_trial_result(name, result)
            search.on_trial_complete(name, {"outcome": "finished", "val_auc": values[-1]})
            return decisions

        # Before five have finished nobody is stopped. At the second validation their median is 0.62.
        for name, value in zip("abcde", (0.60, 0.61, 0.62, 0.63, 0.64), strict=True):
            assert told(name, 0.5, value, 0.7) == [CONTINUE] * 3
        assert told("f", 0.1, 0.619) == [CONTINUE, STOP]
        assert told("g", 0.621, 0.1, 0.7) == [CONTINUE] * 3  # its best so far counts
        states = [one.state for one in study.trials()]
    assert states == ["finished"] * 5 + ["stopped early", "finished"]


def test_by_the_median_a_run_that_is_taken_up_is_not_judged_by_what_comes_later(tmp_path: Path) -> None:
    rule = {"by": "median", "grace": 1}
    path = write_campaign(tmp_path, trials=6, early_stopping=rule)
    with open_study(load_campaign(path)) as study:
        for _ in range(5):
            number = study.ask()
            for validation_, value in ((1, 0.5), (2, 0.7), (3, 0.8)):
                study.report(number, validation_, value)
            study.finish(number, 0.8)
        number = study.ask()
        study.report(number, 1, 0.6)
        study.report(number, 2, 0.4)
    campaign = load_campaign(path)
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda event: None)
        scheduler = ByStudy(search)
        assert search.suggest("again")["number"] == number
        for told, decision in ((1, CONTINUE), (2, STOP)):  # the second may not have been judged before it was cut off
            result = {"validation": told, "validations": 4, "val_auc": {1: 0.6, 2: 0.4}[told], "rung": told}
            assert scheduler.on_trial_result(None, trial("again"), result) == decision


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"folds": [0, 1, 0]}, "given twice"),
        ({"folds": [0, 5]}, "fold"),
        ({"seeds": 2, "early_stopping": {"grace": 2}}, "not stopped within a run"),
        ({"early_stopping": {"worse": 0.2}}, "not stopped between runs"),
        ({"seeds": 2, "early_stopping": {"by": "median"}}, "not stopped within a run"),
        ({"early_stopping": {"by": "median", "reduction": 2}}, "belongs to halving"),
    ],
)
def test_repetitions_that_cannot_be_are_refused(tmp_path: Path, keys: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        load_campaign(write_campaign(tmp_path, **keys))


def test_of_two_that_would_begin_at_once_one_does(tmp_path: Path) -> None:
    campaign, presence = load_campaign(write_campaign(tmp_path, trials=3)), Somebody()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda row: None, None, Given(), presence)
        presence.right = False
        assert search.suggest("a") is None
        assert study.trials() == []
        presence.right = True
        assert search.suggest("a")["number"] == 0


def test_a_driver_that_was_taken_over_begins_no_trial(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, trials=1))
    with open_study(campaign) as study:
        study.ask()
        search = StudySearch(campaign, study, lambda row: None)
        with open_study(campaign):
            pass
        with pytest.raises(LeaseLostError):
            search.suggest("a")


def test_a_trial_whose_workers_found_no_room_is_tried_again_some_times(tmp_path: Path) -> None:
    campaign, shown = load_campaign(write_campaign(tmp_path, trials=1)), list[dict[str, Any]]()
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, shown.append)
        for _ in range(MOST_ROOMLESS):
            assert search.suggest("a")["number"] == 0
            assert search.suggest("b") is None
            search.on_trial_complete("a", {"outcome": "no room", "error": "too little of it"})
        assert search.suggest("a") == StudySearch.FINISHED
        assert study.trial(0).state == "unfinished"
        assert study.trial(0).error == "too little of it"
    events = [row["event"] for row in shown if row["event"] != "start"]
    assert events == ["waiting"] * (MOST_ROOMLESS - 1) + ["interrupted"]


def test_what_the_constraints_do_not_allow_is_drawn_again(tmp_path: Path) -> None:
    space = {"batch.clips": {"uniform": [4, 32]}, "batch.contrast": {"uniform": [2, 8]}}
    together = ["batch.clips % batch.contrast == 0", "batch.contrast % data.lanes == 0 and batch.clips < 30"]
    campaign = load_campaign(write_campaign(tmp_path, trials=8, space=space, constraints=together))
    with open_study(campaign) as study:
        search = StudySearch(campaign, study, lambda row: None)
        drawn = [search.suggest(str(turn))["recipes"][0]["batch"] for turn in range(8)]
        assert search.suggest("x") is None
        numbers = [trial.number for trial in study.trials()]
    assert all(batch["clips"] % batch["contrast"] == 0 == batch["contrast"] % 2 for batch in drawn)
    assert len(numbers) == 8
    assert numbers[-1] > 7


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"constraints": ["batch.clips"]}, "cannot be read"),
        ({"constraints": ["__import__('os') == 1"]}, "cannot be read"),
        ({"constraints": ["batch.clips.__class__ == 1"]}, "no value `batch.clips.__class__`"),
        ({"constraints": ["1 < 2"]}, "cannot be read"),
        ({"constraints": ["batch.clips > 2 and optim.lr"]}, "cannot be read"),
        ({"constraints": ["batch.clips % batch.contrast == 0"]}, "`batch.contrast` is None, no number"),
        ({"constraints": [f"optim.lr / {'9' * 400} < 1"]}, "cannot be computed"),
        ({"constraints": [f"{'-' * 9000}optim.lr < 1"]}, "cannot be read|cannot be computed"),
        ({"constraints": ["batch.clip > 2"]}, "Did you mean `batch.clips`"),
        ({"constraints": ["model.encoder + 1 > 2"]}, "cannot be computed"),
        ({"constraints": ["aunce.temperature > 1"]}, "next to nothing.*Found 0 of 2048 combinations"),
        ({"space": {"model.stages": {"choice": [3, 5]}, "model.encoder": {"choice": ["tiny", "swin_t"]}}}, "together"),
        ({"space": {"model.drop_path": {"uniform": [0, 0.5]}}}, "no sample can go round"),
    ],
    ids=[
        "no comparison",
        "program",
        "attribute",
        "constant",
        "half",
        "null",
        "huge",
        "deep",
        "name",
        "type",
        "empty",
        "combination",
        "alone",
    ],
)
def test_a_campaign_that_could_not_be_drawn_from_is_refused(tmp_path: Path, keys: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match) as caught:
        load_campaign(write_campaign(tmp_path, **keys))
    assert "\n" not in str(caught.value)


def test_what_stands_in_the_way_of_a_trial_is_its_outcome(tmp_path: Path) -> None:
    campaign = load_campaign(write_campaign(tmp_path, shards=tmp_path / "nowhere"))
    trial = Trial({"number": 0, "recipes": [campaign.trial(0, {}).model_dump(mode="json")]})
    found = trial.train()
    assert (found["outcome"], found["done"]) == ("failed", True)
    assert "nowhere" in found["error"]
    assert not found["idle"]
    assert trial.reset({"number": 1, "recipes": [campaign.trial(1, {}).model_dump(mode="json")]})
    assert trial.train()["outcome"] == "failed"
    trial.stop()


def test_workers_that_are_released_go_unless_another_trial_has_them(tmp_path: Path) -> None:
    class Workers(WorkerGroup):
        is_idle, closed = True, 0

        def close(self) -> None:
            self.closed += 1

    campaign = load_campaign(write_campaign(tmp_path, shards=tmp_path / "nowhere"))
    trial = Trial({"number": 0, "recipes": [campaign.trial(0, {}).model_dump(mode="json")]})
    trial.group = workers = Workers()
    trial._listen(lambda: True, threading.Event())
    assert workers.closed == 1
    taken = threading.Event()
    taken.set()
    trial._listen(lambda: True, taken)
    assert workers.closed == 1
    trial.stop()
    assert workers.closed == 2
