"""What the worker processes of test_tasks.py run."""

import torch

from au_dist.config.running import Engine as EngineConfig
from au_dist.config.running import Optim
from au_dist.config.sections import Model
from au_dist.data.order import lanes_of
from au_dist.dist.world import World
from au_dist.methods.aunce import Aunce
from au_dist.methods.detection import Joint
from au_dist.methods.learners.aunce import AunceLoss, AunceTask
from au_dist.methods.learners.detection import DetectionTask
from au_dist.methods.learners.intensity import IntensityTask
from au_dist.methods.learners.predictive import PredictiveTask
from au_dist.methods.predictive import Predictive
from au_dist.model.clip_network import ClipNetwork
from au_dist.model.network import AUNetwork

CLIPS, LANES, SIZE, AUS = 16, 8, 16, 3

#: Predictive coding as published, and as it does not learn who is seen.
PREDICTIONS = {"predict": {}, "predict the motion": {"target": "change", "negatives": "clip", "views": 2}}

#: Frames in a row of each clip that networks with a memory read.
FRAMES = 4


def module_of(kind: str, world: World) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind in (*PREDICTIONS, "regress"):
        config = Model(embed_dim=8, bottleneck_channels=4, grid=2)
        reader = ClipNetwork(config, SIZE)
        if kind in PREDICTIONS:
            return PredictiveTask(reader, Predictive(blocks=FRAMES, frames=1, steps=2, **PREDICTIONS[kind]), world)
        return IntensityTask(reader, config, AUS, FRAMES, world)
    network = AUNetwork(Model(embed_dim=8, bottleneck_channels=4, num_neighbors=2), AUS, SIZE)
    rare_A, weight_A = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 2.0, 3.0])
    if kind == "detect":
        return DetectionTask(network, False, weight_A, world)
    if kind == "joint":
        loss = AunceLoss(Joint(draw="anchor"), rare_A, 5, LANES, world)
        return DetectionTask(network, False, weight_A, world, joint=(loss, 0.7))
    odds = {"highest": (1, 0, 0, 0), "mean": (0, 1, 0, 0), "view": (0, 0, 1, 0), "mixed": (1, 1, 1, 1)}
    mode, name, draw, *memory = kind.split("/")
    config = Aunce(mode=mode, positive_weights=odds[name], draw=draw, memory=2 if memory else 0)
    return AunceTask(network, AunceLoss(config, rare_A, 5, LANES, world, (CLIPS, 8)))


def gradient(world: World, kind: str, zero: int, precision: str = "fp32") -> dict:
    """Return loss and gradients of one contrast set, through the DeepSpeed engine."""
    from deepspeed.utils import safe_get_full_grad

    from au_dist.dist.deepspeed_engine import DeepSpeedEngine

    generator = torch.Generator().manual_seed(1)
    each = FRAMES if kind in (*PREDICTIONS, "regress") else 1
    rows = CLIPS * each
    views = [torch.randn(rows, 3, SIZE, SIZE, generator=generator) for _ in range(2)]
    y_BA = (torch.rand(rows, AUS, generator=generator) < 0.5).float()
    # Uneven: the first rank knows fewer labels than the others, so a mean of rank means would be wrong.
    valid_BA = torch.rand(rows, AUS, generator=generator) < torch.linspace(0.3, 1.2, rows)[:, None]
    clips = [clip for lane in lanes_of(world.rank, world.size, LANES) for clip in (2 * lane, 2 * lane + 1)]
    mine = [each * clip + frame for clip in clips for frame in range(each)]
    module = module_of(kind, world)
    micro = CLIPS // world.size
    engine = DeepSpeedEngine(
        module, EngineConfig(zero=zero, precision=precision), Optim(grad_clip=0), micro=micro, accumulate=1, world=world
    )
    inputs = (tuple(view[mine] for view in views), y_BA[mine], valid_BA[mine], 7)
    if kind.endswith("/memory"):  # of another set, the one before
        with torch.no_grad():
            engine.loss(tuple(view[mine].flip(3) * 0.5 for view in views), 1 - y_BA[mine], valid_BA[mine], 6)
    loss = engine._engine(*inputs)
    engine._engine.backward(loss)
    grads = {name: safe_get_full_grad(p) for name, p in engine._engine.module.named_parameters()}
    total = loss.detach().clone()
    if world.size > 1:
        torch.distributed.all_reduce(total)
    found = {"loss": float(total) / world.size, "grads": {n: g.clone() for n, g in grads.items() if g is not None}}
    engine._engine.step()
    engine.close()
    return found


def gradients(world: World, cases: list[tuple[str, int]]) -> list[dict]:
    """Run several cases in one set of processes."""
    return [gradient(world, *case) for case in cases]
