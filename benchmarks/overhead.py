"""What Ray Train, DeepSpeed and checkpoints cost a step, beside a bare PyTorch loop on the same batches.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --tiny          two turns of 2 steps of 16 clips

One Ray Train worker, ZeRO stage 0, AUNCE at 56 px in steps of 64 clips. Turns of 50 steps are taken one after the
other in one process: the run's own loop (engine, record, progress) without and with a checkpoint at its end, waited
for, and a loop of PyTorch alone. Medians over turns; batches are at hand, so reading is no part of it.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

#: Turns, steps of a turn, clips of a step, and subjects: as in the documents, and with `--tiny`.
FULL, TINY = (7, 50, 64, 12), (2, 2, 16, 3)

RECIPE = {
    "name": "overhead",
    "method": "aunce",
    "data": {"size": 56, "lanes": 8, "shuffle_row_groups": 4, "cpus": 0.5},
    "optim": {"epochs": 1.0, "lr": 1e-4},
    "checkpoint": {"last_k": 2},
    "workers": {"count": 1, "cpus": 1.0, "max_failures": 0},
}


def worker(config: dict[str, Any]) -> None:
    """Take turns in a Ray Train worker; called by Ray Train."""
    import ray
    import torch

    from au_dist.config.running import Optim
    from au_dist.dist.deepspeed_engine import DeepSpeedEngine
    from au_dist.runs.assembly import make_module
    from au_dist.runs.host import RunHost
    from au_dist.runs.worker import _batches, _world
    from au_dist.train.ledger import Ledger
    from au_dist.train.loop import Loop

    context, turns, steps = config["context"], config["turns"], config["steps"]
    recipe, world = context.recipe, _world(context.recipe)
    plan, lanes = context.plan(1), tuple(range(context.recipe.data.lanes))
    made = list(itertools.islice(_batches(context, plan, ray.put(context.source()), 0, lanes, world), 8))

    module = make_module(context, world)
    engine = DeepSpeedEngine(module, recipe.engine, recipe.optim, micro=plan.micro, accumulate=1, world=world)
    ledger = Ledger(context.run, 0, 1, lanes, plan.take, 0)
    host = RunHost(context, plan, 0, world, engine, ledger, config["coordinator"], config["lease"], dict, tuple)

    save = host.save

    def ours(turn: int, *, store: bool) -> float:
        start = turn * steps
        host.save = save if store else lambda *_: None  # type: ignore[method-assign]
        mine = replace(plan, steps=start + steps, every=steps)
        loop = Loop(
            plan=mine, start=start, batches=itertools.cycle(made), engine=engine, optim=Optim(lr=1e-4), unreadable=0.01,
            size=recipe.data.size, seed=recipe.seed, world=world, host=host,
        )  # fmt: skip
        begun = time.perf_counter()
        loop.run()
        return time.perf_counter() - begun

    bare = make_module(context, world)
    adam = torch.optim.AdamW(bare.parameters(), lr=1e-4, weight_decay=recipe.optim.weight_decay)

    def plain(turn: int) -> float:
        begun = time.perf_counter()
        for step, batch in enumerate(itertools.islice(itertools.cycle(made), steps)):
            loss = bare(batch.views(recipe.data.size), batch.y_BA, batch.valid_BA, turn * steps + step)
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bare.parameters(), recipe.optim.grad_clip)
            adam.step()
        return time.perf_counter() - begun

    found: dict[str, list[float]] = {"plain": [], "ours": [], "stored": []}
    for turn in range(turns):
        found["plain"].append(plain(turn))
        found["ours"].append(ours(2 * turn, store=False))
        found["stored"].append(ours(2 * turn + 1, store=True))
    host.close()
    engine.close()
    Path(config["out"]).write_text(json.dumps(found))


def measure(place: Path, turns: int, steps: int, clips: int, subjects: int) -> dict[str, list[float]]:
    """Return the seconds of each turn."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from au_dist.ingest.synthetic import ingest_synthetic
    from au_dist.recipes.recipe import Recipe
    from au_dist.runs.context import make_context
    from au_dist.runs.coordinator import start_coordinator
    from au_dist.runs.leases import acquire
    from au_dist.storage.store import open_store
    from au_dist.synthetic.clips import SynthSpec

    ingest_synthetic(SynthSpec(subjects, 2, 64, 1, size=64, stride=5), open_store(place / "shards"))
    changed = {"shards": f"{place}/shards", "runs": f"{place}/runs", "batch": {"clips": clips}}
    context = make_context(Recipe.model_validate({**RECIPE, **changed}))
    out = place / "found.json"
    TorchTrainer(
        worker,
        train_loop_config={
            "context": context, "coordinator": start_coordinator(), "lease": acquire(context.run), "turns": turns,
            "steps": steps, "out": str(out),
        },
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1.0}),
        run_config=RunConfig(name="ray", storage_path=str(place / "ray")),
        torch_config=TorchConfig(backend="gloo"),
    ).fit()  # fmt: skip
    return json.loads(out.read_text())


def rows(found: dict[str, list[float]], steps: int) -> Iterator[tuple[str, list[float], list[float]]]:
    """Yield what is compared, turn by turn."""
    yield "Ray Train and DeepSpeed, beside PyTorch alone", found["ours"], found["plain"]
    yield f"a checkpoint every {steps} steps, beside none", found["stored"], found["ours"]


def main(argv: list[str] | None = None) -> None:
    """Print ratios of time."""
    from au_dist.runs.session import ray_session

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int)
    parser.add_argument("--tiny", action="store_true", help="two turns of 2 steps of 16 clips")
    arguments = parser.parse_args(argv)
    turns, steps, clips, subjects = TINY if arguments.tiny else FULL
    with tempfile.TemporaryDirectory() as folder, ray_session():
        found = measure(Path(folder), arguments.turns or turns, steps, clips, subjects)
    print("| what | ms a step | of the other | smallest to largest |\n|---|---|---|---|")
    for name, mine, others in rows(found, steps):
        ratios = [one / other for one, other in zip(mine, others, strict=True)]
        step = 1000 * statistics.median(mine) / steps
        spread = f"{min(ratios):.3f}–{max(ratios):.3f}"
        print(f"| {name} | {step:.1f} | {statistics.median(ratios):.3f} | {spread} |")


if __name__ == "__main__":
    main()
