"""The verb that takes in a corpus."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from au_dist.cli.options import Address, Out, ray
from au_dist.cli.terminal import bar, say, table

if TYPE_CHECKING:
    from au_dist.ingest.corpus import Summary
    from au_dist.ingest.how import Recipe
    from au_dist.shards.format import Manifest
    from au_dist.video.video_spec import VideoReport

app = typer.Typer()

#: Reasons and notes that are printed; the rest is counted, and all of them are in the set's ingest.json.
MOST_LINES = 12


CorpusName = Literal["bp4d", "bp4d+", "disfa", "disfa+", "gft", "affwild2", "video"]


@app.command()
def ingest(
    corpus: Annotated[CorpusName, typer.Argument(help="The corpus.")],
    path: Annotated[Path, typer.Argument(help="Its folder or zip archive, as delivered.")],
    out: Out,
    aus: Annotated[
        str | None, typer.Option(help="Action units, e.g. 1,2,4; the corpus's standard set if absent.")
    ] = None,
    clip_frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 16,
    stride: Annotated[int, typer.Option(help="Every how manieth frame is looked at.")] = 1,
    frames: Annotated[
        Literal["coded", "all"], typer.Option(help="The coded part, or the frames around it too.")
    ] = "coded",
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 112,
    quality: Annotated[int, typer.Option(help="JPEG quality of the crops.")] = 92,
    eye_distance: Annotated[float, typer.Option(help="Between the eyes, as a share of the side: the margin.")] = 0.38,
    detector: Annotated[
        str | None, typer.Option(help="centerface, landmarks, none (crops already), or FILE.py:function.")
    ] = None,
    landmarks: Annotated[Path | None, typer.Option(help="Landmark CSV, or a folder of them.")] = None,
    min_face: Annotated[int, typer.Option(help="Smallest face in pixels.")] = 32,
    min_confidence: Annotated[float, typer.Option(help="Least confidence of the detector.")] = 0.5,
    detect_side: Annotated[
        int | None, typer.Option(help="Longest side at which faces are looked for; 640, or 320 where they are large.")
    ] = None,
    threshold: Annotated[int, typer.Option(help="disfa: intensity from which an action unit occurs.")] = 2,
    camera: Annotated[Literal["left", "right"], typer.Option(help="disfa: whose videos.")] = "left",
    frame_map: Annotated[
        Literal["auto", "by_name", "ordinal"], typer.Option(help="bp4d: which picture a label belongs to.")
    ] = "auto",
    bad_frames: Annotated[
        Literal["none", "jaanet", "fgnet"], typer.Option(help="bp4d, disfa: published list to leave out.")
    ] = "none",
    layout: Annotated[Path | None, typer.Option(help="gft: how the tables are laid out (YAML).")] = None,
    subjects: Annotated[
        Literal["track", "file", "folder"], typer.Option(help="video: what counts as one person.")
    ] = "track",
    name: Annotated[str | None, typer.Option("--corpus", help="video: name of the data set.")] = None,
    max_aside: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the recordings that may be set aside.")
    ] = 0.5,
    parallel: Annotated[int | None, typer.Option(min=1, help="Recordings at a time; one a CPU if absent.")] = None,
    address: Address = None,
) -> None:
    """Find, track, align and crop the faces of a corpus and join them with its labels."""
    from au_dist.core.errors import RecipeError
    from au_dist.corpora.catalogue import CORPORA
    from au_dist.corpora.layout import read_layout
    from au_dist.corpora.options import Options
    from au_dist.corpora.tree import look
    from au_dist.ingest.corpus import ingest_corpus
    from au_dist.ingest.how import recipe_for
    from au_dist.storage.store import open_store
    from au_dist.video.video_spec import VideoSpec

    if name is not None and corpus != "video":
        raise RecipeError(
            "Only videos without labels are given a name", where="--corpus", found=f"{corpus} and {name!r}"
        )
    options = Options(
        threshold=threshold,
        frame_map=frame_map,
        bad_frames=bad_frames,
        camera=camera,
        frames=frames,
        layout=read_layout(layout) if layout else None,
        subjects=subjects,
        name=name,
    )
    found = CORPORA[corpus].find(look(path.absolute()), options)
    spec = VideoSpec(
        detector=_placed(detector) if detector else "none" if found.cropped else "centerface",
        clip_frames=clip_frames,
        stride=stride,
        max_faces=CORPORA[corpus].people,
        min_face=min_face,
        min_confidence=min_confidence,
        landmarks=landmarks and landmarks.absolute(),
        detect_side=detect_side or CORPORA[corpus].detect_side,
    )
    recipe = recipe_for(corpus, found, options, spec, aus=aus, size=size, quality=quality, eye_distance=eye_distance)
    for note in found.notes:
        say(f"note: {note}")
    with ray(address), bar("recordings", len(found.sequences)) as advance:
        watch = _Watch(advance)
        parallel = parallel or (_cluster_cpus() if address or "RAY_ADDRESS" in os.environ else os.cpu_count()) or 1
        manifest, summary = ingest_corpus(
            found, open_store(out), recipe, parallel=parallel, most_aside=max_aside, show=watch
        )
    _print(out, manifest, summary, recipe, found.notes)


def _placed(detector: str) -> str:
    """Return a detector as every process finds it: workers have other working directories."""
    file, colon, function = detector.rpartition(":")
    return f"{Path(file).absolute()}:{function}" if colon and file.endswith(".py") else detector


def _cluster_cpus() -> int:
    import ray as cluster

    return int(cluster.cluster_resources().get("CPU", 1))


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


def _print(out: str, manifest: "Manifest", summary: "Summary", recipe: "Recipe", said: tuple[str, ...]) -> None:
    """Print the end report; notes that were `said` before are not repeated."""
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
    notes = [f"{report.name}: {note}" for report in summary.reports for note in report.notes]
    _lines("note", [*(note for note in summary.notes if note not in said), *notes])
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
