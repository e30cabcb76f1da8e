"""Run a campaign, or go on with it: the same call does either, and nothing that is done is done again."""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from au_dist.core.errors import AuDistError, LeaseLostError, RecipeError, ResumeError, TrainError
from au_dist.runs.context import make_context, starting_point
from au_dist.runs.label_needs import label_notes
from au_dist.runs.room import Nodes
from au_dist.runs.trackers import check_tracker
from au_dist.train.plan import plan_batches, worker_counts
from au_dist.tuning.campaign import RECORDS, STOP, Campaign, check_combinations, load_campaign, trial_name
from au_dist.tuning.claims import check_claim, claim, withdraw
from au_dist.tuning.earlier import earlier_trials
from au_dist.tuning.first import why_no_base
from au_dist.tuning.fit import trials_at_once
from au_dist.tuning.record import TrialState, read_study
from au_dist.tuning.report import CampaignResult, conclude, line
from au_dist.tuning.space import check_space
from au_dist.tuning.study import Study, open_study

if TYPE_CHECKING:
    from au_dist.tuning.search import StudySearch

Show = Callable[[str], None]

#: A trial only waits for its workers. Memory is asked for because nothing may not be: a CPU share, however small, would
#: take a whole worker's place on a node that workers fill exactly.
TRIAL_RESOURCES = {"memory": 1 << 20}

#: What is to be known of a search on several folds.
CHOSEN_ACROSS = (
    "Trials are compared on several folds: subjects that test in one of these validate or train in another, and so "
    "have a say in what is chosen. For a score to publish, keep subjects out of all of these folds."
)

#: Behaviour of Ray Tune that has no other door: silence, no files per trial, Ctrl-C as in any program, and outcomes
#: that come without the metric.
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}


def run_campaign(
    path: Path,
    overrides: Sequence[str],
    nodes: Callable[[], Nodes],
    show: Show = lambda text: None,
    note: Show = lambda text: None,
    stop: threading.Event | None = None,
    manifest: str | None = None,
) -> CampaignResult:
    """Run a campaign, resume it, or find it complete; Ray must be connected.

    Args:
        path: The campaign's file.
        overrides: ``key=value`` replacements; ``recipe.key=value`` for the recipe.
        nodes: Returns what each node of the cluster has, as Ray counts it: ``{"CPU": 8, "GPU": 1}``.
        show: Called in this process with a line of text for each event: what is to be done, then starts, validations
            and ends of trials.
        note: Called with what a person should know before they begin.
        stop: Set when trials are to store a checkpoint and stop, and no other is to begin.
        manifest: What `check_campaign` has returned, where it was called.

    Returns:
        The table and the best trial, scored again from its checkpoint.

    Raises:
        ClusterError: Not even one trial fits on the cluster.
        LeaseLostError: Another command goes on with the campaign.
        RecipeError: The campaign, its recipe or its space does not fit, or another of its name exists.
        ResumeError: It was asked to stop.
        StorageError: The store fails; the same call goes on where it stopped.
        TrainError: No trial came to a result.
    """
    campaign = load_campaign(path, overrides)
    at_once = trials_at_once(campaign.base(), nodes(), min(campaign.trials, campaign.concurrent or campaign.trials))
    manifest = manifest or check_campaign(campaign, path, note)
    # What stands in the way is said before the name is taken.
    with read_study(campaign) as record:
        learns = bool(campaign.warm_start) and not record.has_learnt
    earlier, words = earlier_trials(campaign, manifest) if learns else ([], [])
    for text in words:
        note(text)
    claim(campaign, manifest)
    stop = stop or threading.Event()
    with _alone(campaign):
        with open_study(campaign, show) as study:
            if learns:
                study.learn(earlier)
            broken = _search(campaign, study, (at_once, nodes), show, stop)
            trials = study.trials()
        if broken:
            raise TrainError(
                "No other trial begins: several in a row were interrupted before a validation",
                where=campaign.place.uri,
                found=f"the last one: {broken}",
                fix="Mend what is named, on the nodes too if it is about keys or addresses; the same command goes on.",
            )
        if stop.is_set() and (left := _left(campaign, trials)):
            raise ResumeError(
                "The campaign was asked to stop",
                where=campaign.place.uri,
                found=f"{campaign.trials - left} of {campaign.trials} trials have ended",
                fix="The same command goes on from there.",
            )
        try:
            return conclude(campaign, trials, show, stop)
        except TrainError:
            if all(trial.state == "failed" for trial in trials):
                withdraw(campaign)
            raise


def check_campaign(campaign: Campaign, where: Path, note: Show) -> str:
    """Refuse all that can be refused without a cluster, and leave nothing behind.

    Args:
        campaign: The campaign.
        where: Its file, for messages.
        note: Called with what a person should know.

    Returns:
        The hash of the manifest of its shards.

    Raises:
        AuDistError: What stands in the way.
    """
    manifest = check_runs(campaign, where, note)
    campaign.place.parent.check()
    check_claim(campaign, manifest)
    return manifest


def check_runs(campaign: Campaign, where: Path, note: Show) -> str:
    """Refuse a campaign whose trials could not start on its shards, at any bound or choice of its space.

    Args:
        campaign: The campaign.
        where: Its file, for messages.
        note: Called with what a person should know.

    Returns:
        The hash of the manifest of its shards.

    Raises:
        AuDistError: What stands in the way.
    """
    check_tracker(campaign.base())
    context = make_context(campaign.base())
    for words in label_notes(context):
        note(words)
    if len(campaign.folds) > 1:
        note(CHOSEN_ACROSS)
        for recipe in campaign.run_recipes(0, {}):
            make_context(recipe)
    if why := why_no_base(campaign):
        note(f"The recipe as it stands is not among the trials: {why}.")
    starting_point(context)
    for recipe in check_space(campaign.space, campaign.recipe, where):
        corner = make_context(recipe)
        starting_point(corner)
    clips = context.order().clips
    check_combinations(campaign, where, lambda recipe: plan_batches(recipe, clips, worker_counts(recipe)[-1]))
    return context.manifest.sha256


@contextmanager
def _alone(campaign: Campaign) -> Iterator[None]:
    """Keep a second driver on this machine away from a campaign in a folder.

    A bucket has no such lock: there the study's lease ends the driver that was first.
    """
    if campaign.place.is_s3:
        yield
        return
    with (Path(campaign.place.uri) / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecipeError(
                "This campaign is being run by another process",
                where=campaign.place.uri,
                fix="Wait for it, or stop it and run the same command again: it goes on where the other stopped.",
            ) from error
        yield


def _left(campaign: Campaign, trials: Sequence[TrialState]) -> int:
    """Return how many trials have not ended."""
    return max(0, campaign.trials - len(trials)) + sum(trial.state == "unfinished" for trial in trials)


def _search(
    campaign: Campaign, study: Study, room: tuple[int, Callable[[], Nodes]], show: Show, stop: threading.Event
) -> str | None:
    """Run the trials that are left; return what interrupted several in a row before a validation, if that ended it."""
    os.environ.update({name: text for name, text in ENVIRONMENT.items() if name not in os.environ})
    from au_dist.compat.ray import free_nodes, other_jobs
    from au_dist.tuning.presence import present
    from au_dist.tuning.room import Room, Sight, with_those_to_come
    from au_dist.tuning.search import StudySearch

    at_once, nodes = room
    place = campaign.place

    def asked() -> bool:
        try:
            study.check_lease()
        except LeaseLostError:  # said where something is next to be stored
            return True
        if not place.exists(STOP) or place.read(STOP).decode() != study.lease:
            return False
        place.delete(STOP)  # whoever asked sees that it was heard
        return True

    with present(stop, asked) as presence:
        sight = Sight(nodes, lambda: with_those_to_come(free_nodes(), nodes()), other_jobs, presence.others)
        room_now = Room(campaign.base(), sight)
        search = StudySearch(campaign, study, lambda event: show(line(event)), stop, room_now, presence)
        show(line({"event": "campaign", "trials": campaign.trials, "left": search.left, "at_once": at_once}))
        if search.left:
            _run_trials(campaign, study, search)
        return search.broken


def _run_trials(campaign: Campaign, study: Study, search: "StudySearch") -> None:
    from ray import tune

    from au_dist.tuning.search import MOST_ROOMLESS, ByStudy, Halving
    from au_dist.tuning.trial import Trial

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    past, metric = study.trials(), campaign.base().metric
    scheduler = None
    if rule := campaign.early_stopping:
        halving = rule.by == "halving" and len(campaign.repetitions()) == 1
        scheduler = Halving(rule, metric, past) if halving else ByStudy(search)
    filesystem, path = campaign.place.filesystem_anywhere()
    tuner = tune.Tuner(
        tune.with_resources(Trial, TRIAL_RESOURCES),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            # A trial that found no room is given to Tune again, as another one.
            num_samples=search.left * MOST_ROOMLESS,
            max_concurrent_trials=campaign.concurrent,
            reuse_actors=True,  # with their workers: `au_dist.runs.worker_group`
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=RECORDS,
            storage_path=path,
            storage_filesystem=filesystem,
            # The run's own checkpoints are all there is to keep of a trial.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        raise _for_people(error, campaign) from error


def _name(trial: Any) -> str:
    return trial_name(trial.config["number"])


def _for_people(error: BaseException, campaign: Campaign) -> AuDistError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AuDistError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return TrainError(
        "The campaign stopped",
        where=campaign.place.uri,
        found=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300],
        fix="The same command goes on with it; --debug shows the traceback.",
    )
