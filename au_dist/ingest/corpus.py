"""From a corpus on disk to a published set of shards, a recording a Ray task.

Each task leaves the clips of its recording as a part in the set's place, and says at last that the part is whole. What
is done is not done again. When all parts are there they are put together in the order of the recordings, so that the
shards are the same however often the ingest was stopped, and the manifest is published.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from au_dist.core.errors import AuDistError, IngestError, RecipeError, ShardError, StorageError
from au_dist.core.schema import Clip, au_names
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Film, Found, Sequence
from au_dist.ingest.how import IngestRecipe
from au_dist.ingest.take_in import CROPPED_LOOKS, CROPPED_SHARE, already_cropped, take_in
from au_dist.shards.format import MANIFEST, Manifest, Shard, read_manifest
from au_dist.shards.writer import read_part, write_part, write_shards
from au_dist.storage.store import Store
from au_dist.video.video_spec import VideoReport, VideoSpec

PARTS, DONE, REPORT = "parts", "done.json", "ingest.json"

#: An ingest in which a larger share of the recordings is set aside ends with an error.
MOST_ASIDE = 0.5

#: Part of a part's name; changed when the same recording would give other clips.
VERSION = 2


@dataclass
class Summary:
    """What became of a corpus.

    Attributes:
        reports: A report a recording that was read, in order.
        aside: What was set aside → why.
        notes: What a person should know.
        done_before: Recordings that an earlier, stopped ingest had done.
    """

    reports: list[VideoReport] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    done_before: int = 0

    @property
    def taken(self) -> list[VideoReport]:
        """The reports of the recordings that were not set aside."""
        return [report for report in self.reports if not report.error]

    def total(self, name: str) -> int:
        """Return the sum of a number over what was not set aside."""
        return sum(getattr(report, name) for report in self.taken)

    def dropped(self) -> dict[str, int]:
        """Return reason → how many were left out, most first."""
        totals: dict[str, int] = {}
        for report in self.taken:
            for reason, times in report.dropped.items():
                totals[reason] = totals.get(reason, 0) + times
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def stages(self) -> dict[str, float]:
        """Return stage → seconds over all recordings."""
        return {stage: sum(report.seconds[stage] for report in self.taken) for stage in VideoReport(Path()).seconds}


Show = Callable[[VideoReport, int, int], None]


def ingest_corpus(
    found: Found,
    out: Store,
    recipe: IngestRecipe,
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
    if not found.sequences:
        raise IngestError(
            "There is no recording with labels",
            where=recipe.corpus,
            found=" ".join(found.notes) or "nothing to take in",
        )
    source = source_of(recipe, found)
    if out.check().exists(MANIFEST):
        return _finished(out, recipe, source)
    summary = Summary(aside=dict(found.aside), notes=list(found.notes))
    folders = [part_folder(sequence, recipe) for sequence in found.sequences]
    parts = _take_all(found, folders, out, recipe, parallel, summary, most_aside, show)
    if not summary.total("clips"):
        tracks, frames = summary.total("tracks"), recipe.spec.clip_frames
        raise IngestError(
            "No clip came out of these recordings",
            where=out.uri,
            found=f"{tracks} faces followed in {len(summary.reports)} recordings, none of them over {frames} frames",
            fix="Try a smaller --clip-frames (1 for pictures), --min-face or --min-confidence.",
        )

    def clips() -> Iterator[Clip]:
        for files in parts:
            yield from read_part(out, files, len(recipe.aus))

    out.write(REPORT, json.dumps(report_of(summary), indent=1).encode())
    source["coded_frames"] = summary.total("labelled")
    manifest = write_shards(clips(), out, aus=recipe.aus, crop=recipe.crop, source=source)
    out.delete(PARTS)
    return manifest, summary


def seldom(manifest: Manifest) -> list[str]:
    """Say which action units occur in no labelled frame, and of which no label is known, a sentence each.

    Often it is a column that was not read as it was meant.
    """
    rates = dict(zip(au_names(manifest.aus), manifest.rates(), strict=True))
    never = [name for name, (labelled, positive, _) in rates.items() if labelled and not positive]
    unknown = [name for name, (labelled, _, _) in rates.items() if not labelled]
    return [
        *([f"{', '.join(never)}: never occurs in the labels that were read."] if never else []),
        *([f"{', '.join(unknown)}: no label is known."] if unknown else []),
    ]


def source_of(recipe: IngestRecipe, found: Found) -> dict[str, Any]:
    """Return how a set is made, as its manifest keeps it: nothing that differs from one machine to the next."""
    options = {**asdict(recipe.options), **asdict(recipe.spec)}
    del options["threads"], options["root"]
    if recipe.options.layout:
        options["layout"] = recipe.options.layout.model_dump(mode="json")
    if recipe.spec.landmarks:
        options["landmarks"] = recipe.spec.landmarks.name
    parts = {"partitions": found.partitions} if found.partitions else {}
    made = {"kind": "corpus", "corpus": recipe.name, "importer": recipe.corpus, "recordings": len(found.sequences)}
    return {**made, **options, **parts}


def report_of(summary: Summary) -> dict[str, Any]:
    """Return a summary as JSON has it."""
    return {
        "aside": summary.aside,
        "notes": summary.notes,
        "dropped": summary.dropped(),
        "recordings": [{**asdict(report), "path": str(report.path)} for report in summary.reports],
    }


def _finished(out: Store, recipe: IngestRecipe, source: dict[str, Any]) -> tuple[Manifest, Summary]:
    """The set is there: made by this very ingest, which may have been stopped while it cleared up, or another's."""
    manifest = read_manifest(out)
    # What the version that made it did not know yet was as it is by default.
    before = {**asdict(Options()), **asdict(VideoSpec())}
    there = {**before, **manifest.source, "aus": list(manifest.aus), "crop": manifest.crop}
    mine = json.loads(json.dumps({**source, "aus": recipe.aus, "crop": asdict(recipe.crop)}))
    if other := sorted(name for name in mine if mine[name] != there.get(name)):
        raise ShardError(
            "This place already holds other shards",
            where=out.uri,
            expected="; ".join(f"{name} {mine[name]}" for name in other[:3]),
            found="; ".join(f"{name} {there.get(name)}" for name in other[:3]),
            fix="Choose an empty place for --out.",
        )
    out.delete(PARTS)
    kept = json.loads(out.read(REPORT))
    reports = [_report_from(row) for row in kept["recordings"]]
    notes = ["The set was there already; nothing was done."]
    return manifest, Summary(reports, kept["aside"], notes, done_before=len(reports))


def _report_from(row: dict[str, Any]) -> VideoReport:
    return VideoReport(**{**row, "path": Path(row["path"])})


def _take_all(
    recordings: Found,
    folders: list[str],
    out: Store,
    recipe: IngestRecipe,
    parallel: int,
    summary: Summary,
    most_aside: float,
    show: Show,
) -> list[tuple[Shard, ...]]:
    """Have a Ray task take in each recording that is not done; return the files of each part, in order."""
    import ray
    from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

    task = ray.remote(num_cpus=1, max_retries=1)(_take_one)
    results = {place: before for place, folder in enumerate(folders) if (before := _read_done(out, folder))}
    waiting = [place for place in range(len(folders)) if place not in results]
    summary.done_before, total = len(results), len(folders)
    running: dict[Any, int] = {}
    waiting.reverse()
    while waiting or running:
        while waiting and len(running) < parallel:
            place = waiting.pop()
            running[task.remote(recordings.sequences[place], folders[place], out, recipe)] = place
        (ready, *_), _ = ray.wait(list(running))
        place = running.pop(ready)
        try:
            report, files = ray.get(ready)
        except (WorkerCrashedError, OutOfMemoryError) as error:
            why = "memory ran out" if isinstance(error, OutOfMemoryError) else "it was killed or crashed"
            report, files = _report_of(recordings.sequences[place]), ()
            report.error = f"The process that read it ended twice: {why}."
        except RayTaskError as error:
            for other in running:
                ray.cancel(other)
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        if report.error:
            summary.aside[report.name] = report.error
        results[place] = report, files
        show(report, len(results), total)
        _check_aside(summary, total + len(recordings.aside), most_aside)
        _check_cropped([report for report, _ in results.values()])
    summary.reports = [results[place][0] for place in range(total)]
    _check_aside(summary, total + len(recordings.aside), most_aside)
    return [results[place][1] for place in range(total)]


def _check_cropped(reports: list[VideoReport]) -> None:
    """Refuse a corpus of single pictures that are face crops already; longer recordings refuse themselves."""
    shares = [report.square_share for report in reports if report.square_share is not None]
    if len(shares) == CROPPED_LOOKS and median(shares) > CROPPED_SHARE:
        raise already_cropped(median(shares))


def _check_aside(summary: Summary, total: int, most: float) -> None:
    if len(summary.aside) > most * total:
        name, why = next(iter(summary.aside.items()))
        raise IngestError(
            "Too many recordings cannot be taken in",
            where=name,
            expected=f"at most {most:.0%} of {total} set aside",
            found=f"{len(summary.aside)}; the first: {why}",
            fix="What is done is kept: mend the cause and run the same command again.",
        )


def _report_of(sequence: Sequence) -> VideoReport:
    return VideoReport(Path(sequence.where), sequence.title)


def _take_one(
    sequence: Sequence, folder: str, out: Store, recipe: IngestRecipe
) -> tuple[VideoReport, tuple[Shard, ...]]:
    """Take in one recording and leave its part; runs in a Ray task."""
    report = _report_of(sequence)
    try:
        clips = take_in(sequence, recipe, report)
        files = write_part(clips, out, folder, aus=recipe.aus, crop=recipe.crop)
    except (StorageError, RecipeError):
        raise
    except AuDistError as error:
        report.error = str(error)
        return report, ()
    except Exception as error:  # noqa: BLE001 - nobody foresaw it, and one recording stops no other
        report.error = f"{type(error).__name__}: {error}"
        return report, ()
    done = {"report": {**asdict(report), "path": str(report.path)}, "files": [file.model_dump() for file in files]}
    out.write(f"{folder}/{DONE}", json.dumps(done).encode())
    return report, files


def _read_done(out: Store, folder: str) -> tuple[VideoReport, tuple[Shard, ...]] | None:
    if not out.exists(f"{folder}/{DONE}"):
        return None
    done = json.loads(out.read(f"{folder}/{DONE}"))
    return _report_from(done["report"]), tuple(Shard.model_validate(file) for file in done["files"])


def part_folder(sequence: Sequence, recipe: IngestRecipe) -> str:
    """Return where a recording's part is: elsewhere when the recording, its labels or the way it is read changed."""
    source = sequence.source
    pictures = [source.entry] if isinstance(source, Film) else [entry for _, entry in source.numbered]
    paths = {entry.path for entry in (*pictures, *sequence.labels.values())}
    if recipe.spec.landmarks:
        paths.add(recipe.spec.landmarks)
    stamps = sorted([str(path), *_stamp(path)] for path in paths)
    read = [sequence.table.digest()] if sequence.table is not None else []
    told = [VERSION, repr(sequence), repr(recipe), stamps, *read]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return f"{PARTS}/{digest}"


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]
