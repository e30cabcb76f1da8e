"""What the verbs print."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


def say(text: str = "", err: bool = False) -> None:
    """Print a line."""
    typer.echo(text, err=err)


class Progress:
    """Prints the record of a run: validations, and a step every few seconds."""

    def __init__(self, every_s: float = 3.0) -> None:
        self.every_s, self.last = every_s, 0.0

    def __call__(self, row: dict[str, Any]) -> None:
        """Print a row if it is time."""
        import time

        if faults := row.get("unreadable"):
            say(f"step {row['step']:>6}  left out: {len(faults)} frames do not decode, e.g. {faults[0]}")
        if fault := row.get("damaged"):
            return say(f"a checkpoint is left out: {fault}")
        if gone := row.get("draining"):
            return say(f"a node is about to go: {gone}", err=True)
        if lost := row.get("lost"):
            return say(
                f"workers failed: {lost}; the run goes on from its last checkpoint if they may start again", err=True
            )
        if late := row.get("late"):
            return say(f"the run waits: {late}", err=True)
        if row.get("resumed"):
            return say(f"step {row['step']:>6}  going on from here")
        if stored := row.get("stored"):
            mib = stored["bytes"] / 2**20
            spent = f"; validated in {stored['validated_s']:.1f} s" if "validated_s" in stored else ""
            return say(f"step {row['step']:>6}  stored {mib:.1f} MiB in {stored['seconds']:.1f} s{spent}")
        if "steps" not in row:
            numbers = {name: value for name, value in row.items() if isinstance(value, float)}
            found = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
            say(f"step {row['step']:>6}  {found}")
            return
        if lost := row.get("skipped_clips"):
            say(f"step {row['step']:>6}  skipped: the loss is not finite, with {len(lost)} clips, e.g. {lost[0]}")
        if "left_out" in row:
            say(
                f"step {row['step']:>6}  left out: the gradient is too large for fp16; loss scale {row['loss_scale']:g}"
            )
            return
        now = time.monotonic()
        if now - self.last < self.every_s and row["step"] != row["steps"]:
            return
        self.last = now
        minutes, seconds = divmod(round(row["eta_s"]), 60)
        say(
            f"step {row['step']:>6}/{row['steps']}  epoch {row['epoch']:.2f}  loss {row.get('loss', math.nan):.4f}  "
            f"grad {row['grad_norm']:.3f}  lr {row['lr']:.2e}  {row['clips_per_s']:.0f} clips/s  "
            f"data wait {row['data_wait']:.0%}  left {minutes}:{seconds:02d}"
            + (f"  sets without a label {row['unlabelled_sets']}" if "unlabelled_sets" in row else "")
        )


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM sets: the polite way to end a job, used by schedulers of all kinds."""
    stop = threading.Event()

    def asked(*_: object) -> None:
        say("asked to stop: storing a checkpoint", err=True)
        stop.set()

    before = signal.signal(signal.SIGTERM, asked)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def number(value: float | None) -> str:
    """Return three decimals, or a dash."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table that can be read and can be cut: plain columns, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    for index, row in enumerate([columns, *rows]):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
        if index == 0:
            say("  ".join("-" * width for width in widths))


@contextmanager
def bar(what: str, total: int) -> Iterator[Any]:
    """Yield a function that advances a progress bar; silent where nobody watches.

    The function takes a rate to show, and how many are done where that is not one more.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    rate_column = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), rate_column)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total, rate="")

        def advance(rate: str = "", done: int | None = None) -> None:
            progress.update(task, advance=1 if done is None else None, completed=done, rate=rate)

        yield advance
