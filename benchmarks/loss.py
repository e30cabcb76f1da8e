"""Time and peak memory of AUNCE, forward and backward: its forms side by side, in one run.

    python benchmarks/loss.py                     2N of 1024, 2048 and 4096
    python benchmarks/loss.py --candidates 32768 --forms plain
    python benchmarks/loss.py --device cuda       the Triton kernels too
    python benchmarks/loss.py --tiny              2N of 64, once: a few seconds

Each measurement has a process of its own, whose peak memory is counted above what it held before the loss. Ratios are
to the first form of the table. The kernels' compilation is not timed. On CUDA the plain form is what a machine without
Triton runs: its process cannot import it.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

AUS, WIDTH, TEMPERATURE = 12, 256, 0.5

#: What runs where when no forms are asked for.
FORMS = {"cpu": ["dense", "plain"], "cuda": ["dense", "plain", "triton"]}


def measure(form: str, candidates: int, kind: str, repeats: int, device: str) -> dict[str, float]:
    """Measure one form in this process."""
    if form == "plain":
        sys.modules["triton"] = None  # type: ignore[assignment]  # as where it is not installed
    import torch
    import torch.nn.functional as F
    from dense_aunce import dense_aunce

    from au_dist.model.losses import aunce_loss, draw_kinds
    from au_dist.model.tiles import form_for

    generator = torch.Generator().manual_seed(0)
    z1, z2 = (
        F.normalize(torch.randn(candidates // 2, AUS, WIDTH, generator=generator), dim=-1).to(device).requires_grad_()
        for _ in range(2)
    )
    rates = torch.linspace(0.1, 0.6, AUS)
    y = (torch.rand(candidates // 2, AUS, generator=generator) < rates).long().to(device)
    odds = {"drawn": (0.2, 0.6, 0.2), "mean": (0.0, 1.0, 0.0)}[kind]
    kinds = draw_kinds(odds, AUS, generator).to(device)
    used = form_for(z1[:, 0], z2[:, 0]).__name__
    if form != "dense" and not used.endswith(f"tiles_{form}"):
        raise SystemExit(f"The form asked for is {form}; on {device} {used} is used")
    # One small step first: libraries start their threads.
    few = slice(0, 32)
    (z1[few] * z2[few]).sum().backward()

    def step() -> tuple[float, torch.Tensor]:
        z1.grad = z2.grad = None
        begun = now(device)
        if form == "dense":
            loss = dense_aunce(z1, z2, y, kinds_NA=kinds, temperature=TEMPERATURE)
        else:
            loss = aunce_loss(z1, z2, y, kinds_A=kinds, temperature=TEMPERATURE)
        loss.backward()
        return now(device) - begun, loss

    before = _peak(device)
    if form == "triton":
        step()
    times, losses = zip(*(step() for _ in range(repeats)), strict=True)
    norm = float(z1.grad.norm()) if z1.grad is not None else 0.0
    mib = _peak(device) - before
    return {"seconds": statistics.median(times), "mib": mib, "loss": losses[-1].item(), "gradient": norm}


def now(device: str) -> float:
    """Return the time when all that the device was asked for is done, in seconds."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def _peak(device: str) -> float:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: list[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="*", default=[1024, 2048, 4096], help="2N")
    parser.add_argument("--kinds", nargs="*", default=["drawn", "mean"], choices=["drawn", "mean"])
    parser.add_argument("--device", default="cpu", choices=FORMS)
    parser.add_argument("--forms", nargs="*", choices=FORMS["cuda"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="2N of 64, drawn kinds, once")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.tiny:
        arguments.candidates, arguments.kinds, arguments.repeats = [64], ["drawn"], 1
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    print(f"A = {AUS}, D = {WIDTH}, float32, {arguments.device}, forward and backward, median of {arguments.repeats}")
    print("kinds of positives  2N     form      seconds  MiB above start  loss      gradient   time   memory")
    for kind in arguments.kinds:
        for candidates in arguments.candidates:
            first: dict[str, float] | None = None
            for form in arguments.forms or FORMS[arguments.device]:
                task = {"form": form, "candidates": candidates, "kind": kind, "repeats": arguments.repeats}
                task["device"] = arguments.device
                run = subprocess.run(
                    [sys.executable, __file__, "--one", json.dumps(task)], stdout=subprocess.PIPE, text=True, check=True
                )
                found = json.loads(run.stdout)
                shown = ""
                if first:
                    memory = f"1/{first['mib'] / found['mib']:.0f}" if found["mib"] > 0 else "none"
                    shown = f"{found['seconds'] / first['seconds']:5.2f}  {memory}"
                first = first or found
                print(
                    f"{kind:<19} {candidates:<6} {form:<8} {found['seconds']:8.4f}  {found['mib']:15.0f}  "
                    f"{found['loss']:.6f}  {found['gradient']:.7f}  {shown}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
