"""What the worker processes of test_engine.py run."""

import torch
from torch import nn

from au_dist.config.running import Engine as EngineConfig
from au_dist.config.running import Optim
from au_dist.dist.world import World

OPTIM = Optim(lr=1e-2, grad_clip=0.5, weight_decay=0.01)
CLIPS = 8

#: Learning rates of the first trained layer: two groups of parameters.
SHARES = {"first.weight": 0.5, "first.bias": 0.5}


class Small(nn.Module):
    """A frozen layer, two trained ones, odd sizes so that no world divides them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 7), nn.Linear(7, 1)
        self.frozen.requires_grad_(False)

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(self.frozen(x_BF)))).float().square().mean()


def part(step: int, index: int, world: World, accumulate: int) -> torch.Tensor:
    x_BF = torch.randn(CLIPS, 5, generator=torch.Generator().manual_seed(step))
    return x_BF.chunk(accumulate)[index].chunk(world.size)[world.rank]


def steps(
    world: World, config: dict, accumulate: int, size: float | None, first: int, last: int, saved: dict | None
) -> dict:
    """Train from step `first` to `last`, from `saved` if given; return losses, norms, weights and moments."""
    from au_dist.dist.deepspeed_engine import DeepSpeedEngine

    module = Small()
    config = EngineConfig(**config)
    if saved:
        module.load_state_dict(saved["weights"])
    micro = CLIPS // accumulate // world.size
    engine = DeepSpeedEngine(module, config, OPTIM, micro=micro, accumulate=accumulate, world=world, shares=SHARES)
    if saved:
        engine.restore(saved["weights"], saved["moments"], first, part(0, 0, world, accumulate))
    elif size:
        engine.scale.size = size
    losses, norms, left_out = [], [], []
    for step in range(first, last):
        for index in range(accumulate):
            loss = engine.loss(part(step, index, world, accumulate))
            engine.learn(OPTIM.lr, loss)
            losses.append(loss.item())
        norms.append(engine.grad_norm)
        left_out.append(engine.left_out)
    found = {
        "losses": losses,
        "norms": norms,
        "left_out": left_out,
        "weights": engine.weights(),
        "moments": engine.moments(),
    }
    engine.close()
    return found


def all_steps(world: World, cases: list[tuple]) -> list[dict]:
    """Run several cases in one set of processes: starting them is what takes time."""
    return [steps(world, *case) for case in cases]
