"""The front door: ``au-dist VERB``. The only module that prints and exits.

Heavy libraries are imported by the verbs that need them, so that ``au-dist --help`` answers at once.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from au_dist.errors import AuDistError, ClusterError, RecipeError

if TYPE_CHECKING:
    from au_dist.config import Recipe

app = typer.Typer(
    name="au-dist",
    help="Distributed training of facial action unit models on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
ingest_app = typer.Typer(help="Turn a corpus into shards.", no_args_is_help=True)
cluster_app = typer.Typer(help="A Ray cluster of several nodes on this machine.", no_args_is_help=True)
tune_app = typer.Typer(help="Hyperparameter campaigns.", no_args_is_help=True)
app.add_typer(ingest_app, name="ingest")
app.add_typer(cluster_app, name="cluster")
app.add_typer(tune_app, name="tune")

Out = Annotated[str, typer.Option("--out", help="Where the shards go: s3://bucket/prefix or a folder.")]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster; `local` is that of `cluster up`. RAY_ADDRESS, else one in this process."),
]
Runs = Annotated[str | None, typer.Option("--runs", envvar="AU_DIST_RUNS", help="Where runs are stored.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace values of the recipe.")]


class Checkpoint(StrEnum):
    """Which checkpoint of a run."""

    BEST = "best"
    LAST = "last"


class Faces(StrEnum):
    """Which faces of a video."""

    MAIN = "main"
    ALL = "all"


Which = Annotated[Checkpoint, typer.Option("--checkpoint", help="Which checkpoint of a run.")]


def main() -> None:
    """Run a verb; an error that is written for a person ends with one paragraph and exit code 2."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments)
    except AuDistError as error:
        if debug:
            raise
        _say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted; the same command resumes", err=True)
        sys.exit(130)


def _say(text: str = "", err: bool = False) -> None:
    typer.echo(text, err=err)


# --- shards ---------------------------------------------------------------------------------------------------------


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
    with _bar("clips", total) as advance:
        used = processes or os.cpu_count() or 1
        manifest = ingest_synthetic(spec, open_store(out), statistics, lambda clips: advance(), used)
    if sheet:
        contact_sheet(sheet, seed)
        _say(f"contact sheet  {sheet}")
    _say(f"shards  {out}  {manifest.clips} clips of {manifest.clip_frames} frames, {len(manifest.subjects)} subjects")


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
        _say(f"{report.path.name}  {text}")

    manifest, reports = ingest_videos(folder, open_store(out), spec, crop, corpus=corpus, show=show)
    aside = sum(report.error is not None for report in reports)
    tracks = len(manifest.subjects)
    _say(f"shards  {out}  {manifest.clips} clips of {tracks} tracks; {aside} of {len(reports)} files set aside")


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
    _say(
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
        _say(f"note: {path} is not in the manifest (left by an interrupted ingest); nobody reads it")
    if found.faults:
        for fault in found.faults:
            _say(f"fault: {fault}", err=True)
        raise ShardError(
            f"The set has {len(found.faults)} faults",
            where=shards,
            fix="Restore the files named above or ingest again.",
        )
    _say("every hash, row and frame header checked: no fault")


# --- training -------------------------------------------------------------------------------------------------------


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Train a recipe; the same command again resumes."""
    from au_dist.config import load_recipe
    from au_dist.jobs.train import train as run

    loaded = load_recipe(recipe, overrides or [])
    with _ray(address):
        _check_fits(loaded)
        result = run(loaded, Progress())
    _say(
        f"run  {result['run']}  {result['steps']} steps, best {result['metric']} {result['best']:.3f} "
        f"at step {result['best_step']}"
    )


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="A run (address, or name below --runs) or a checkpoint.")],
    runs: Runs = None,
    which: Which = Checkpoint.BEST,
    address: Address = None,
) -> None:
    """Score a detection model on the test subjects: F1, AUC, prevalence per action unit."""
    from au_dist.jobs.evaluate import evaluate as score

    with _ray(address):
        report = score(run, which=which.value, runs=_base(runs))
    rows = [
        [
            row["name"],
            *(_number(row[key]) for key in ("f1", "auc", "prevalence", "all_positive_f1")),
            f"{row['frames']:.0f}",
        ]
        for row in report["aus"]
    ]
    mean = report["average"]
    rows.append(["average", *(_number(mean[key]) for key in ("f1", "auc", "prevalence", "all_positive_f1")), ""])
    table(["action unit", "F1", "AUC", "prevalence", "F1 all positive", "frames"], rows)
    _say(f"{report['stamp']} {report['rows_scored']} of {report['rows_expected']} frames scored.")
    _say(f"report  {report['html']}")


@app.command("runs")
def list_runs(
    where: Annotated[str | None, typer.Argument(help="Address below which to look; --runs by default.")] = None,
    runs: Runs = None,
    metric: Annotated[str | None, typer.Option(help="Metric to show.")] = None,
) -> None:
    """List the runs in storage."""
    from au_dist.jobs.runs import list_runs as rows_of

    rows = rows_of(_needed(where or runs), metric)
    table(
        ["run", "kind", "status", "steps", "best", "metric", "at step"],
        [
            [r.name, r.kind, r.status, str(r.steps), _number(r.best), r.metric, str(r.best_step) if r.steps else "–"]
            for r in rows
        ],
    )


@app.command()
def best(
    where: Annotated[str | None, typer.Argument(help="Address below which to look; --runs by default.")] = None,
    runs: Runs = None,
    metric: Annotated[str | None, typer.Option(help="Metric; each run's own by default.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only `aunce` or `detection` runs.")] = None,
) -> None:
    """Print the address of the run with the best checkpoint."""
    from au_dist.jobs.runs import best_run

    row = best_run(_needed(where or runs), metric, kind)
    _say(f"{row.metric} {row.best:.4f} at step {row.best_step} of {row.name} ({row.kind})", err=True)
    _say(row.place.uri)


@app.command()
def pull(
    run: Annotated[str, typer.Argument(help="A run (address, or name below --runs) or a checkpoint.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to copy the model to.")] = Path("model"),
    runs: Runs = None,
    which: Which = Checkpoint.BEST,
) -> None:
    """Copy the best checkpoint to a folder and verify its hashes."""
    from au_dist.jobs.runs import pull as copy

    found = copy(run, to, which=which.value, base=_base(runs))
    _say(f"model  {to}  step {found['step']} of {found['checkpoint']}: {', '.join(found['files'])}, hashes verified")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint or a pulled model folder.")],
    video: Annotated[Path, typer.Argument(help="A video or picture.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the CSV and the timeline.")] = Path("."),
    faces: Annotated[Faces, typer.Option(help="The main face only, or all.")] = Faces.MAIN,
    runs: Runs = None,
    which: Which = Checkpoint.BEST,
) -> None:
    """Predict action units on a video: CSV in OpenFace's columns, and a timeline picture."""
    from au_dist.jobs.predict import predict as run

    found = run(model, video, out, which=which.value, faces=faces.value, base=_base(runs))
    _say(f"csv      {found.csv}  {found.frames} frames, {found.frames_with_face} with a face")
    _say(f"picture  {found.picture}")


# --- campaigns ------------------------------------------------------------------------------------------------------


@tune_app.command("run")
def tune_run(
    campaign: Annotated[Path, typer.Argument(help="Campaign (YAML).")],
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Search hyperparameters; the same command again resumes."""
    from tuning.run import run_campaign

    with _ray(address):
        from cluster.preflight import cluster_resources

        found = run_campaign(campaign, overrides or [], cluster_resources(), show=_say)
    table(found.columns, found.rows)
    _say(found.summary)


# --- cluster and jobs -----------------------------------------------------------------------------------------------


@cluster_app.command("up")
def cluster_up(
    nodes: Annotated[int, typer.Option(help="Number of Ray nodes.")] = 2,
    cpus: Annotated[int, typer.Option(help="CPUs that each node pretends to have.")] = 2,
    dashboard_host: Annotated[str, typer.Option(help="Where the dashboard and job server listen.")] = "127.0.0.1",
) -> None:
    """Start several Ray nodes on this machine."""
    from cluster import local

    up = local.up(nodes=nodes, cpus_per_node=cpus, dashboard_host=dashboard_host)
    _say(f"cluster    {up.address}  {up.nodes} nodes of {cpus} CPUs")
    _say(f"dashboard  {up.dashboard}  (it asks for the token in {up.token_path})")
    _say("Use it with `au-dist submit RECIPE`, or `--address local` on any verb.")


@cluster_app.command("down")
def cluster_down() -> None:
    """Stop the nodes that `cluster up` started."""
    from cluster import local

    _say(f"stopped {local.down()} processes")


@cluster_app.command("preflight")
def cluster_preflight(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Check that a recipe's workers fit on the cluster."""
    from au_dist.config import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    with _ray(address):
        _check_fits(loaded)
    _say(f"{loaded.workers.count} workers fit")


@app.command()
def submit(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    overrides: Overrides = None,
    address: Address = None,
    follow: Annotated[bool, typer.Option(help="Follow the log to the end; exit with the job's code.")] = True,
) -> None:
    """Train a recipe as a Ray job on a cluster."""
    from au_dist.config import dump_recipe, load_recipe
    from cluster import jobs

    loaded = load_recipe(recipe, overrides or [])
    place, python = _job_address(address)
    job = jobs.submit(
        [python, "-m", "au_dist", "train", "recipe.yaml"],
        {"recipe.yaml": dump_recipe(_absolute(loaded))},
        place,
        metadata={"recipe": loaded.name},
    )
    _say(f"job  {job}")
    if follow:
        _follow(job, place)


@app.command("jobs")
def list_jobs(address: Address = None) -> None:
    """List the jobs of a cluster."""
    from datetime import datetime

    from cluster import jobs

    def clock(seconds: float | None) -> str:
        return "–" if seconds is None else datetime.fromtimestamp(seconds).strftime("%m-%d %H:%M:%S")

    rows = jobs.jobs(_job_address(address)[0])
    table(
        ["job", "recipe", "status", "started", "ended", "exit code"],
        [
            [
                r.job_id,
                r.metadata.get("recipe", "–"),
                r.status,
                clock(r.started),
                clock(r.ended),
                "–" if r.exit_code is None else str(r.exit_code),
            ]
            for r in rows
        ],
    )


@app.command()
def logs(
    job: Annotated[str, typer.Argument(help="The job.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow to the end; exit with the job's code.")
    ] = False,
    address: Address = None,
) -> None:
    """Print the log of a job."""
    from cluster import jobs

    place = _job_address(address)[0]
    if follow:
        _follow(job, place)
    else:
        _say(jobs.logs(job, place).rstrip("\n"))


@app.command()
def stop(job: Annotated[str, typer.Argument(help="The job.")], address: Address = None) -> None:
    """Stop a job; submitting its recipe again resumes."""
    from cluster import jobs

    stopped = jobs.stop(job, _job_address(address)[0])
    _say(f"stopped {job}" if stopped else f"{job} had ended before")


# --- helpers --------------------------------------------------------------------------------------------------------


class Progress:
    """Prints the record of a run: validations, and a step every few seconds."""

    def __init__(self, every_s: float = 3.0) -> None:
        self.every_s, self.last = every_s, 0.0

    def __call__(self, row: dict[str, Any]) -> None:
        """Print a row if it is time."""
        import time

        if "loss" not in row:
            found = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "step")
            _say(f"step {row['step']:>6}  {found}")
            return
        now = time.monotonic()
        if now - self.last < self.every_s and row["step"] != row["steps"]:
            return
        self.last = now
        minutes, seconds = divmod(round(row["eta_s"]), 60)
        _say(
            f"step {row['step']:>6}/{row['steps']}  epoch {row['epoch']:.2f}  loss {row['loss']:.4f}  "
            f"grad {row['grad_norm']:.3f}  lr {row['lr']:.2e}  {row['clips_per_s']:.0f} clips/s  "
            f"data wait {row['data_wait']:.0%}  left {minutes}:{seconds:02d}"
        )


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    from au_dist.jobs.session import ray_session

    if address == "local":
        from cluster import local

        current = local.current()
        if current is None:
            raise ClusterError("No local cluster is up", fix="Start one with `au-dist cluster up`.")
        os.environ.update(local.environment(current))
        address = current.address
    with ray_session(address):
        yield


def _job_address(address: str | None) -> tuple[str | None, str]:
    """Return the address for Ray's job API and the Python to run there."""
    from cluster import local

    if address in (None, "local"):
        current = local.current()
        remote = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
        if current is not None and (address == "local" or not remote):
            os.environ.update(local.environment(current))
            return current.dashboard, sys.executable
        if address == "local" or not remote:
            raise ClusterError(
                "There is no cluster to talk to",
                expected="--address, RAY_ADDRESS, or a local cluster",
                fix="Start one with `au-dist cluster up`.",
            )
    return address, "python"


def _check_fits(recipe: "Recipe") -> None:
    from cluster.preflight import Needs, check_fits, cluster_resources

    workers = recipe.workers
    needs = Needs(workers.count, workers.cpus, workers.gpus, data_cpus=recipe.data.cpus * workers.count)
    check_fits(needs, cluster_resources())


def _absolute(recipe: "Recipe") -> "Recipe":
    """Return a recipe whose folders do not depend on the working directory: a job has another one."""
    from au_dist.storage import open_store

    places = {"shards": open_store(recipe.shards).uri, "runs": open_store(recipe.runs).uri}
    return recipe.model_copy(update=places)


def _follow(job: str, address: str | None) -> None:
    from cluster import jobs

    for line in jobs.follow(job, address):
        _say(line)
    code = jobs.exit_code(job, address)
    _say(f"job {job} ended with exit code {code}", err=True)
    raise typer.Exit(code)


def _base(runs: str | None) -> Any:
    from au_dist.storage import open_store

    return open_store(runs) if runs else None


def _needed(where: str | None) -> Any:
    if where is None:
        raise RecipeError("It is not said where the runs are", fix="Give an address, --runs, or set AU_DIST_RUNS.")
    return _base(where)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table that can be read and can be cut: plain columns, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    for index, row in enumerate([columns, *rows]):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        _say("  ".join(cells).rstrip())
        if index == 0:
            _say("  ".join("-" * width for width in widths))


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    """Yield a function that advances a progress bar; silent where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
