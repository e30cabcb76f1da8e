"""Whether another trial finds room on a cluster that others use too."""

import pytest
from campaign_files import RECIPE

from au_dist.recipes.recipe import Recipe
from au_dist.tuning.presence import Standing
from au_dist.tuning.room import LOOK_S, PATIENT_S, TURN_S, Room, Sight, Wait, with_those_to_come

#: A worker of 0.5 CPU, and 0.5 CPU for its data.
BASE = Recipe.model_validate({**RECIPE, "name": "base", "shards": "shards", "runs": "runs"})


class Cluster:
    """A cluster that a test fills."""

    def __init__(self, *free: float) -> None:
        self.total, self.free, self.others, self.looks = [4.0] * len(free), list(free), list[Standing](), 0
        self.now = 0.0

    def room(self) -> Room:
        def free() -> list[dict[str, float]]:
            self.looks += 1
            return [{"CPU": cpus} for cpus in self.free]

        sight = Sight(
            lambda: [{"CPU": cpus} for cpus in self.total], free, lambda: ["job 02 (process 7)"], lambda: self.others
        )
        return Room(BASE, sight, lambda: self.now)


def test_the_recipe_asks_for_one_cpu_a_trial() -> None:
    assert (BASE.workers.count, BASE.workers.cpus, BASE.data.cpus) == (1, 0.5, 0.5)


def test_there_is_room_where_a_trial_fits() -> None:
    assert Cluster(1.0).room().wait(0, 0) is None
    wait = Cluster(0.9).room().wait(0, 0)
    assert wait == Wait(
        "a trial needs 1 × (0.5 CPU + 0.5 CPU for data); 0.9 of 4 CPU are free; beside this campaign: "
        "job 02 (process 7)"
    )


def test_trials_that_have_not_begun_count_with_those_that_ask() -> None:
    assert Cluster(1.5).room().wait(1, 0) is None
    assert Cluster(2.0).room().wait(1, 1) is None
    wait = Cluster(1.5).room().wait(1, 1)
    assert wait is not None
    assert wait.own  # they may have their share already: nothing to say, and nobody needs to give way


def test_workers_that_wait_for_a_trial_need_no_room_but_give_way() -> None:
    cluster = Cluster(0.0)
    assert cluster.room().wait(1, 0) is not None
    assert cluster.room().wait(1, 0, 1) is None
    cluster.others = [Standing(0, waiting=True)]
    words = "another campaign on this cluster waits for room and has fewer trials"
    assert cluster.room().wait(1, 0, 1) == Wait(words, gives_way=True)
    assert cluster.room().wait(0, 0, 1) is not None  # they hold what the other waits for
    cluster.others = []
    assert cluster.room().wait(4, 0, 1) == Wait("this campaign's own trials fill the cluster", own=True)


def test_those_of_other_campaigns_count_too() -> None:
    cluster = Cluster(1.5)
    cluster.others = [Standing(2, starting=1)]
    wait = cluster.room().wait(0, 0)
    assert wait is not None
    assert not wait.own
    assert "1.5 of 4 CPU are free, 1 of another campaign's being started; beside this campaign: " in wait.words
    cluster.free = [2.0]
    assert cluster.room().wait(0, 0) is None


def test_nodes_that_an_autoscaler_may_start_are_room() -> None:
    declared = [{"CPU": 1.0}, {"CPU": 8.0}, {"CPU": 8.0}]
    assert with_those_to_come([{"CPU": 0.0}], declared) == [{"CPU": 0.0}, {"CPU": 8.0}, {"CPU": 8.0}]
    assert with_those_to_come([{"CPU": 0.0}] * 3, declared) == [{"CPU": 0.0}] * 3


def test_what_each_node_has_is_what_counts() -> None:
    cluster = Cluster(0.4, 0.4, 0.4)
    wait = cluster.room().wait(0, 0)
    assert wait is not None
    assert "1.2 of 12 CPU are free, 0.4 CPU on one node" in wait.words


def test_own_trials_that_fill_the_cluster_are_no_news() -> None:
    wait = Cluster(4.0).room().wait(4, 0)
    assert wait is not None
    assert wait.own


def test_a_cluster_that_has_become_too_small_is_waited_for() -> None:
    cluster = Cluster(4.0)
    cluster.total = [0.5]
    wait = cluster.room().wait(0, 0)
    assert wait is not None
    assert not wait.own
    assert "Not even one trial fits" in wait.words


@pytest.mark.parametrize(
    ("other", "yields"),
    [
        (Standing(0, waiting=True), True),
        (Standing(1, waiting=True), False),
        (Standing(0), False),
        (Standing(2, waiting=True), False),
    ],
)
def test_campaigns_that_share_a_cluster_come_to_as_many_trials(other: Standing, yields: bool) -> None:
    cluster = Cluster(3.0)
    cluster.others = [other]
    assert (cluster.room().wait(1, 0) is not None) == yields


def test_what_a_campaign_lets_go_is_the_other_ones_to_take() -> None:
    """Otherwise both ask for it, and the one that gave way is there first."""
    cluster = Cluster(1.0)
    room, turn = cluster.room(), Wait("it is the turn of another campaign on this cluster, which waits for room")
    cluster.others = [Standing(0, waiting=True)]
    assert room.wait(0, 0) is None  # it has let nothing go
    assert room.wait(0, 0, 1) is not None
    assert room.wait(0, 0) == turn
    cluster.now += LOOK_S
    cluster.others = [Standing(1, waiting=True)]  # it has begun one, and waits for a second
    assert room.wait(1, 0) is None
    cluster.now += LOOK_S
    cluster.others = [Standing(0, waiting=True)]
    assert room.wait(0, 0) is None  # that was its turn
    assert room.wait(0, 0, 1) is not None
    assert room.wait(0, 0) == turn
    cluster.now += TURN_S - LOOK_S
    assert room.wait(0, 0) == turn
    cluster.now += LOOK_S
    assert room.wait(0, 0) is None  # it does not take it


def test_who_never_begins_is_not_given_way_to_for_ever() -> None:
    """It may have need of more than anybody lets go."""
    cluster = Cluster(3.0)
    room = cluster.room()
    cluster.others = [Standing(0, waiting=True)]
    for cluster.now in (0.0, PATIENT_S):
        wait = room.wait(1, 0)
        assert wait is not None
        assert wait.gives_way
    cluster.now += LOOK_S
    assert room.wait(1, 0) is None
    cluster.now += LOOK_S
    assert room.wait(2, 0) is None
    cluster.others = [Standing(1, waiting=True)]  # it has begun one
    cluster.now += LOOK_S
    assert room.wait(2, 0) is not None


def test_a_look_is_good_for_a_while_unless_something_has_begun() -> None:
    cluster = Cluster(0.0)
    room = cluster.room()
    assert room.wait(0, 0) == room.wait(0, 0)
    assert cluster.looks == 1
    room.wait(1, 0)
    assert cluster.looks == 2
    cluster.free, cluster.now = [4.0], LOOK_S
    assert room.wait(1, 0) is None
