"""From synthetic faces to a published set of shards."""

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from multiprocessing import active_children, get_context
from pathlib import Path

from au_dist.core.errors import IngestError, ShardError
from au_dist.core.schema import Clip
from au_dist.shards.format import MANIFEST, Manifest
from au_dist.shards.writer import write_shards
from au_dist.storage.store import Store
from au_dist.synthetic.clips import SynthSpec, synth_aus, synth_clips, synth_recipe


def ingest_synthetic(
    spec: SynthSpec,
    out: Store,
    statistics: Path | None = None,
    show: Callable[[int], None] = lambda clips: None,
    processes: int = 1,
) -> Manifest:
    """Make synthetic faces into shards, the same whatever the number of processes.

    Args:
        spec: What to make.
        out: Where the set goes.
        statistics: Label statistics; those of the package when None.
        show: Called with the number of clips made so far.
        processes: How many to make faces in.

    Raises:
        IngestError: The statistics cannot be used, or a process was killed.
    """
    _must_be_empty(out)
    source = {"kind": "synthetic", **asdict(spec)}
    workers = _pool(processes) if processes > 1 else nullcontext()
    with workers as pool:
        clips = _synth_in_parallel(spec, statistics, pool, processes) if pool else synth_clips(spec, statistics)

        def counted() -> Iterator[Clip]:
            for index, clip in enumerate(clips, 1):
                yield clip
                show(index)

        return write_shards(counted(), out, aus=synth_aus(spec, statistics), crop=synth_recipe(spec), source=source)


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes; whatever ends the block early ends them at once."""
    before = set(active_children())
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(active_children()) - before:
                child.terminate()
            raise


def _synth_in_parallel(
    spec: SynthSpec, statistics: Path | None, pool: ProcessPoolExecutor, processes: int
) -> Iterator[Clip]:
    """Make clips a subject a process, yielded in the order of the subjects, few subjects ahead."""
    waiting: deque[Future[list[Clip]]] = deque()
    try:
        for subject in range(spec.subjects):
            with _deaf():
                waiting.append(pool.submit(_synth_subject, spec, statistics, subject))
            if len(waiting) > 2 * processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise IngestError(
            "A process that makes faces was killed",
            found=f"{processes} processes",
            fix="Often there was not enough memory: use fewer with --processes.",
        ) from error


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that start meanwhile not hear Ctrl-C: the one that started them ends them, and says so.

    It hears it itself when they have started: another thread may catch the signal, which this one then would answer in
    the middle of a start.
    """
    heard: list[int] = []
    mine = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if mine else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if mine:
            signal.signal(signal.SIGINT, handler)
            if heard:
                signal.raise_signal(signal.SIGINT)


def _synth_subject(spec: SynthSpec, statistics: Path | None, subject: int) -> list[Clip]:
    return list(synth_clips(spec, statistics, [subject]))


def _must_be_empty(out: Store) -> None:
    if out.check().exists(MANIFEST):
        raise ShardError("This place already holds shards", where=out.uri, fix="Choose an empty place for --out.")
