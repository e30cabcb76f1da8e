"""What the worker processes of test_ranks.py run: no DeepSpeed, which takes longer to load than all of it."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from au_dist.config.running import Optim
from au_dist.data.batches import ClipBatch
from au_dist.data.order import lanes_of
from au_dist.dist.collectives import all_gather, all_gather_objects, all_reduce_sum
from au_dist.dist.world import World
from au_dist.methods.aunce import Aunce
from au_dist.methods.learners.aunce import AunceLoss, AunceTask
from au_dist.model.drop_path import DropPath, draw_alike
from au_dist.model.norm import SharedBatchNorm
from au_dist.train.events import Leaving
from au_dist.train.loop import Loop
from au_dist.train.plan import BatchPlan

CLIPS, LANES, SIZE, AUS, WIDTH = 16, 8, 4, 3, 6

KINDS = {
    "mean": {"positive_weights": (0, 1, 0, 0)},
    "other view": {"positive_weights": (0, 0, 1, 0)},
    "released": {"mode": "released", "positive_weights": (0, 1, 0, 0)},
    "drawn for each anchor": {"positive_weights": (1, 1, 1, 1), "draw": "anchor"},
    "layers left out": {"positive_weights": (0, 1, 0, 0)},
}


class Small(nn.Module):
    """Pixels to embeddings: a normalised layer that samples may go round in part, in float64 up to the loss."""

    def __init__(self, drop_path: float) -> None:
        super().__init__()
        self.drop = DropPath(drop_path)
        torch.manual_seed(0)
        self.layer = nn.Linear(3 * SIZE * SIZE, AUS * WIDTH, bias=False).double()
        self.norm = SharedBatchNorm(AUS * WIDTH)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        z_BF = self.layer(x_BCHW.flatten(1))
        z_BF = self.norm(z_BF + self.drop(z_BF.sin()))
        return nn.functional.normalize(z_BF.unflatten(1, (AUS, WIDTH)), dim=-1)


def averaged(module: nn.Module, loss: torch.Tensor, world: World) -> dict[str, Any]:
    """Return a loss and its gradients as an engine would use them: averages over ranks."""
    loss.backward()
    found = [loss.detach().double(), *(p.grad.double() for p in module.parameters())]
    if world.size > 1:
        for tensor in found:
            dist.all_reduce(tensor)
    return {"loss": found[0] / world.size, "gradients": [tensor / world.size for tensor in found[1:]]}


def contrast(world: World, kind: str) -> dict[str, Any]:
    """Return what AUNCE makes of a contrast set of which each rank has its lanes."""
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(CLIPS, 3, SIZE, SIZE, generator=generator, dtype=torch.float64) for _ in range(2)]
    y_BA = (torch.rand(CLIPS, AUS, generator=generator) < 0.5).float()
    # Uneven: the first rank knows fewer labels than the others, so a mean of rank means would be wrong.
    valid_BA = torch.rand(CLIPS, AUS, generator=generator) < torch.linspace(0.3, 1.2, CLIPS)[:, None]
    mine = [clip for lane in lanes_of(world.rank, world.size, LANES) for clip in (2 * lane, 2 * lane + 1)]
    small = Small(0.4 if kind == "layers left out" else 0.0)
    module = AunceTask(small, AunceLoss(Aunce(**KINDS[kind]), torch.tensor([1.0, 0.0, 1.0]), 5, LANES, world))
    draw_alike(module, lambda rows: world.own_rows(torch.rand, rows, 2, LANES))
    torch.manual_seed(3)
    return averaged(module, module(tuple(view[mine] for view in views), y_BA[mine], valid_BA[mine], 7), world)


def exact(world: World) -> dict[str, Any]:
    """Return a loss in float64 in which every rank weighs what it gathers and adds up in its own way."""
    generator = torch.Generator().manual_seed(2)
    whole_NF = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    weight_NN = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    mine = torch.arange(8).chunk(world.size)[world.rank]
    layer = nn.Linear(5, 5, bias=False).double()
    nn.init.eye_(layer.weight)
    x_MF = layer(whole_NF[mine])
    pairs_MN = x_MF @ all_gather(x_MF, world).T + all_reduce_sum(x_MF.square().sum(), world)
    # The losses of all ranks add up to that of one.
    return averaged(layer, world.size * (weight_NN[mine] * pairs_MN.sin()).sum(), world)


class Engine:
    """Counts what is learnt; updates nothing."""

    left_out, scale, grad_norm = False, None, 1.0

    def __init__(self, broken: set[int]) -> None:
        self.broken, self.learnt = broken, list[tuple[float, float]]()
        self.drawn = dict[int, float]()

    def loss(self, views: object, y_BA: object, valid_BA: object, number: int) -> torch.Tensor:
        self.drawn[number] = float(torch.rand(()))
        return torch.tensor(float("nan") if number in self.broken else float(number))

    def no_loss(self, *inputs: object) -> torch.Tensor:
        return torch.tensor(0.0)

    def learn(self, lr: float, loss: torch.Tensor) -> None:
        self.learnt.append((lr, float(loss)))


class Host:
    """Keeps everything at hand; the last rank is asked to stop in a contrast set. What is saved is stored at once."""

    def __init__(self, world: World, asked: int | None, how: Leaving) -> None:
        self.world, self.asked, self.how, self.number = world, asked, how, 0
        self.rows, self.saved, self.reported = [], [0], []

    def idle(self) -> tuple[Any, ...]:
        return (None,) * 4

    def validate(self) -> dict[str, Any]:
        return {"val_auc": 0.5}

    def record(self, event: Any) -> None:
        self.rows.append(event.row())

    def save(self, step: int, metrics: dict[str, Any]) -> None:
        self.saved.append(step)

    def stored(self, wait: bool = False) -> int:
        return self.saved[-1] if self.world.is_leader else 0

    def report(self, step: int, metrics: dict[str, Any]) -> None:
        self.reported.append(step)

    def at(self, phase: str, number: int) -> None:
        self.number = number

    def leaving(self) -> Leaving:
        asked = self.asked is not None and self.world.rank == self.world.size - 1 and self.number >= self.asked
        return self.how if asked else Leaving.NO


def batches() -> Iterator[ClipBatch]:
    number = 0
    while True:
        frame = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
        draws = torch.tensor([0.5, 0.5, 0, 1, 1, 1, 0, 0, 0]).expand(1, 2, -1)
        ids = (f"clip-{number}-0", f"clip-{number}-1")
        yield ClipBatch(ids, (0, 0), frame, draws, torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool))
        number += 1


def loop(
    world: World, asked: int | None = None, broken: tuple[int, ...] = (), how: Leaving = Leaving.STORED
) -> dict[str, Any]:
    """Return what became of steps of two contrast sets, of which the last rank's have no loss where `broken`."""
    plan = BatchPlan(
        clips=8,
        contrast=4,
        accumulate=2,
        micro=2,
        take=1,
        world=world.size,
        epoch_clips=100,
        steps=7,
        warmup=2,
        every=3,
    )
    engine = Engine(set(broken) if world.rank == world.size - 1 else set())
    host = Host(world, asked, how)
    Loop(
        plan=plan, start=0, batches=batches(), engine=engine, optim=Optim(lr=1.0), unreadable=0.01,         size=SIZE,
        seed=4, world=world, host=host,
    ).run()  # fmt: skip
    return {
        "rows": host.rows,
        "saved": host.saved[1:],
        "reported": host.reported,
        "learnt": engine.learnt,
        "drawn": engine.drawn,
    }


def everything(world: World) -> dict[str, Any]:
    """Run all of it in one set of processes: starting them is what takes time."""
    return {
        "contrast": {kind: contrast(world, kind) for kind in KINDS},
        "exact": exact(world),
        "objects": all_gather_objects(world.rank, world),
        "whole": loop(world),
        "broken": loop(world, broken=(2, 4, 5)),
        # Last, because ranks that do not agree wait for each other.
        "asked": loop(world, asked=7),
        "dropped": loop(world, asked=7, how=Leaving.AT_ONCE),
    }
