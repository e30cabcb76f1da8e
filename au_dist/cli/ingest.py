"""Verbs that take in corpora, one each: made from what each of them may be told."""

import dataclasses
import functools
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import typer.main
from typer.core import TyperGroup

from au_dist.cli.options import ADDRESS, CROPPED, OUT, default_parallel, placed, ray
from au_dist.cli.sections import keyword, options_of, verb
from au_dist.cli.terminal import bar, say, table

if TYPE_CHECKING:
    from au_dist.ingest.how import IngestRecipe
    from au_dist.ingest.summary import Summary
    from au_dist.shards.format import Manifest
    from au_dist.video.video_spec import VideoReport


#: Reasons and notes that are printed; the rest is counted, and all of them are in the set's ingest.json.
MOST_LINES = 12


#: What may be said of how faces are found.
FACES = ("detector", "landmarks", "min_face", "min_light", "min_confidence", "detect_side", "clip_frames", "stride")

#: What has no default of its own where the pictures or the corpus say it, and files that become values.
ON_THE_COMMAND_LINE = {
    "detector": (str | None, None, None),
    "detect_side": (int | None, None, None),
    "layout": (Path | None, None, None),
    "name": (str | None, None, "--corpus"),
}


def _verb_of(name: str) -> Any:
    """Return the verb that takes in a corpus."""
    from au_dist.corpora.catalogue import CORPORA
    from au_dist.corpora.options import Options
    from au_dist.ingest.corpus import MOST_ASIDE
    from au_dist.ingest.how import Crops
    from au_dist.video.video_spec import VideoSpec

    corpus = CORPORA[name]
    path = typer.Argument(help=corpus.place)
    aside = typer.Option(min=0, max=1, help="Share of the recordings that may be set aside.")
    anew = typer.Option("--replace", help="Make a set anew that is there already, from what changed since.")
    parallel = typer.Option(min=1, help="Recordings at a time; one a CPU if absent.")
    joins, units = corpus.labels is not None, ",".join(map(str, corpus.aus)) or "all that have labels"
    parameters = [
        keyword("path", Path, path),
        keyword("out", str, OUT),
        *options_of(Options, corpus.options, ON_THE_COMMAND_LINE),
        *([keyword("aus", str | None, typer.Option(help=f"Action units; {units} if absent."), None)] if joins else []),
        *options_of(VideoSpec, FACES, ON_THE_COMMAND_LINE),
        keyword("cropped", bool | None, CROPPED, None),
        *options_of(Crops),
        keyword("max_aside", float, aside, MOST_ASIDE),
        keyword("dry_run", bool, typer.Option("--dry-run", help="Say what is there, and stop."), False),
        keyword("replace", bool, anew, False),
        keyword("parallel", int | None, parallel, None),
        keyword("address", str | None, ADDRESS, None),
    ]
    return verb(lambda given: _ingest(name, given), parameters)


@functools.cache
def _verbs() -> dict[str, Any]:
    """Return corpus → the verb that takes it in."""
    from au_dist.corpora.catalogue import CORPORA

    made = typer.Typer(rich_markup_mode=None)
    for name, corpus in CORPORA.items():
        joined = " and join them with their labels" if corpus.labels else ""
        text = f"{corpus.title}: {corpus.does}{joined}."
        made.command(name, help=text, short_help=corpus.title)(_verb_of(name))
    return dict(typer.main.get_command(made).commands)  # type: ignore[attr-defined]


class _Corpora(TyperGroup):
    """The verbs, made when one is asked for: what corpora may be told is not imported for `au-dist --help`."""

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """The verbs by name."""
        return _verbs()

    @commands.setter
    def commands(self, _: MutableMapping[str, Any]) -> None:
        pass


app = typer.Typer()
app.add_typer(typer.Typer(cls=_Corpora, no_args_is_help=True, help="Take in a corpus."), name="ingest")


def _ingest(name: str, given: dict[str, Any]) -> None:
    """Find, track, align and crop the faces of a corpus and join them with its labels."""
    from au_dist.core.errors import IngestError
    from au_dist.corpora.catalogue import CORPORA
    from au_dist.corpora.layout import read_layout
    from au_dist.corpora.options import Options
    from au_dist.corpora.tree import look
    from au_dist.ingest.corpus import ingest_corpus
    from au_dist.ingest.how import Crops, recipe_for
    from au_dist.storage.store import open_store
    from au_dist.video.video_spec import VideoSpec

    corpus, out = CORPORA[name], given["out"]
    read = {key: given[key] for key in corpus.options}
    if read.get("layout"):
        read["layout"] = read_layout(read["layout"])
    if read.get("root"):
        read["root"] = read["root"].absolute()
        if not read["root"].exists():
            raise IngestError("There is no such folder", where=f"--root {read['root']}")
    options = Options(**read)
    made = Crops(**{field.name: given[field.name] for field in dataclasses.fields(Crops)})
    recordings = corpus.find(look(given["path"].absolute()), options)
    faces = {key: given[key] for key in FACES}
    crops = given["cropped"] or (recordings.cropped and given["cropped"] is None)
    faces["detector"] = placed(faces["detector"] or ("none" if crops else VideoSpec.detector))
    faces["detect_side"] = faces["detect_side"] or corpus.detect_side
    faces["landmarks"] = faces["landmarks"] and faces["landmarks"].absolute()
    spec = VideoSpec(**faces, max_faces=corpus.people, cropped=given["cropped"])
    recipe = recipe_for(name, recordings, options, spec, made, given.get("aus"))
    if recordings.understood or given["dry_run"]:
        rows = [*recordings.understood, ("recordings", f"{len(recordings.sequences)}")]
        width = max(len(what) for what, _ in rows)
        for what, how in rows:
            say(f"{what:<{width}}  {how}")
    for note in recordings.notes:
        say(f"note: {note}")
    if given["dry_run"]:
        _lines("set aside", [f"{name}: {why}" for name, why in recordings.aside.items()])
        return
    address = given["address"]
    with ray(address), bar("recordings", len(recordings.sequences)) as advance:
        at_once = given["parallel"] or default_parallel(address)
        manifest, summary = ingest_corpus(
            recordings,
            open_store(out),
            recipe,
            parallel=at_once,
            most_aside=given["max_aside"],
            anew=given["replace"],
            show=_Watch(advance),
        )
    _print(out, manifest, summary, recipe, recordings.notes)


class _Watch:
    """Shows each recording when it is done: a bar for who watches, a line for a log."""

    def __init__(self, advance: Any) -> None:
        self.advance, self.begun, self.frames = advance, time.monotonic(), 0
        self.lines = not sys.stderr.isatty()

    def __call__(self, report: "VideoReport", done: int, total: int) -> None:
        self.frames += report.frames
        rate = self.frames / max(time.monotonic() - self.begun, 1e-9)
        self.advance(f"{rate:.0f} frames/s", done)
        if self.lines:
            left = sum(report.dropped.values())
            text = f"set aside: {report.error}" if report.error else (
                f"{report.frames} frames, {report.frames_with_face} with a face, {report.tracks} tracks, "
                f"{report.clips} clips, {left} crops or frames left over"
            )  # fmt: skip
            say(f"{done}/{total}  {report.name}  {text}")


def _print(out: str, manifest: "Manifest", summary: "Summary", recipe: "IngestRecipe", said: tuple[str, ...]) -> None:
    """Print the end report; notes that were `said` before are not repeated."""
    from au_dist.ingest.corpus import seldom

    total = summary.total
    unseen = total("frames_examined") - total("frames_with_face")
    rows = [
        ["recordings taken in", f"{sum(not report.error for report in summary.reports)}"],
        ["recordings set aside", f"{len(summary.aside)}"],
        ["frames read", f"{total('frames')}"],
        ["frames without a face", f"{unseen}"],
        ["clips", f"{manifest.clips}"],
        ["frames in clips", f"{manifest.frames}"],
    ]
    if recipe.aus:
        rows += [
            ["frames that the labels know", f"{total('labelled')}"],
            ["frames in clips without a label", f"{manifest.frames - total('clip_labelled')}"],
        ]
    if summary.done_before:
        rows.insert(1, ["of these done before", f"{summary.done_before}"])
    table(["", ""], rows)
    for reason, times in list(summary.dropped().items())[:MOST_LINES]:
        say(f"left out: {reason}: {times}")
    whose: dict[str, list[str]] = {}
    for report in summary.reports:
        for note in report.notes:
            whose.setdefault(note, []).append(report.name)
    notes = [
        f"{names[0]}: {note}" if len(names) == 1 else f"{len(names)} recordings ({names[0]} …): {note}"
        for note, names in whose.items()
    ]
    _lines("note", [*seldom(manifest), *(note for note in summary.notes if note not in said), *notes])
    _lines("set aside", [f"{name}: {why}" for name, why in summary.aside.items()])
    stages = summary.stages()
    if spent := sum(stages.values()):
        shares = ", ".join(f"{stage} {seconds / spent:.0%}" for stage, seconds in stages.items())
        say(f"{total('frames') / spent:.1f} frames/s a core ({shares})")
    say(f"shards  {out}  {manifest.clips} clips of {manifest.clip_frames} frames, {len(manifest.subjects)} subjects")


def _lines(what: str, texts: list[str]) -> None:
    for text in texts[:MOST_LINES]:
        say(f"{what}: {text}")
    if len(texts) > MOST_LINES:
        say(f"{what}: and {len(texts) - MOST_LINES} more, all in ingest.json")
