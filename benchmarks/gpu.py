"""Everything of this project that runs on a GPU, tried and measured there in a few minutes, one report.

    python benchmarks/gpu.py                      writes benchmarks/results/gpu-<device>-<date>.md (`make gpu`)
    python benchmarks/gpu.py --tiny               the same way on a CPU, small: no measurement
    python benchmarks/gpu.py --budget 300         seconds in all; what does not fit any more is named

The tests that are marked `gpu` first, then the loss in its forms, decoding, and steps of AUNCE through DeepSpeed. Each
has a process of its own: one that fails or runs out of memory is a row of the report and ends no other.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loss import AUS, WIDTH, now

ROOT = Path(__file__).resolve().parents[1]

#: Seconds for all, below the ten minutes for which a machine is often lent, and the most for one measurement.
BUDGET_S, MOST_S = 540, 90

#: Multiplications and additions of one forward pass of Swin-B at 224 pixels (torchvision's figure). With the backward
#: pass there are three times as many; each is two operations.
SWIN_B_MACS = 15.43e9


@dataclass(frozen=True)
class Step:
    """A step of AUNCE that is measured.

    Attributes:
        name: What the row is called.
        encoder: The image encoder.
        size: Side of the input in pixels.
        clips: Images of a contrast set; each is seen in two views.
        precision: Of products.
        zero: ZeRO stage.
        recompute: Activation checkpointing.
        compiled: `torch.compile` of the network.
        steps: Steps that are timed, after two that are not.
    """

    name: str
    encoder: str = "swin_b"
    size: int = 224
    clips: int = 32
    precision: str = "bf16"
    zero: int = 0
    recompute: bool = False
    compiled: bool = False
    steps: int = 8


PLAIN = Step("bf16")
STEPS = (
    PLAIN,
    replace(PLAIN, name="float32", precision="fp32"),
    replace(PLAIN, name="bf16, activation checkpointing", recompute=True),
    replace(PLAIN, name="bf16, ZeRO 1", zero=1),
    replace(PLAIN, name="bf16, ZeRO 2", zero=2),
    replace(PLAIN, name="bf16, ZeRO 3", zero=3),
)

#: Tried last, for it may take long.
COMPILED, COMPILED_S = replace(PLAIN, name="bf16, torch.compile", compiled=True), 180

#: What is tested first: what is marked, and that the kernels' numbers are those of the other forms, here without an
#: interpreter.
TESTS = {
    "Tests that are marked `gpu`": ["-m", "gpu", "tests"],
    "Tests of the loss's kernels": ["tests/model/test_tiles_triton.py", "tests/model/test_losses.py"],
}

#: The largest contrast set is sought among these, with activation checkpointing.
LARGER = (64, 128, 256, 512, 1024)


def tiny(step: Step) -> Step:
    """Return a step that a CPU does in seconds."""
    return replace(step, encoder="tiny", size=32, clips=8, steps=1, precision="fp32", compiled=False)


def measure_step(step: Step, device: str) -> dict[str, float]:
    """Measure steps in this process, alone in a group of its own (NCCL, or gloo on a CPU)."""
    import torch
    import torch.distributed as dist

    from au_dist.config.running import Engine, Optim
    from au_dist.config.sections import Model
    from au_dist.dist.deepspeed_engine import DeepSpeedEngine
    from au_dist.dist.world import World
    from au_dist.methods.aunce import Aunce
    from au_dist.methods.learners.aunce import AunceLoss, AunceTask
    from au_dist.model.encoder import recompute
    from au_dist.model.network import AUNetwork

    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")  # DeepSpeed asks for them
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    with tempfile.TemporaryDirectory() as folder:
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{folder}/group", rank=0, world_size=1)
        torch.manual_seed(0)
        place = torch.device("cuda:0" if device == "cuda" else "cpu")
        world = World(0, 1, place)
        network = AUNetwork(Model(encoder=step.encoder, embed_dim=WIDTH), AUS, step.size)
        recompute(network, step.recompute)
        if step.compiled:
            network.compile()
        task = AunceTask(network, AunceLoss(Aunce(), torch.ones(AUS), 0, 1, world))
        settings = Engine(precision=step.precision, zero=step.zero)
        engine = DeepSpeedEngine(task, settings, Optim(), micro=step.clips, accumulate=1, world=world)
        views = tuple(torch.randn(step.clips, 3, step.size, step.size, device=place) for _ in range(2))
        y_BA = torch.randint(0, 2, (step.clips, AUS), device=place).float()
        valid_BA = torch.ones_like(y_BA, dtype=torch.bool)

        def learn(number: int) -> float:
            loss = engine.loss(views, y_BA, valid_BA, number)
            engine.learn(1e-5, loss)
            return loss.item()

        for number in range(2):
            learn(number)
        begun = now(device)
        losses = [learn(2 + number) for number in range(step.steps)]
        seconds = (now(device) - begun) / step.steps
        mib = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
        engine.close()
        dist.destroy_process_group()
    if not all(map(math.isfinite, losses)):
        raise SystemExit(f"The loss is not finite: {losses}")
    return {"images": 2 * step.clips / seconds, "mib": mib, "loss": losses[-1]}


def measure_products(device: str) -> dict[str, float]:
    """Return what large products of matrices reach here, in operations a second: what others are compared to."""
    import torch

    side, found = (8192 if device == "cuda" else 256), {}
    torch.backends.cuda.matmul.allow_tf32 = True
    for name, kind in (("bf16", torch.bfloat16), ("tf32", torch.float32)):
        a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        for _ in range(3):
            a @ b
        begun = now(device)
        for _ in range(10):
            a @ b
        found[name] = 10 * 2 * side**3 / (now(device) - begun)
    return found


def measure_decode(device: str, count: int, side: int) -> dict[str, float]:
    """Return JPEGs a second, decoded by one core and, on CUDA, by nvJPEG in batches."""
    import numpy as np
    import simplejpeg
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    from au_dist.data.decode import on_gpu
    from au_dist.data.jpeg import pixels, stack

    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (64, side // 8, side // 8, 3)).astype(np.uint8)
    jpegs = [simplejpeg.encode_jpeg(np.kron(picture, np.ones((8, 8, 1), np.uint8)), 92) for picture in coarse]
    jpegs = [jpegs[k % len(jpegs)] for k in range(count)]
    begun = time.perf_counter()
    stack((pixels(jpeg, side) for jpeg in jpegs), side)
    found = {"cpu": count / (time.perf_counter() - begun)}
    if device == "cuda":
        decode, place = on_gpu(torch.device("cuda:0"), side), torch.device("cuda:0")
        raw = [torch.frombuffer(bytearray(jpeg), dtype=torch.uint8) for jpeg in jpegs[:64]]
        decode_jpeg(raw, mode=ImageReadMode.RGB, device=place)  # fails where nvJPEG does; `on_gpu` would go to the CPU
        decode(jpegs[:64])
        begun = now(device)
        for first in range(0, count, 256):
            decode(jpegs[first : first + 256])
        found["gpu"] = count / (now(device) - begun)
    return found


class Report:
    """Lines of Markdown, and the time that is left for more of them.

    Args:
        budget_s: Seconds in all.
        out: Where the lines are, from the first on: a machine may be taken away.
        most_s: Seconds for one measurement, where it says no other.
    """

    def __init__(self, budget_s: float, out: Path, most_s: float = MOST_S) -> None:
        self.lines: list[str] = []
        self.ends, self.out, self.most_s = time.monotonic() + budget_s, out, most_s

    def say(self, *lines: str) -> None:
        """Add lines, and print them."""
        self.lines += lines
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text("\n".join(self.lines) + "\n")
        print("\n".join(lines), flush=True)

    def run(self, command: list[str], most_s: float | None = None) -> tuple[str, str]:
        """Return what a command printed, and in a few words why it did not come to its end."""
        left = min(most_s or self.most_s, self.ends - time.monotonic())
        if left < 5:
            return "", "not run: no time was left"
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, text=True, start_new_session=True)
            try:
                process.wait(left)
                why = ""
            except subprocess.TimeoutExpired:
                why = f"stopped after {left:.0f} s"
            # What it has started, too: it would keep the GPU.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said.seek(0)
            text = said.read()
        lines = [line for line in text.splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if re.search(r"\w(Error|Exit): ", line)), (lines or [""])[-1])
        return text, why or ("" if process.returncode == 0 else f"failed: {last[:160]}")

    def measured(self, what: str, most_s: float | None = None, **arguments: Any) -> tuple[dict[str, float], str]:
        """Return what a measurement in a process of its own found, or why it found nothing."""
        asked = json.dumps({"what": what, **arguments})
        text, why = self.run([sys.executable, __file__, "--one", asked], most_s)
        found = next((line for line in reversed(text.splitlines()) if line.startswith("found ")), None)
        return (json.loads(found.removeprefix("found ")), "") if found else ({}, why or "it printed nothing")


def one(asked: dict[str, Any]) -> dict[str, float]:
    """Measure in this process."""
    match asked.pop("what"):
        case "step":
            return measure_step(Step(**asked["step"]), asked["device"])
        case "products":
            return measure_products(**asked)
        case _:
            return measure_decode(**asked)


def write(report: Report, device: str, small: bool) -> None:
    """Measure everything."""
    import torch

    name = torch.cuda.get_device_name(0) if device == "cuda" else "CPU"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    today = datetime.datetime.now(datetime.UTC).date()
    report.say(f"# On a GPU: {name}", "", f"Commit {commit.strip()}, {today}; torch {torch.__version__}.", "")

    for what, chosen in TESTS.items():
        text, why = ("", "") if small else report.run([sys.executable, "-m", "pytest", "-q", *chosen], 120)
        summary = next((line for line in reversed(text.splitlines()) if " in " in line), why or "not run: a CPU")
        failed = [line for line in text.splitlines() if line.startswith("FAILED")]
        report.say(f"{what}: {summary.strip('= ')}", *failed, "")

    peak, why = report.measured("products", device=device)
    said = ", ".join(f"{kind} {rate / 1e12:.3g}" for kind, rate in peak.items()) or why
    report.say(f"Large products of matrices, in 10^12 operations a second: {said}.", "")

    report.say("## Loss: forms side by side", "", "```")
    sizes = ["--tiny"] if small else ["--candidates", "1024", "4096", "16384", "--kinds", "drawn"]
    forms = [] if small else ["--forms", "plain", "triton"]
    text, why = report.run([sys.executable, "benchmarks/loss.py", "--device", device, *sizes, *forms])
    report.say(*(text or why).rstrip().splitlines())
    dense = [] if small else ["--candidates", "1024", "2048", "--kinds", "drawn", "--forms", "dense"]
    if dense:
        text, why = report.run([sys.executable, "benchmarks/loss.py", "--device", device, *dense])
        report.say(*(text or why).rstrip().splitlines())
    report.say("```", "", *_roofline(report, peak), "")

    found, why = report.measured("decode", device=device, count=64 if small else 8192, side=32 if small else 224)
    rates = " and ".join(f"{rate:.0f} by {'nvJPEG' if kind == 'gpu' else 'one core'}" for kind, rate in found.items())
    report.say("## Decoding", "", f"JPEGs a second: {rates or why}.", "")

    report.say("## Steps of AUNCE through DeepSpeed, alone in a group", "")
    report.say("| | images a step | images/s | memory, MiB | of bf16's peak | loss |", "|---|---|---|---|---|---|")
    for step in STEPS[:1] if small else STEPS:
        _row(report, tiny(step) if small else step, device, peak)
    for clips in () if small else LARGER:
        larger = replace(PLAIN, name="bf16, activation checkpointing", recompute=True, clips=clips, steps=2)
        if _row(report, larger, device, peak):
            break
    if not small:
        _row(report, COMPILED, device, peak, COMPILED_S)


def _row(report: Report, step: Step, device: str, peak: dict[str, float], most_s: float | None = None) -> str:
    found, why = report.measured("step", most_s, step=asdict(step), device=device)
    if why:
        report.say(f"| {step.name} | {2 * step.clips} | {why.replace('|', '/')} | | | |")
        return why
    reached = 6 * SWIN_B_MACS * found["images"] / peak["bf16"] if step.encoder == "swin_b" and "bf16" in peak else None
    share = "" if reached is None else f"{reached:.0%}"
    cells = (step.name, 2 * step.clips, f"{found['images']:.0f}", f"{found['mib']:.0f}", share, f"{found['loss']:.4f}")
    report.say(f"| {' | '.join(map(str, cells))} |")
    return ""


def _roofline(report: Report, peak: dict[str, float]) -> list[str]:
    """Compare the kernels with what products alone would take: one forward, three backward, three TF32 passes each."""
    rows = []
    for line in report.lines:
        match = re.match(r"drawn +(\d+) +triton +([\d.]+)", line)
        if match and "tf32" in peak:
            candidates, seconds = int(match[1]), float(match[2])
            rate = 3 * 4 * 2 * candidates**2 * WIDTH * AUS / seconds
            rows.append(f"Kernels at 2N = {candidates}: {rate / peak['tf32']:.0%} of the rate of large TF32 products.")
    return rows


def main(argv: list[str] | None = None) -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds in all")
    parser.add_argument("--out", type=Path, help="the report; in benchmarks/results by default")
    parser.add_argument("--tiny", action="store_true", help="small, on a CPU")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        print("found " + json.dumps(one(json.loads(arguments.one))))
        return
    import torch

    if not arguments.tiny and not torch.cuda.is_available():
        print("There is no GPU that torch can use here: nothing was measured.")
        return
    device = "cpu" if arguments.tiny else "cuda"
    name = re.sub(r"\W+", "-", torch.cuda.get_device_name(0) if device == "cuda" else "cpu").strip("-").lower()
    today = datetime.datetime.now(datetime.UTC).date()
    out = arguments.out or ROOT / "benchmarks" / "results" / f"gpu-{name}-{today}.md"
    partial = out.with_suffix(".partial")
    write(Report(arguments.budget, partial, arguments.budget if arguments.tiny else MOST_S), device, arguments.tiny)
    os.replace(partial, out)
    print(f"\n{out}")


if __name__ == "__main__":
    main()
