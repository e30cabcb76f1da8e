"""Verbs that make and check shards."""

import os
from pathlib import Path
from typing import Annotated

import typer

from au_dist.cli.options import Out
from au_dist.cli.terminal import bar, say, table

app = typer.Typer()
ingest_app = typer.Typer(help="Turn a corpus into shards.", no_args_is_help=True)
app.add_typer(ingest_app, name="ingest")


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
    from au_dist.ingest.synthetic import SynthSpec, contact_sheet
    from au_dist.jobs.ingest import ingest_synthetic
    from au_dist.storage import open_store

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
        used = processes or os.cpu_count() or 1
        manifest = ingest_synthetic(spec, open_store(out), statistics, lambda clips: advance(), used)
    if sheet:
        contact_sheet(sheet, seed)
        say(f"contact sheet  {sheet}")
    say(f"shards  {out}  {manifest.clips} clips of {manifest.clip_frames} frames, {len(manifest.subjects)} subjects")


@ingest_app.command("video")
def ingest_video(
    folder: Annotated[Path, typer.Argument(help="Folder of ordinary videos.")],
    out: Out,
    detector: Annotated[str, typer.Option(help="centerface, landmarks, none, or module:function.")] = "centerface",
    landmarks: Annotated[Path | None, typer.Option(help="Landmark CSV, or a folder of them.")] = None,
    clip_frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 16,
    stride: Annotated[int, typer.Option(help="Every how manieth frame is looked at.")] = 1,
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 112,
    quality: Annotated[int, typer.Option(help="JPEG quality of the crops.")] = 92,
    min_face: Annotated[int, typer.Option(help="Smallest face in pixels.")] = 32,
    min_confidence: Annotated[float, typer.Option(help="Least confidence of the detector.")] = 0.5,
    corpus: Annotated[str, typer.Option(help="Name of the data set.")] = "video",
) -> None:
    """Find, track, align and crop the faces in a folder of videos."""
    from au_dist.ingest.video_spec import VideoReport, VideoSpec
    from au_dist.jobs.ingest import ingest_videos
    from au_dist.schema import CropRecipe
    from au_dist.storage import open_store

    spec = VideoSpec(
        detector=detector,
        clip_frames=clip_frames,
        stride=stride,
        min_face=min_face,
        min_confidence=min_confidence,
        landmarks=landmarks,
        threads=os.cpu_count() or 1,
    )
    crop = CropRecipe(size=size, alignment="none" if detector == "none" else "eyes", jpeg_quality=quality)

    def show(report: VideoReport) -> None:
        left = sum(report.dropped.values())
        seconds = sum(report.seconds.values())
        text = (
            f"set aside: {report.error}"
            if report.error
            else f"{report.frames} frames, {report.frames_with_face} with a face, {report.tracks} tracks, "
            f"{report.clips} clips, {left} crops or frames left over, {report.frames / max(seconds, 1e-9):.0f} frames/s"
        )
        say(f"{report.path.name}  {text}")

    manifest, reports = ingest_videos(folder, open_store(out), spec, crop, corpus=corpus, show=show)
    aside = sum(report.error is not None for report in reports)
    tracks = len(manifest.subjects)
    say(f"shards  {out}  {manifest.clips} clips of {tracks} tracks; {aside} of {len(reports)} files set aside")


@app.command()
def doctor(shards: Annotated[str, typer.Argument(help="A set of shards.")]) -> None:
    """Verify a set of shards and print its label rates."""
    from au_dist.errors import ShardError
    from au_dist.jobs.doctor import examine
    from au_dist.schema import au_names
    from au_dist.storage import open_store

    found = examine(open_store(shards))
    manifest = found.manifest
    crop = manifest.crop
    say(
        f"{shards}: {manifest.clips} clips of {manifest.clip_frames} frames, {len(manifest.subjects)} subjects, "
        f"{len(manifest.shards)} shards, {sum(s.bytes for s in manifest.shards) / 1e6:.1f} MB, "
        f"crops {crop['size']} px aligned by {crop['alignment']} ({manifest.crop_hash})"
    )
    rows = [
        [name, f"{labelled}", f"{positive}", "–" if labelled == 0 else f"{rate:.1%}"]
        for name, (labelled, positive, rate) in zip(au_names(manifest.aus), manifest.rates(), strict=True)
    ]
    if rows:
        table(["action unit", "labelled frames", "positive", "rate"], rows)
    for path in found.unlisted:
        say(f"note: {path} is not in the manifest (left by an interrupted ingest); nobody reads it")
    if found.faults:
        for fault in found.faults:
            say(f"fault: {fault}", err=True)
        raise ShardError(
            f"The set has {len(found.faults)} faults",
            where=shards,
            fix="Restore the files named above or ingest again.",
        )
    say("every hash, row and frame header checked: no fault")
