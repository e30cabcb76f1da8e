"""Verbs that check: a set of shards, the order of a run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from au_dist.cli.options import store
from au_dist.cli.terminal import bar, say, table

if TYPE_CHECKING:
    from au_dist.checks.doctor import Diagnosis

app = typer.Typer()


@app.command()
def doctor(
    shards: Annotated[str, typer.Argument(help="A set of shards.")],
    sheet: Annotated[Path | None, typer.Option(help="Also draw a contact sheet (PNG) of each corpus.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a set of shards, compare its labels with the published ones and print its label rates."""
    from au_dist.checks.doctor import examine
    from au_dist.checks.sheets import draw_sheets
    from au_dist.core.errors import ShardError
    from au_dist.shards.format import read_manifest
    from au_dist.storage.store import open_store

    store = open_store(shards)
    with bar("shards", len(read_manifest(store.check()).shards)) as advance:
        diagnosis = examine(store, lambda shard: advance())
    sheets = draw_sheets(store, diagnosis.manifest, sheet) if sheet and not diagnosis.faults else []
    if as_json:
        say(json.dumps(diagnosis.as_json() | {"sheets": [str(path) for path in sheets]}, indent=1))
    else:
        _print_diagnosis(shards, diagnosis)
        for path in sheets:
            say(f"contact sheet  {path}")
    if diagnosis.faults:
        raise ShardError(
            f"The set has {len(diagnosis.faults)} faults",
            where=shards,
            fix="Restore the files named above or ingest again.",
        )
    if not as_json:
        say("every hash, row and frame checked: no fault")


def _print_diagnosis(shards: str, diagnosis: "Diagnosis") -> None:
    from au_dist.core.schema import au_names

    manifest = diagnosis.manifest
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
    for path in diagnosis.unlisted:
        say(f"note: {path} is not in the manifest (left by an interrupted ingest); nobody reads it")
    for warning in diagnosis.warnings:
        say(f"warning: {warning}")
    for fault in diagnosis.faults:
        say(f"fault: {fault}", err=True)


@app.command("verify-order")
def verify_order(
    run: Annotated[str, typer.Argument(help="A run's address.")],
    against: Annotated[str | None, typer.Option(help="A run that should have seen the same.")] = None,
) -> None:
    """Prove from a run's ledger that every epoch saw each clip once, and that two runs saw the same."""
    from au_dist.checks.verify_order import verify
    from au_dist.core.errors import TrainError

    proof = verify(store(run), store(against))
    say(f"{run}: {proof.sets} contrast sets of {proof.clips} clips; an epoch has {proof.epoch_clips} draws")
    for fault in proof.faults:
        say(f"fault: {fault}", err=True)
    if proof.faults:
        raise TrainError(f"The ledger shows {len(proof.faults)} faults", where=run)
    say(f"{proof.epochs} epochs are complete, and each drew every clip as often as it should; no clip too often since")
    if against:
        say(f"the same clips in every contrast set as {against}")
