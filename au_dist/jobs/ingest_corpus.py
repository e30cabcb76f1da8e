"""From a corpus on disk to a published set of shards, a recording a Ray task.

Each task leaves the clips of its recording as a part in the set's place, and says at last that the part is whole. What
is done is not done again. When all parts are there they are put together in the order of the recordings, so that the
shards are the same however often the ingest was stopped, and the manifest is published.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from au_dist.errors import IngestError, ShardError
from au_dist.ingest.how import Recipe
from au_dist.ingest.sequences import Film, Found, Sequence
from au_dist.ingest.take_in import take_in
from au_dist.ingest.tree import Entry
from au_dist.ingest.video_spec import VideoReport
from au_dist.schema import Clip
from au_dist.shard_writer import read_part, write_part, write_shards
from au_dist.shards import MANIFEST, Manifest, Shard, read_manifest
from au_dist.storage import Store

PARTS, DONE, REPORT = "parts", "done.json", "ingest.json"

#: An ingest in which a larger share of the recordings is set aside ends with an error.
MOST_ASIDE = 0.5

#: Part of a part's name; changed when the same recording would give other clips.
VERSION = 1


@dataclass
class Summary:
    """What became of a corpus.

    Attributes:
        reports: A report a recording that was read, in order.
        aside: What was set aside → why.
        notes: What a person should know.
        done_before: Recordings that an earlier, stopped ingest had done.
        seconds: Wall clock of the recordings that were read now.
        frames_now: Frames of the recordings that were read now.
    """

    reports: list[VideoReport] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    done_before: int = 0
    seconds: float = 0.0
    frames_now: int = 0

    def total(self, name: str) -> int:
        """Return the sum of a number over all recordings."""
        return sum(getattr(report, name) for report in self.reports)

    def dropped(self) -> dict[str, int]:
        """Return reason → how many were left out, most first."""
        totals: dict[str, int] = {}
        for report in self.reports:
            for reason, times in report.dropped.items():
                totals[reason] = totals.get(reason, 0) + times
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def stages(self) -> dict[str, float]:
        """Return stage → seconds over all recordings."""
        return {stage: sum(report.seconds[stage] for report in self.reports) for stage in VideoReport(Path()).seconds}


Show = Callable[[VideoReport, int, int], None]


def ingest_corpus(
    found: Found,
    out: Store,
    recipe: Recipe,
    *,
    parallel: int,
    most_aside: float = MOST_ASIDE,
    show: Show = lambda report, done, total: None,
) -> tuple[Manifest, Summary]:
    """Take in the recordings of a corpus; Ray must be connected.

    Args:
        found: What an importer found.
        out: Where the set goes.
        recipe: How recordings are taken in.
        parallel: How many at a time.
        most_aside: Share of the recordings that may be set aside.
        show: Called after each recording with its report, how many are done and how many there are.

    Returns:
        The manifest and what became of the corpus.

    Raises:
        IngestError: Too much was set aside, or no clip came out.
        ShardError: The place holds another set.
        StorageError: The store fails; run again, the ingest goes on where it was.
    """
    source = source_of(recipe, found)
    if out.check().exists(MANIFEST):
        return _finished(out, source)
    summary = Summary(aside=dict(found.aside), notes=list(found.notes))
    done = _take_all(found, out, recipe, parallel, summary, most_aside, show)
    _check_aside(summary, len(found.sequences) + len(found.aside), most_aside, final=True)
    aus = len(recipe.aus)

    def clips() -> Iterator[Clip]:
        for sequence in found.sequences:
            yield from read_part(out, done.get(part_folder(sequence, recipe), ()), aus)

    if not summary.total("clips"):
        tracks, frames = summary.total("tracks"), recipe.spec.clip_frames
        raise IngestError(
            "No clip came out of these recordings",
            where=out.uri,
            found=f"{tracks} faces followed in {len(summary.reports)} recordings, none of them over {frames} frames",
            fix="Try a smaller --clip-frames (1 for pictures), --min-face or --min-confidence.",
        )
    coded = summary.total("labelled")
    manifest = write_shards(clips(), out, aus=recipe.aus, crop=recipe.crop, source={**source, "coded_frames": coded})
    out.write(REPORT, json.dumps(report_of(summary), indent=1).encode())
    out.delete(PARTS)
    return manifest, summary


def source_of(recipe: Recipe, found: Found) -> dict[str, Any]:
    """Return how a set is made, as its manifest keeps it: nothing that differs from one machine to the next."""
    options = {**asdict(recipe.options), **asdict(recipe.spec)}
    del options["threads"]
    if recipe.options.layout:
        options["layout"] = recipe.options.layout.model_dump(mode="json")
    if recipe.spec.landmarks:
        options["landmarks"] = recipe.spec.landmarks.name
    parts = {"partitions": found.partitions} if found.partitions else {}
    return {"kind": "corpus", "corpus": recipe.name, "importer": recipe.corpus, **options, **parts}


def report_of(summary: Summary) -> dict[str, Any]:
    """Return a summary as JSON has it."""
    return {
        "aside": summary.aside,
        "notes": summary.notes,
        "dropped": summary.dropped(),
        "recordings": [{**asdict(report), "path": str(report.path)} for report in summary.reports],
    }


def _finished(out: Store, source: dict[str, Any]) -> tuple[Manifest, Summary]:
    """The set is there: made by this very ingest, which may have been stopped while it cleared up, or another's."""
    manifest = read_manifest(out)
    same = json.loads(json.dumps(source))
    if {**manifest.source, **same} != manifest.source:
        raise ShardError("This place already holds other shards", where=out.uri, fix="Choose an empty place for --out.")
    out.delete(PARTS)
    summary = Summary(notes=["The set was there already; nothing was done."])
    if out.exists(REPORT):
        kept = json.loads(out.read(REPORT))
        summary.aside = kept["aside"]
        summary.reports = [VideoReport(**{**row, "path": Path(row["path"])}) for row in kept["recordings"]]
        summary.done_before = len(summary.reports)
    return manifest, summary


def _take_all(
    found: Found, out: Store, recipe: Recipe, parallel: int, summary: Summary, most_aside: float, show: Show
) -> dict[str, tuple[Shard, ...]]:
    """Have a Ray task take in each recording that is not done; return part → its files."""
    import ray
    from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

    task = ray.remote(num_cpus=1, max_retries=1)(_take_one)
    results: dict[str, tuple[VideoReport, tuple[Shard, ...]]] = {}
    waiting = []
    for sequence in found.sequences:
        folder = part_folder(sequence, recipe)
        if before := _read_done(out, folder):
            results[folder] = before
        else:
            waiting.append(sequence)
    summary.done_before, total = len(results), len(found.sequences)
    begun = time.monotonic()
    running: dict[Any, Sequence] = {}
    waiting.reverse()
    while waiting or running:
        while waiting and len(running) < parallel:
            sequence = waiting.pop()
            running[task.remote(sequence, out, recipe)] = sequence
        (ready, *_), _ = ray.wait(list(running))
        sequence = running.pop(ready)
        try:
            report, files = ray.get(ready)
        except (WorkerCrashedError, OutOfMemoryError) as error:
            why = "memory ran out" if isinstance(error, OutOfMemoryError) else "it was killed or crashed"
            report = VideoReport(Path(sequence.where), sequence.title)
            report.error, files = f"The process that read it ended twice: {why}.", ()
        except RayTaskError as error:
            for other in running:
                ray.cancel(other)
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        if report.error:
            summary.aside[sequence.title] = report.error
        results[part_folder(sequence, recipe)] = report, files
        summary.frames_now += report.frames
        show(report, len(results), total)
        _check_aside(summary, total + len(found.aside), most_aside, final=False)
    summary.seconds = time.monotonic() - begun
    summary.reports = [results[part_folder(sequence, recipe)][0] for sequence in found.sequences]
    return {folder: files for folder, (report, files) in results.items() if not report.error}


def _check_aside(summary: Summary, total: int, most: float, *, final: bool) -> None:
    if len(summary.aside) > most * total or (final and total == len(summary.aside)):
        name, why = next(iter(summary.aside.items()))
        raise IngestError(
            "Too many recordings cannot be taken in",
            where=name,
            expected=f"at most {most:.0%} of {total} set aside",
            found=f"{len(summary.aside)}; the first: {why}",
            fix="What is done is kept: mend the cause and run the same command again.",
        )


def _take_one(sequence: Sequence, out: Store, recipe: Recipe) -> tuple[VideoReport, tuple[Shard, ...]]:
    """Take in one recording and leave its part; runs in a Ray task."""
    report = VideoReport(Path(sequence.where), sequence.title)
    folder = part_folder(sequence, recipe)
    try:
        clips = take_in(sequence, recipe, report)
        files = write_part(clips, out, folder, aus=recipe.aus, crop=recipe.crop)
    except IngestError as error:
        report.error = str(error)
        return report, ()
    row = {**asdict(report), "path": str(report.path)}
    done = {"report": row, "files": [file.model_dump(mode="json") for file in files]}
    out.write(f"{folder}/{DONE}", json.dumps(done).encode())
    return report, files


def _read_done(out: Store, folder: str) -> tuple[VideoReport, tuple[Shard, ...]] | None:
    if not out.exists(f"{folder}/{DONE}"):
        return None
    done = json.loads(out.read(f"{folder}/{DONE}"))
    report = VideoReport(**{**done["report"], "path": Path(done["report"]["path"])})
    return report, tuple(Shard.model_validate(file) for file in done["files"])


def part_folder(sequence: Sequence, recipe: Recipe) -> str:
    """Return where a recording's part is: elsewhere when the recording, its labels or the way it is read changed."""
    frames = [sequence.frames.entry] if isinstance(sequence.frames, Film) else []
    files = {entry.name: _stamp(entry) for entry in (*frames, *sequence.labels.values())}
    content = [VERSION, repr(sequence), repr(recipe), files]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return f"{PARTS}/{digest}"


def _stamp(entry: Entry) -> list[int]:
    found = entry.path.stat()
    return [found.st_size, found.st_mtime_ns]
