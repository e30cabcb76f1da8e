"""Verbs that make shards."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from au_dist.cli.options import Out
from au_dist.cli.terminal import bar, note, say
from au_dist.core.cpus import own_cpus

app = typer.Typer()


@app.command()
def synth(
    out: Out,
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 24,
    videos: Annotated[int, typer.Option(help="Videos of each subject.")] = 2,
    frames: Annotated[int, typer.Option(help="Frames kept of each video.")] = 64,
    clip_frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 8,
    stride: Annotated[int, typer.Option(help="Every how many frames of 30 a second one is kept.")] = 10,
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    label_noise: Annotated[float, typer.Option(help="Share of the labels that are flipped.")] = 0.0,
    missing: Annotated[float, typer.Option(help="Share of the labels that are unknown.")] = 0.0,
    statistics: Annotated[
        Path | None, typer.Option(help="Label statistics (JSON); the package's own if absent.")
    ] = None,
    corpus: Annotated[str, typer.Option(help="Which corpus of the statistics to imitate.")] = "BP4D",
    sheet: Annotated[Path | None, typer.Option(help="Also draw a contact sheet (PNG).")] = None,
    processes: Annotated[int | None, typer.Option(help="Processes to make faces in; one a CPU if absent.")] = None,
) -> None:
    """Make shards of synthetic faces that are driven by action units."""
    from au_dist.ingest.synthetic import ingest_synthetic
    from au_dist.storage.pictures import check_picture
    from au_dist.storage.store import open_store
    from au_dist.synthetic.clips import SynthSpec
    from au_dist.synthetic.sheet import contact_sheet

    if sheet:
        check_picture(sheet)
    spec = SynthSpec(
        subjects=subjects,
        videos_per_subject=videos,
        frames_per_video=frames,
        clip_frames=clip_frames,
        statistics_corpus=corpus,
        size=size,
        seed=seed,
        label_noise=label_noise,
        missing=missing,
        stride=stride,
    )
    total = subjects * videos * (frames // clip_frames)
    with bar("clips", total) as advance:
        used = processes or own_cpus()
        manifest = ingest_synthetic(spec, open_store(out), statistics, lambda clips: advance(), used)
    if sheet:
        contact_sheet(sheet, seed)
        say(f"contact sheet  {sheet}")
    say(f"shards  {out}  {manifest.clips} clips of {manifest.clip_frames} frames, {len(manifest.subjects)} subjects")


@app.command()
def merge(
    sets: Annotated[list[str], typer.Argument(help="Sets of shards, two or more.")],
    out: Out,
    aus: Annotated[
        Literal["union", "intersection"], typer.Option(help="Label columns of any set, or of all.")
    ] = "union",
    mixed_detection: Annotated[
        bool, typer.Option("--mixed-detection", help="Take sets whose faces were found in different ways, too.")
    ] = False,
) -> None:
    """Make one set of several corpora; labels that a corpus lacks are unknown in its clips."""
    from au_dist.ingest.merge import found_alike
    from au_dist.ingest.merge import merge as merge_sets
    from au_dist.shards.format import read_manifest
    from au_dist.storage.store import open_store

    stores = [open_store(place) for place in sets]
    manifests = [read_manifest(store) for store in stores]
    with bar("clips", sum(manifest.clips for manifest in manifests)) as advance:
        manifest = merge_sets(
            stores, open_store(out), aus, lambda clips: advance(done=clips), mixed_detection=mixed_detection
        )
    if not found_alike(manifests):
        for place, one in zip(sets, manifests, strict=True):
            known = ", ".join(f"{name} {value}" for name, value in one.crop_recipe.finding.items())
            note(f"{place}: faces found by {known or 'what it does not say'}")
        note("the faces were found in different ways: a model of this set knows of none, and predict takes its own")
    say(f"shards  {out}  {manifest.clips} clips, {len(manifest.subjects)} subjects, {len(manifest.aus)} action units")
