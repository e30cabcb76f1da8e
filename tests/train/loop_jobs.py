"""What the worker processes of test_loop.py run."""

from collections.abc import Iterator

import torch
from torch import nn

from au_dist.config.running import Engine as EngineConfig
from au_dist.config.running import Optim
from au_dist.core.errors import TrainError
from au_dist.data.batches import ClipBatch
from au_dist.dist.collectives import all_reduce_sum
from au_dist.dist.world import World
from au_dist.model.norm import SharedBatchNorm, share
from au_dist.runs.heartbeat import PHASES
from au_dist.train.events import Leaving
from au_dist.train.loop import Loop
from au_dist.train.plan import BatchPlan

CLIPS = 4


class Small(nn.Module):
    """A normalised layer whose loss has no value in some contrast sets, on the last rank only."""

    def __init__(self, broken: tuple[int, ...], steep: tuple[int, ...], world: World) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm, self.out = nn.Linear(12, 5, bias=False), SharedBatchNorm(5), nn.Linear(5, 1)
        self.broken, self.steep, self.world = broken, steep, world
        share(self, lambda x: all_reduce_sum(x, world))

    def forward(self, views, y_BA, valid_BA, contrast_set):
        x_BF = views[0].flatten(1)
        if contrast_set in self.broken and self.world.rank == self.world.size - 1:
            x_BF = x_BF * torch.nan
        error = (self.out(self.norm(self.layer(x_BF))) - y_BA).square()
        loss = (error * valid_BA).mean()
        # Finite, and its gradient is not.
        return loss + (self.layer.weight * 0).sum().sqrt() if contrast_set in self.steep else loss


def batches(world: World, unlabelled: tuple[int, ...], damaged: tuple[int, ...]) -> Iterator[ClipBatch]:
    number = 0
    while True:
        generator = torch.Generator().manual_seed(number)
        frame = torch.randint(0, 256, (CLIPS, 3, 2, 2), dtype=torch.uint8, generator=generator)
        mine = slice(world.rank * CLIPS // world.size, (world.rank + 1) * CLIPS // world.size)
        y_BA = torch.rand(CLIPS, 1, generator=generator)
        draws = torch.tensor([0.5, 0.5, 0, 1, 1, 1, 0, 0, 0]).expand(1, CLIPS, -1)
        valid = torch.full((CLIPS, 1), number not in unlabelled)
        ids = tuple(f"clip-{number}-{index}" for index in range(CLIPS))
        # Only the last rank sees the clip that does not decode.
        faults = (f"{ids[-1]} frame 0: no JPEG",) if number in damaged and mine.stop == CLIPS else ()
        yield ClipBatch(ids[mine], (0,) * CLIPS, frame[mine], draws[:, mine], y_BA[mine], valid[mine], faults)
        number += 1


class Host:
    """Keeps everything at hand; what is saved counts as stored after the next step.

    Args:
        engine: The engine.
        micro: Clips of this rank in a contrast set.
        world: This process among the workers.
        asked: After how many steps the last rank is asked to stop.
    """

    def __init__(self, engine, micro: int, world: World, asked: int | None) -> None:
        self.engine, self.micro, self.world, self.asked = engine, micro, world, asked
        self.rows, self.weights, self.saved, self.reported = [], [engine.weights()], [0, 0], []

    def idle(self):
        return (torch.zeros(self.micro, 3, 2, 2),), *(torch.zeros(self.micro, 1), torch.ones(self.micro, 1) > 0), -1

    def validate(self):
        return {"weights": len(self.weights)}

    def record(self, event):
        self.rows.append(event.row())

    def save(self, step, metrics):
        self.weights.append(self.engine.weights())
        self.saved.append(step)

    def stored(self, wait=False):
        return self.saved[-1 if wait else -2] if self.world.is_leader else 0

    def report(self, step, metrics):
        self.reported.append((len(self.weights), step, metrics))

    def at(self, phase, number):
        assert phase in PHASES

    def leaving(self):
        asked = self.asked is not None and self.world.rank == self.world.size - 1 and len(self.weights) > self.asked
        return Leaving.STORED if asked else Leaving.NO


def run(world: World, case: dict) -> dict:
    """Train some steps; return the record, the weights after each step, and the error if there was one."""
    from au_dist.dist.deepspeed_engine import DeepSpeedEngine

    accumulate, zero, broken = case.get("accumulate", 1), case.get("zero", 0), case.get("broken", ())
    module, steps = Small(broken, case.get("steep", ()), world), case.get("steps", 6)
    micro = CLIPS // world.size
    optim = Optim(lr=0.05, weight_decay=0.1, skip=case.get("skip", 0.05))
    engine = DeepSpeedEngine(module, EngineConfig(zero=zero), optim, micro=micro, accumulate=accumulate, world=world)
    plan = BatchPlan(
        clips=CLIPS * accumulate, contrast=CLIPS, accumulate=accumulate, micro=micro, take=1, world=world.size,
        epoch_clips=100, steps=steps, warmup=0, every=case.get("every", 1),
    )  # fmt: skip
    host = Host(engine, micro, world, case.get("asked"))
    error = None
    try:
        made = batches(world, case.get("unlabelled", ()), case.get("damaged", ()))
        Loop(
            plan=plan, start=0, batches=made, engine=engine, optim=optim,
            unreadable=case.get("unreadable", 0.01), size=2, seed=0, world=world, host=host,
        ).run()  # fmt: skip
    except TrainError as caught:
        error = str(caught)
    engine.close()
    rows = [row for row in host.rows if "steps" in row]
    return {"rows": rows, "weights": host.weights, "reported": host.reported, "error": error}


def all_runs(world: World, cases: list[dict]) -> list[dict]:
    """Run several cases in one set of processes."""
    return [run(world, case) for case in cases]
