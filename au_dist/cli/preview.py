"""What `au-dist plan` prints."""

from typing import TYPE_CHECKING

from au_dist.cli.terminal import say, table
from au_dist.core.words import span

if TYPE_CHECKING:
    from au_dist.runs.preview import Estimate, Measured, Preview
    from au_dist.tuning.forecast import Forecast


def show_preview(preview: "Preview") -> None:
    """Print a measured preview of a run."""
    plan, recipe, own = preview.plan, preview.context.recipe, preview.measured[0]
    device = "GPU" if recipe.workers.gpus else "CPU"
    views = f" in {recipe.views} views" if recipe.views > 1 else ""
    subjects = len(preview.context.split.train)
    say(f"epoch     {plan.epoch_clips} clips of {subjects} subjects, {recipe.frames} frame(s) of each")
    say(
        f"step      {plan.clips} clips: {plan.accumulate} contrast set(s) of {plan.contrast}{views}, "
        f"{plan.micro} on each of {plan.world} worker(s)"
    )
    say(f"run       {plan.steps} steps, {recipe.optim.epochs:g} epochs")
    say()
    table(
        ["measured", "clips/s", "s/step", "waits for data", f"MiB of {device} memory"],
        [_cells(some, plan.clips) for some in preview.measured],  # the recipe itself first and last
    )
    for some in preview.measured:
        if some.error:
            say(f"{some.change}: {some.error}", err=True)
    estimate = preview.estimate
    say()
    say(f"training    {span(estimate.training_s)}")
    say(
        f"validation  {span(estimate.validation_s)}  "
        f"({own.validation_s:.1f} s each, {own.first_s:.1f} s the first time)"
    )
    say(
        f"checkpoints {estimate.checkpoints} of {own.stored_mib:.1f} MiB, each stored in {own.stored_s:.1f} s "
        f"while training goes on; {estimate.stored_mib:.1f} MiB stay"
    )
    if round(estimate.waiting_s):
        say(f"waiting     {span(estimate.waiting_s)} for the store, while nothing is trained")
    say(
        f"in all      {span(estimate.total_s)}, {machine_hours(estimate)}, and {own.start_s:.0f} s until the first step"
    )
    say()
    for line in preview.advice or ("the recipe is as fast as anything that was measured",):
        say(f"advice    {line}")


def _cells(some: "Measured", clips: int) -> list[str]:
    name = some.change or "as it is"
    if some.error:
        return [name, "does not run", "", "", ""]
    return [name, f"{clips / some.step_s:.0f}", f"{some.step_s:.3f}", f"{some.waits:.0%}", f"{some.memory_mib:.0f}"]


def machine_hours(estimate: "Estimate | Forecast") -> str:
    """Return the GPU-hours of an estimate, or its CPU-hours where there is no GPU."""
    if estimate.gpu_hours:
        return f"{estimate.gpu_hours:.2f} GPU-hours"
    return f"{estimate.cpu_hours:.2f} CPU-hours"
