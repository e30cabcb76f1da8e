"""What the verbs print."""

import codecs
import io
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from au_dist.train.events import Event, StepDone


#: What is printed in place of our own signs where a terminal cannot print them.
PLAIN = str.maketrans({"–": "-", "—": "-", "±": "+-", "→": "->", "×": "x", "…": "...", "°": " deg", "·": ".", "’": "'"})


def printable() -> None:
    """Let this process print whatever it is given: a terminal that has no such character gets another one.

    Our own signs become plain ones; others, as in the names of files, are spelled out as Python does, so that no name
    is taken for another.
    """
    codecs.register_error("au-dist", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="au-dist")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def say(text: str = "", err: bool = False) -> None:
    """Print a line."""
    # Not by typer: it would send UTF-8 to a terminal that says it has ASCII.
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def note(text: str) -> None:
    """Print what a person should know and need not act upon."""
    say(f"note: {text}", err=True)


class Progress:
    """Prints what happens in a run: validations, and a step every few seconds."""

    def __init__(self, every_s: float = 3.0) -> None:
        self.every_s, self.last = every_s, 0.0

    def __call__(self, event: "Event") -> None:
        """Print an event if it is time."""
        from au_dist.train import events

        match event:
            case events.StepDone():
                self._step(event)
            case events.Validated():
                _left_out(event.step, event.metrics.get("unreadable", ()))
                numbers = {name: value for name, value in event.metrics.items() if isinstance(value, float)}
                shown = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
                units = event.metrics.get("val_units")
                over = "" if units is None else f"  over {units} action units"
                say(f"step {event.step:>6}  {shown}{over}")
            case events.Stored():
                spent = "" if event.validated_s is None else f"; validated in {event.validated_s:.1f} s"
                say(f"step {event.step:>6}  stored {event.bytes / 2**20:.1f} MiB in {event.seconds:.1f} s{spent}")
            case events.Noted():
                note(event.words)
            case events.Resumed():
                say(f"step {event.step:>6}  going on from here")
            case events.CheckpointDamaged():
                say(f"a checkpoint is left out: {event.fault}")
            case events.Waiting():
                say(f"the run waits: {event.words}", err=True)
            case events.NodesDraining():
                say(f"a node is about to go: {event.words}", err=True)
            case events.WorkersLost():
                on = "the run goes on from its last checkpoint if they may start again"
                say(f"workers failed: {event.words}; {on}", err=True)

    def _step(self, event: "StepDone") -> None:
        _left_out(event.step, event.unreadable)
        begin = f"step {event.step:>6}"
        if lost := event.skipped_clips:
            say(f"{begin}  skipped: the loss is not finite, with {len(lost)} clips, e.g. {lost[0]}")
        if event.grad_norm is None:
            say(f"{begin}  left out: the gradient is too large for fp16; loss scale {event.loss_scale:g}")
            return
        now = time.monotonic()
        if now - self.last < self.every_s and event.step != event.steps:
            return
        self.last = now
        minutes, seconds = divmod(round(event.eta_s), 60)
        loss = math.nan if event.loss is None else event.loss
        say(
            f"{begin}/{event.steps}  epoch {event.epoch:.2f}  loss {loss:.4f}  grad {event.grad_norm:.3f}  "
            f"lr {event.lr:.2e}  {event.clips_per_s:.0f} clips/s  data wait {event.data_wait:.0%}  "
            f"left {minutes}:{seconds:02d}"
            + (f"  sets without a label {event.unlabelled_sets}" if event.unlabelled_sets else "")
        )


def _left_out(step: int, faults: Sequence[str]) -> None:
    if faults:
        say(f"step {step:>6}  left out: {len(faults)} frames do not decode, e.g. {faults[0]}")


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
