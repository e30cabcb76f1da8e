"""Whether another trial finds room now, on a cluster that others use too."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from au_dist.core.errors import ClusterError
from au_dist.recipes.recipe import Recipe
from au_dist.runs.room import Nodes, needs, there_is
from au_dist.train.plan import worker_counts
from au_dist.tuning.fit import fits, trials_at_once
from au_dist.tuning.presence import Standing

#: Seconds for which a look at the cluster is good.
LOOK_S = 1.0

#: Seconds for which a campaign that gave way leaves what it let go to the one that waits: its workers have to go first.
TURN_S = 30.0

#: Seconds for which a campaign gives way to others of which none begins a trial: they may have need of more.
PATIENT_S = 300.0


@dataclass(frozen=True)
class Wait:
    """Why no other trial may begin now.

    Attributes:
        words: The reason.
        own: It is only that the campaign's own trials fill the cluster.
        gives_way: Workers that wait for a trial are to go: another campaign has need of their room.
    """

    words: str
    own: bool = False
    gives_way: bool = False


@dataclass(frozen=True)
class Sight:
    """How a cluster is seen; each is asked anew.

    Attributes:
        total: What each node has.
        free: What of it is free.
        holders: Whose processes live there, other than this campaign's, in words.
        others: How other campaigns stand.
    """

    total: Callable[[], Nodes]
    free: Callable[[], Nodes]
    holders: Callable[[], Sequence[str]]
    others: Callable[[], Sequence[Standing]]


class Room:
    """Says whether another trial may begin.

    A trial whose workers have not begun yet, also another campaign's, is counted with those that ask: what is free may
    still hold its share.
    Campaigns that share a cluster come to as many trials each: one that has more than another which waits begins none,
    and for `TURN_S` seconds after that none either where it has as many, unless one has begun. Where none begins, it
    does so for `PATIENT_S` seconds at most.
    Workers that wait for a trial count as one that it has.

    Args:
        recipe: The recipe that trials start from.
        sight: The cluster.
        clock: Seconds.
    """

    def __init__(self, recipe: Recipe, sight: Sight, clock: Callable[[], float] = time.monotonic) -> None:
        self._recipe, self._sight, self._clock = recipe, sight, clock
        self._looked, self._asked = -float("inf"), (-1, -1, -1)
        self._gave_way, self._gives_since, self._running_then = -float("inf"), float("inf"), 0
        self._wait: Wait | None = None

    def wait(self, running: int, starting: int, idle: int = 0, anew: bool = False) -> Wait | None:
        """Return why no other trial may begin; None where one may.

        Args:
            running: Trials under way.
            starting: Those among them whose workers have not begun.
            idle: Groups of workers that wait for a trial.
            anew: Whether to look also where the last look is good yet.
        """
        if anew or self._asked != (running, starting, idle) or self._clock() - self._looked >= LOOK_S:
            self._wait = self._look(running, starting, idle)
            self._asked, self._looked = (running, starting, idle), self._clock()
        return self._wait

    def _look(self, running: int, starting: int, idle: int) -> Wait | None:
        try:
            if trials_at_once(self._recipe, self._sight.total(), running + 1) <= running:
                return Wait("this campaign's own trials fill the cluster", own=True)
        except ClusterError as error:  # a node has gone
            return Wait(str(error))
        free, others = self._sight.free(), self._sight.others()
        waiting = [other.running for other in others if other.waiting]
        theirs = sum(other.running for other in others)
        if not waiting or theirs > self._running_then:
            self._gave_way, self._gives_since = -float("inf"), float("inf")  # they have had their turn
        self._running_then = theirs
        begin = sum(other.starting for other in others)
        if not idle and not fits(self._recipe, free, starting + begin + 1):
            # Of those that start it is not known whether their share is still among what is free.
            first = f", {begin} of another campaign's being started" if begin else ""
            asked = f"a trial needs {needs(self._recipe, worker_counts(self._recipe)[-1])}"
            words = f"{asked}; {there_is(free, self._sight.total())}{first}{self._held()}"
            return Wait(words, own=starting > 0)
        now = self._clock()
        fewer = any(count < running + idle for count in waiting)
        if not fewer and not (now - self._gave_way < TURN_S and any(count == running for count in waiting)):
            return None
        self._gives_since = min(self._gives_since, now)
        if now - self._gives_since > PATIENT_S:
            return None
        if fewer:
            self._gave_way = now
            return Wait("another campaign on this cluster waits for room and has fewer trials", gives_way=True)
        return Wait("it is the turn of another campaign on this cluster, which waits for room")

    def _held(self) -> str:
        held = list(self._sight.holders())
        return f"; beside this campaign: {'; '.join(held)}" if held else ""


def with_those_to_come(living: Nodes, total: Nodes) -> Nodes:
    """Return what is free, with the nodes that an autoscaler starts when something asks for them: all of these is.

    Args:
        living: What is free on each living node.
        total: What each node has that lives or may be started, as `au_dist.cluster.preflight` lists them.
    """
    return [*living, *total[len(living) :]]
