"""Verbs that train, score, find and use models."""

import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from au_dist.cli.options import (
    CROPPED,
    Address,
    Checkpoint,
    Faces,
    Overrides,
    RecipeFile,
    ReleasedAs,
    Runs,
    Which,
    check_fits,
    default_parallel,
    most_that_fit,
    needed,
    placed,
    ray,
    store,
)
from au_dist.cli.preview import show_preview
from au_dist.cli.terminal import Progress, asked_to_stop, note, number, say, table

if TYPE_CHECKING:
    from au_dist.scoring.predict_many import Row

app = typer.Typer()


#: Values in which recipes differ that the list of runs shows as columns.
MOST_VALUES = 8


@app.command()
def train(
    recipe: RecipeFile,
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Train a recipe; the same command again resumes. SIGTERM stores a checkpoint and ends with exit code 75."""
    from au_dist.recipes.files import load_recipe

    loaded = load_recipe(recipe, overrides or [], note)
    with ray(address), asked_to_stop() as stop:
        from au_dist.runs.train import train as run

        check_fits(loaded)
        result = run(loaded, Progress(), stop=stop)
    best = f"best {result['metric']} {number(result['best'])} at step {result['best_step']}"
    judged = best if loaded.data.protocol.validation else "the last counts: nobody validated"
    say(f"run  {result['run']}  {result['steps']} steps, {judged}")


@app.command()
def plan(
    recipe: RecipeFile,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps that are measured of each short run.")] = 20,
    variants: Annotated[bool, typer.Option(help="Measure other settings of decoding and DeepSpeed too.")] = True,
    address: Address = None,
) -> None:
    """Measure a recipe in short runs: speed, waiting, memory, hours, and what to change. Nothing of it is kept."""
    from au_dist.recipes.files import load_recipe

    loaded = load_recipe(recipe, overrides or [], note)
    with ray(address):
        from au_dist.runs.preview import preview

        workers = most_that_fit(loaded)
        show_preview(preview(loaded, workers, steps, variants, lambda what: say(f"measuring {what}", err=True)))


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="A run (address, or name below --runs) or a checkpoint.")],
    runs: Runs = None,
    which: Which = Checkpoint.BEST,
    address: Address = None,
) -> None:
    """Score a model on the test subjects, per action unit: F1, AUC, prevalence; of intensity ICC, PCC, MSE, MAE."""
    with ray(address):
        from au_dist.scoring.evaluate import evaluate as score

        report = score(run, which=which.value, runs=store(runs))
    columns = report["measures"]
    rows = [[row["name"], *(number(row[key]) for key in columns), f"{row['frames']:.0f}"] for row in report["aus"]]
    out = [row["name"] for row in report["aus"] if row["name"] not in report["averaged"]]
    over = f"average of {len(report['averaged'])}" if out else "average"
    rows.append([over, *(number(report["average"][key]) for key in columns), ""])
    table(["action unit", *columns.values(), "frames"], rows)
    if out:
        say(f"not in the average: {', '.join(out)}: the labels of the test subjects are of one kind, or absent")
    for one in report["baselines"]:
        verb = {True: "beats", False: "does NOT beat", None: "cannot be compared with"}[one["beaten"]]
        say(f"{one['measure']} {number(one['this'])} {verb} {number(one['its'])} of {one['baseline']}")
    if report["no_baseline"]:
        say(f"no ridge regression beside it: {report['no_baseline']}")
    say(f"{report['stamp']} {report['rows_scored']} of {report['rows_expected']} frames scored.")
    if faults := report["unreadable"]:
        say(f"{len(faults)} frames do not decode and are left out, e.g. {faults[0]}")
    say(f"report  {report['html']}")


@app.command("runs")
def list_runs(
    where: Annotated[str | None, typer.Argument(help="Address below which to look; --runs by default.")] = None,
    runs: Runs = None,
    metric: Annotated[str | None, typer.Option(help="Metric to show.")] = None,
) -> None:
    """List the runs in storage, with the values in which their recipes differ."""
    from au_dist.core.words import first_few, short
    from au_dist.runs.listing import list_runs as rows_of
    from au_dist.runs.listing import varied

    rows = rows_of(needed(where or runs), metric)
    differ = varied(rows)
    shown = differ if len(differ) <= MOST_VALUES else {}
    table(
        ["run", "kind", "status", "steps", "best", "metric", "at step", *shown],
        [
            [r.name, r.kind, r.status, str(r.steps), number(r.best), r.metric, str(r.best_step) if r.steps else "–"]
            + ["–" if values[place] is None else short(values[place]) for values in shown.values()]
            for place, r in enumerate(rows)
        ],
    )
    if differ and not shown:
        say(f"The recipes differ in {len(differ)} values: {first_few(differ)}.")


@app.command()
def best(
    where: Annotated[str | None, typer.Argument(help="Address below which to look; --runs by default.")] = None,
    runs: Runs = None,
    metric: Annotated[str | None, typer.Option(help="Metric; each run's own by default.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only `aunce`, `predictive`, `detection` or `intensity` runs.")
    ] = None,
) -> None:
    """Print the address of the run with the best checkpoint."""
    from au_dist.runs.listing import best_run

    row = best_run(needed(where or runs), metric, kind)
    say(f"{row.metric} {row.best:.4f} at step {row.best_step} of {row.name} ({row.kind})", err=True)
    say(row.place.uri)


@app.command()
def pull(
    run: Annotated[str, typer.Argument(help="A run (address, or name below --runs), a checkpoint or a campaign.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to copy the model to.")] = Path("model"),
    runs: Runs = None,
    which: Which = Checkpoint.BEST,
    trial: Annotated[int | None, typer.Option(help="Of a campaign: this trial, not the best.", min=0)] = None,
) -> None:
    """Copy the best checkpoint to a folder and verify its hashes."""
    from au_dist.runs.listing import pull as copy
    from au_dist.tuning.claims import is_campaign, stored_campaign

    if trial is not None or is_campaign(run):
        from au_dist.tuning.record import trials_of
        from au_dist.tuning.report import best_of

        campaign = stored_campaign(run)
        run = best_of(campaign, trials_of(campaign), trial)
    pulled = copy(run, to, which=which.value, base=store(runs))
    say(f"model  {to}  step {pulled['step']} of {pulled['checkpoint']}: {', '.join(pulled['files'])}, hashes verified")


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Released weights: .pth, .pt or .safetensors.")],
    kind: Annotated[ReleasedAs, typer.Option("--as", help="What they were released as.")],
    to: Annotated[Path, typer.Option("--to", "--out", help="Folder for the model.")] = Path("model"),
    trained_on: Annotated[str | None, typer.Option(help="Corpus of its training: bp4d, disfa, …")] = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Published fold of its training, as its lists count.")] = None,
    aus: Annotated[str | None, typer.Option(help="Action units in the order of its classes, e.g. 1,2,4.")] = None,
    neighbors: Annotated[int, typer.Option(min=1, help="Edges of each action unit in its relation graph.")] = 4,
) -> None:
    """Turn released weights of another project into a model: `predict` takes it, `init` starts from it."""
    from au_dist.corpora.options import action_units
    from au_dist.runs.imported import TrainedOn, import_checkpoint

    training = TrainedOn(trained_on, fold, action_units(aus) if aus else ())
    done = import_checkpoint(file, kind.value, to, training, neighbors)
    for text in done.notes:
        note(text)
    model = ", ".join(f"{key}: {value}" for key, value in done.recipe.model.model_dump(exclude_defaults=True).items())
    what, start = (f"model  {to}  {done.recipe.learns.name}", f"init: {{run: {to}}}  ") if done.aus else ("encoder", "")
    say(f"{what}; recipes that start from it need")
    say(f"  {start}data.size: {done.recipe.data.size}  model: {{{model}}}")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint or a pulled model folder.")],
    videos: Annotated[list[str], typer.Argument(help="Videos, pictures, folders of them; also s3://…")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; of one video also its CSV.")] = Path("."),
    faces: Annotated[Faces, typer.Option(help="The main face only, or all.")] = Faces.MAIN,
    runs: Runs = None,
    which: Which = Checkpoint.BEST,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that predict did not write.")] = False,
    detector: Annotated[str | None, typer.Option(help="What finds faces; that of the model if absent.")] = None,
    landmarks: Annotated[Path | None, typer.Option(help="For the detector `landmarks`: a CSV, or a folder.")] = None,
    detect_side: Annotated[int | None, typer.Option(help="Longest side for finding; the model's if absent.")] = None,
    cropped: Annotated[bool | None, CROPPED] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Videos at a time; one a CPU if absent.")] = None,
    address: Address = None,
) -> None:
    """Predict action units on videos: a CSV in OpenFace's columns and a timeline each; of many also a table of all."""
    from au_dist.scoring.sources import is_one

    options = {
        "detector": detector and placed(detector),
        "landmarks": landmarks and landmarks.absolute(),
        "detect_side": detect_side,
        "cropped": cropped,
        "which": which.value,
        "faces": faces.value,
        "base": store(runs),
        "overwrite": overwrite,
    }
    if len(videos) == 1 and is_one(videos[0]):
        from au_dist.scoring.predict import predict as run

        prediction = run(model, videos[0], out, **options)
        for text in prediction.notes:
            note(text)
        say(f"csv      {prediction.csv}  {prediction.frames} frames, {prediction.frames_with_face} with a face")
        say(f"picture  {prediction.picture}")
        return
    with ray(address):
        from au_dist.scoring.predict_many import check_all, predict_many

        at_once = parallel or default_parallel(address)
        show = functools.partial(_show_video, said=set())
        many = predict_many(model, videos, out, parallel=at_once, show=show, **options)
    for text in many.notes:
        note(text)
    for text, count in Counter(text for row in many.rows if row.made for text in row.made.notes).items():
        if count > 1:
            note(f"of {count} videos: {text}")
    before = sum(row.done_before for row in many.rows)
    say(f"table    {many.table}  {len(many.rows)} videos" + (f", {before} of them done before" if before else ""))
    check_all(many)


def _show_video(row: "Row", done: int, total: int, said: set[str]) -> None:
    """Show a video that is done; what was said of an earlier one already is in the table, and counted at the end."""
    made = row.made
    text = f"set aside: {row.error}" if made is None else (
        f"{made.frames} frames, {made.frames_with_face} with a face{', done before' if row.done_before else ''}"
    )  # fmt: skip
    say(f"{done}/{total}  {row.source.name}  {text}")
    for sentence in made.notes if made else ():
        if sentence not in said:
            note(f"{row.source.name}: {sentence}")
            said.add(sentence)
