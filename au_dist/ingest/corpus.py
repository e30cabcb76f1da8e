"""From a corpus on disk to a published set of shards, a recording a Ray task.

Each task leaves the clips of its recording as a part in the set's place, and says at last that the part is whole. What
is done is not done again. When all parts are there they are put together in the order of the recordings, so that the
shards are the same however often the ingest was stopped, and the manifest is published.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from au_dist.compat.ray_tasks import Lost, on_ray
from au_dist.core.errors import AuDistError, IngestError, RecipeError, ShardError, StorageError
from au_dist.core.schema import Clip, au_names
from au_dist.corpora.recordings import Found, Sequence
from au_dist.ingest.how import IngestRecipe
from au_dist.ingest.origins import Origin, as_json, origin_of, samples_of
from au_dist.ingest.standing import REPORT, STAGED, Changes, Standing, clips_of, compare, standing, whole
from au_dist.ingest.summary import Summary, report_from, report_of, row_of
from au_dist.ingest.take_in import take_in
from au_dist.shards.format import Manifest, Shard
from au_dist.shards.writer import read_part, write_part, write_shards
from au_dist.storage.store import Store
from au_dist.video.cropped import CROPPED_LOOKS, CROPPED_SHARE, already_cropped
from au_dist.video.video_spec import VideoReport

PARTS, DONE = "parts", "done.json"

#: An ingest in which a larger share of the recordings is set aside ends with an error.
MOST_ASIDE = 0.5

#: Part of a part's name; changed when the same recording would give other clips.
VERSION = 2


@dataclass(frozen=True)
class Taken:
    """A recording that was read.

    Attributes:
        report: What became of it.
        files: Its clips, as a part; none where it was set aside, or where the set that is replaced has them.
        samples: What identifies samples of its content.
    """

    report: VideoReport
    files: tuple[Shard, ...] = ()
    samples: str = ""


Show = Callable[[VideoReport, int, int], None]


def ingest_corpus(
    found: Found,
    out: Store,
    recipe: IngestRecipe,
    *,
    parallel: int,
    most_aside: float = MOST_ASIDE,
    anew: bool = False,
    show: Show = lambda report, done, total: None,
) -> tuple[Manifest, Summary]:
    """Take in the recordings of a corpus; Ray must be connected.

    Args:
        found: What an importer found.
        out: Where the set goes.
        recipe: How recordings are taken in.
        parallel: How many at a time.
        most_aside: Share of the recordings that may be set aside.
        anew: Whether a set that is there, of the same corpus, is replaced where it would become another one. Readers
            see the one set or the other; what did not change is taken over from the old one.
        show: Called after each recording with its report, how many are done and how many there are.

    Returns:
        The manifest and what became of the corpus.

    Raises:
        IngestError: Too much was set aside, or no clip came out.
        ShardError: The place holds another set, or one of recordings or labels that changed since.
        StorageError: The store fails; run again, the ingest goes on where it was.
    """
    if not found.sequences:
        raise IngestError(
            "There is no recording with labels",
            where=recipe.corpus,
            found=" ".join(found.notes) or "nothing to take in",
        )
    source = source_of(recipe, found)
    # Taken before anything is read: what changes meanwhile is noticed the next time.
    origins = {sequence.title: origin_of(sequence, recipe) for sequence in found.sequences}
    old = standing(out.check())
    changes = compare(old, source, recipe, found, origins) if old else Changes()
    kept: dict[str, Taken] = {}
    if old:
        intact = whole(old, out)
        if not changes and intact and not (anew and len(changes.same) < len(origins)):
            return _finished(old, out, changes)
        kept = _kept(old, changes, out, intact=intact, anew=anew)
    summary = Summary(aside=dict(found.aside), notes=list(found.notes))
    taken = _take_all(found, origins, kept, out, recipe, parallel, summary, most_aside, show)
    if not summary.total("clips"):
        tracks, frames = summary.total("tracks"), recipe.spec.clip_frames
        raise IngestError(
            "No clip came out of these recordings",
            where=out.uri,
            found=f"{tracks} faces followed in {len(summary.reports)} recordings, none of them over {frames} frames",
            fix="Try a smaller --clip-frames (1 for pictures), --min-face or --min-confidence.",
        )
    if old:
        summary.notes += [f"The set that was there is replaced: {changes.words()}.", *changes.notes]

    def clips() -> Iterator[Clip]:
        for sequence, one in zip(found.sequences, taken, strict=True):
            if old and sequence.title in kept:
                yield from clips_of(old, out, sequence)
            else:
                yield from read_part(out, one.files, len(recipe.aus))

    samples = [one.samples for one in taken]
    sampled = [replace(origin, content=some) for origin, some in zip(origins.values(), samples, strict=True)]
    report = {**report_of(summary), "version": VERSION, "origins": as_json(dict(zip(origins, sampled, strict=True)))}

    def stage(manifest: Manifest) -> None:
        replaced = [shard.path for shard in old.manifest.shards] if old else []
        told = {**report, "manifest": manifest.sha256, "replaced": replaced}
        out.write(STAGED, json.dumps(told, indent=1).encode())

    source["coded_frames"] = summary.total("labelled")
    before = old.manifest if old else None
    manifest = write_shards(clips(), out, aus=recipe.aus, crop=recipe.crop, source=source, replaces=before, stage=stage)
    _clear_up(out, manifest)
    return manifest, summary


def _kept(old: Standing, changes: Changes, out: Store, *, intact: bool, anew: bool) -> dict[str, Taken]:
    """Return what of the set that stands there is kept when it is replaced.

    Raises:
        ShardError: It is another set or one that changed, and may not be replaced, or it is not whole.
    """
    if not changes and not intact and not anew:
        raise ShardError(
            "Shards of this set are missing or cut short",
            where=out.uri,
            fix="Restore them, or make the set anew with --replace.",
        )
    if changes.whose or not anew:
        raise changes.error(out)
    if changes.options or not intact or old.report.get("version") != VERSION:
        return {}
    return {title: Taken(old.reports[title], samples=old.origins[title].content) for title in changes.same}


def _clear_up(out: Store, manifest: Manifest) -> None:
    """After the manifest is published: keep how the set was made, and delete what nobody reads any more."""
    if out.exists(STAGED):
        staged = out.read(STAGED)
        told = json.loads(staged)
        if told["manifest"] == manifest.sha256:
            out.write(REPORT, staged)
            for path in sorted({*told["replaced"]} - {shard.path for shard in manifest.shards}):
                out.delete(path)
    out.delete(PARTS)


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


def _finished(there: Standing, out: Store, changes: Changes) -> tuple[Manifest, Summary]:
    """The set is there, made by this very ingest, which may have been stopped while it cleared up."""
    _clear_up(out, there.manifest)
    reports = list(there.reports.values())
    notes = ["The set was there already; nothing was done.", *changes.notes]
    return there.manifest, Summary(reports, there.report.get("aside", {}), notes, done_before=len(reports))


def _take_all(
    recordings: Found,
    origins: dict[str, Origin],
    kept: dict[str, Taken],
    out: Store,
    recipe: IngestRecipe,
    parallel: int,
    summary: Summary,
    most_aside: float,
    show: Show,
) -> list[Taken]:
    """Have a Ray task take in each recording that is not done; return all of them, in order."""
    sequences, total = recordings.sequences, len(recordings.sequences)
    folders = [part_folder(sequence, recipe, origins[sequence.title]) for sequence in sequences]
    before = [kept.get(one.title) or _read_done(out, folder) for one, folder in zip(sequences, folders, strict=True)]
    results = {place: done for place, done in enumerate(before) if done}
    waiting = [place for place in range(total) if place not in results]
    summary.done_before = len(results)

    def done(number: int, answer: Taken | Lost) -> None:
        place = waiting[number]
        taken = Taken(_report_of(sequences[place])) if isinstance(answer, Lost) else answer
        if isinstance(answer, Lost):
            taken.report.error = answer.why
        if taken.report.error:
            summary.aside[taken.report.name] = taken.report.error
        results[place] = taken
        show(taken.report, len(results), total)
        _check_aside(summary, total + len(recordings.aside), most_aside)
        _check_cropped([one.report for one in results.values()])

    on_ray(_take_one, [(sequences[place], folders[place], out, recipe) for place in waiting], parallel, done)
    everyone = [results[place] for place in range(total)]
    summary.reports = [one.report for one in everyone]
    _check_aside(summary, total + len(recordings.aside), most_aside)
    return everyone


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


def _take_one(sequence: Sequence, folder: str, out: Store, recipe: IngestRecipe) -> Taken:
    """Take in one recording and leave its part; runs in a Ray task."""
    report = _report_of(sequence)
    samples = samples_of(sequence)
    try:
        clips = take_in(sequence, recipe, report)
        files = write_part(clips, out, folder, aus=recipe.aus, crop=recipe.crop)
    except (StorageError, RecipeError):
        raise
    except AuDistError as error:
        report.error = str(error)
        return Taken(report, samples=samples)
    except Exception as error:  # noqa: BLE001 - nobody foresaw it, and one recording stops no other
        report.error = f"{type(error).__name__}: {error}"
        return Taken(report, samples=samples)
    done = {"report": row_of(report), "files": [file.model_dump() for file in files], "samples": samples}
    out.write(f"{folder}/{DONE}", json.dumps(done).encode())
    return Taken(report, files, samples)


def _read_done(out: Store, folder: str) -> Taken | None:
    if not out.exists(f"{folder}/{DONE}"):
        return None
    done = json.loads(out.read(f"{folder}/{DONE}"))
    return Taken(report_from(done["report"]), tuple(map(Shard.model_validate, done["files"])), done["samples"])


def part_folder(sequence: Sequence, recipe: IngestRecipe, origin: Origin) -> str:
    """Return where a recording's part is: elsewhere when the recording, its labels or the way it is read changed."""
    told = [VERSION, repr(sequence), repr(recipe), asdict(origin)]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return f"{PARTS}/{digest}"
