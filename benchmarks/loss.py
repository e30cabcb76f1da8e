"""Time and peak memory of AUNCE, forward and backward: the tiled form beside the dense one, in one run.

    python benchmarks/loss.py                     2N of 1024, 2048 and 4096
    python benchmarks/loss.py --candidates 32768 --no-dense

Each measurement has a process of its own, whose peak memory is counted above what it held before the loss.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

AUS, WIDTH, TEMPERATURE = 12, 256, 0.5


def measure(form: str, candidates: int, kind: str, repeats: int) -> dict[str, float]:
    """Measure one form in this process."""
    import torch
    import torch.nn.functional as F

    sys.path.insert(0, str(Path(__file__).parent))
    from dense_aunce import dense_aunce

    from au_dist.model.losses import aunce_loss, draw_kinds

    generator = torch.Generator().manual_seed(0)
    z1, z2 = (
        F.normalize(torch.randn(candidates // 2, AUS, WIDTH, generator=generator), dim=-1).requires_grad_()
        for _ in range(2)
    )
    rates = torch.linspace(0.1, 0.6, AUS)
    y = (torch.rand(candidates // 2, AUS, generator=generator) < rates).long()
    odds = {"drawn": (0.2, 0.6, 0.2), "mean": (0.0, 1.0, 0.0)}[kind]
    kinds = draw_kinds(odds, AUS, generator)
    # One small step first: libraries start their threads.
    few = slice(0, 32)
    (z1[few] * z2[few]).sum().backward()
    before, times, loss = _peak(), [], torch.zeros(())
    for _ in range(repeats):
        z1.grad = z2.grad = None
        begun = time.perf_counter()
        if form == "dense":
            loss = dense_aunce(z1, z2, y, kinds_NA=kinds, temperature=TEMPERATURE)
        else:
            loss = aunce_loss(z1, z2, y, kinds_A=kinds, temperature=TEMPERATURE)
        loss.backward()
        times.append(time.perf_counter() - begun)
    norm = float(z1.grad.norm()) if z1.grad is not None else 0.0
    return {"seconds": statistics.median(times), "mib": _peak() - before, "loss": loss.item(), "gradient": norm}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="*", default=[1024, 2048, 4096], help="2N")
    parser.add_argument("--kinds", nargs="*", default=["drawn", "mean"], choices=["drawn", "mean"])
    parser.add_argument("--no-dense", action="store_true", help="only the tiled form")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    print(f"A = {AUS}, D = {WIDTH}, float32, forward and backward, median of {arguments.repeats}")
    print("kinds of positives  2N     form   seconds  MiB above start  loss      gradient   time   memory")
    for kind in arguments.kinds:
        for candidates in arguments.candidates:
            base: dict[str, float] | None = None
            for form in ("tiled",) if arguments.no_dense else ("dense", "tiled"):
                task = {"form": form, "candidates": candidates, "kind": kind, "repeats": arguments.repeats}
                run = subprocess.run(
                    [sys.executable, __file__, "--one", json.dumps(task)], capture_output=True, text=True, check=True
                )
                found = json.loads(run.stdout)
                shown = ""
                if base:
                    shown = f"{found['seconds'] / base['seconds']:5.2f}  1/{base['mib'] / found['mib']:.0f}"
                base = found
                print(
                    f"{kind:<19} {candidates:<6} {form:<6} {found['seconds']:7.2f}  {found['mib']:15.0f}  "
                    f"{found['loss']:.6f}  {found['gradient']:.7f}  {shown}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
