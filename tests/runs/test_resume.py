"""A run goes on where its newest checkpoint stopped: data, ledger and checkpoint count the same contrast sets."""

from types import SimpleNamespace

import pytest
import ray
import torch

from au_dist.data.order import Block, lanes_of
from au_dist.data.source import plan_reads, read_block
from au_dist.dist.world import World
from au_dist.recipes.recipe import Recipe
from au_dist.runs import worker
from au_dist.runs.context import Context, make_context
from au_dist.runs.host import checkpoint_state
from au_dist.runs.worker import begin
from au_dist.train import checkpoint
from au_dist.train.events import Event, Resumed


@pytest.fixture
def context(shards, tmp_path) -> Context:
    """A run whose steps are of two contrast sets."""
    raw = {
        "name": "x",
        "shards": shards.uri,
        "runs": str(tmp_path),
        "method": "aunce",
        "data": {"size": 32, "lanes": 2, "shuffle_row_groups": 2},
        "batch": {"clips": 8, "contrast": 4},
        "optim": {"epochs": 6},
        "workers": {"count": 2},
    }
    return make_context(Recipe.model_validate(raw))


def stored(context: Context, step: int) -> None:
    tensors = {"a": torch.zeros(2)}
    checkpoint.write(context.run, tensors, tensors, checkpoint_state(context, context.plan(2), step, {}))


class RunCoordinator:
    """A coordinator in this process that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.add = SimpleNamespace(remote=self.events.append)
        self.begin = SimpleNamespace(remote=lambda: None)


@pytest.fixture
def coordinator(monkeypatch) -> RunCoordinator:
    """What a coordinator answers is there at once."""
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    return RunCoordinator()


def sets_of(context: Context, start: int, rank: int, monkeypatch) -> list[tuple[str, ...]]:
    """Return the clips of each contrast set of a rank of two: what the data begins with, as the worker deals it."""
    source = context.source()

    def tables(kept: None, lanes: tuple[int, ...], world: int, position: int) -> SimpleNamespace:
        reads = plan_reads(source, lanes, position).tolist()
        return SimpleNamespace(iterator=lambda: (read_block(source, Block(*r[:-2]), *r[-2:]) for r in reads))

    monkeypatch.setattr(worker, "rank_dataset", tables)
    monkeypatch.setattr(worker, "iterate", lambda tables, _: tables)
    world = World(rank, 2, torch.device("cpu"))
    made = worker._batches(context, context.plan(2), None, start, lanes_of(rank, 2, 2), world)
    return [batch.clip_ids for batch in made]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("step", [1, 3])
def test_a_run_that_goes_on_sees_what_it_would_have_seen(context, coordinator, monkeypatch, step, rank):
    plan = context.plan(2)
    whole = sets_of(context, begin(context, coordinator), rank, monkeypatch)
    assert len(whole) == 2 * plan.steps
    stored(context, step)
    rest = sets_of(context, begin(context, coordinator), rank, monkeypatch)
    assert rest == whole[2 * step :]
    assert checkpoint.state(checkpoint.newest(context.run)).order.contrast_sets == 2 * step


def test_a_damaged_checkpoint_is_passed_over_said_and_never_newest_again(context, coordinator):
    for step in (1, 2, 3):
        stored(context, step)
    damaged = context.run.at(checkpoint.folder(3))
    damaged.write(checkpoint.WEIGHTS, damaged.read(checkpoint.WEIGHTS)[:-1])
    assert begin(context, coordinator) == 2
    assert checkpoint.steps(context.run) == [1, 2]
    first, second = coordinator.events
    assert "step-00000003/weights" in first.fault
    assert second == Resumed(2)
