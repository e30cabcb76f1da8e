"""What the worker processes of test_engine.py run."""

import torch
from torch import nn

from au_dist.config import Engine as EngineConfig
from au_dist.config import Optim
from au_dist.dist.world import World

OPTIM = Optim(lr=1e-2, clip=0.5, weight_decay=0.01)
CLIPS = 8


class Small(nn.Module):
    """A frozen layer, two trained ones, odd sizes so that no world divides them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 7), nn.Linear(7, 1)
        self.frozen.requires_grad_(False)

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(self.frozen(x_BF)))).square().mean()


def part(step: int, index: int, world: World, accumulate: int) -> torch.Tensor:
    x_BF = torch.randn(CLIPS, 5, generator=torch.Generator().manual_seed(step))
    return x_BF.chunk(accumulate)[index].chunk(world.size)[world.rank]


def steps(world: World, zero: int, accumulate: int, first: int, last: int, saved: dict | None) -> dict:
    """Train from step `first` to `last`, from `saved` if given; return losses, norms, weights and moments."""
    from au_dist.dist.deepspeed_engine import Engine

    module = Small()
    if saved:
        module.load_state_dict(saved["weights"])
    micro = CLIPS // accumulate // world.size
    engine = Engine(module, EngineConfig(zero=zero), OPTIM, micro=micro, accumulate=accumulate, world=world)
    if saved:
        engine.restore(saved["weights"], saved["moments"], first, part(0, 0, world, accumulate))
    losses, norms = [], []
    for step in range(first, last):
        for index in range(accumulate):
            loss = engine.loss(part(step, index, world, accumulate))
            engine.learn(OPTIM.lr, loss)
            losses.append(float(loss))
        norms.append(engine.grad_norm)
    found = {"losses": losses, "norms": norms, "weights": engine.weights(), "moments": engine.moments()}
    engine.close()
    return found


def all_steps(world: World, cases: list[tuple]) -> list[dict]:
    """Run several cases in one set of processes: starting them is what takes time."""
    return [steps(world, *case) for case in cases]
