"""Verbs of clusters and jobs."""

import os
import shlex
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from au_dist.cli.interrupts import Interrupted
from au_dist.cli.options import Address, Overrides, RecipeFile, check_fits, ray
from au_dist.cli.terminal import note, say, table
from au_dist.core.errors import ClusterError

if TYPE_CHECKING:
    from au_dist.cli.sending import Sent
    from au_dist.cluster.local import LocalCluster

app = typer.Typer()
cluster_app = typer.Typer(help="A Ray cluster of several nodes on this machine.", no_args_is_help=True)
app.add_typer(cluster_app, name="cluster")


@cluster_app.command("up")
def cluster_up(
    nodes: Annotated[int, typer.Option(help="Number of Ray nodes.")] = 2,
    cpus: Annotated[int, typer.Option(help="CPUs that each node pretends to have.")] = 2,
    gpus: Annotated[int, typer.Option(help="This machine's GPUs that are dealt to the nodes, as many to each.")] = 0,
    dashboard_host: Annotated[str, typer.Option(help="Where the dashboard and job server listen.")] = "127.0.0.1",
) -> None:
    """Start several Ray nodes on this machine."""
    from au_dist.cluster import local

    if nodes >= 1 and gpus % nodes:
        raise ClusterError(
            "The GPUs cannot be dealt to the nodes", expected=f"a multiple of {nodes} nodes", found=f"{gpus} GPUs"
        )
    up = local.up(nodes=nodes, cpus_per_node=cpus, gpus_per_node=gpus // max(nodes, 1), dashboard_host=dashboard_host)
    cards = f" and {gpus // nodes} GPUs" if gpus else ""
    say(f"cluster    {up.address}  {up.nodes} nodes of {cpus} CPUs{cards}")
    say(f"dashboard  {up.dashboard}  (it asks for the token in {up.token_path})")
    say(f"metrics    {up.metrics}, for Prometheus")
    say("Use it with `au-dist submit RECIPE`, or `--address local` on any verb.")


@cluster_app.command("status")
def cluster_status() -> None:
    """Show what `cluster up` started: its nodes, and the jobs that have not ended."""
    from au_dist.cluster import jobs, local

    running = _running()
    say(f"cluster    {running.address}")
    say(f"dashboard  {running.dashboard}  (it asks for the token in {running.token_path})")
    say(f"metrics    {running.metrics}, for Prometheus")
    under_way = [row for row in jobs.jobs(running.dashboard) if row.exit_code is None]
    table(
        ["node", "state", "CPUs", "GPUs", "memory, GiB"],
        [
            [one.name, "alive" if one.alive else "GONE", f"{one.cpus:g}", f"{one.gpus:g}", f"{one.memory / 2**30:.1f}"]
            for one in local.nodes(running)
        ],
    )
    say(f"jobs under way: {', '.join(row.job_id for row in under_way) or 'none'}")


@cluster_app.command("env")
def cluster_env() -> None:
    """Print the variables with which Ray's own commands reach it: eval "$(au-dist cluster env)"."""
    from au_dist.cluster import local

    for name, text in local.environment(_running()).items():
        say(f"export {name}={shlex.quote(text)}")


@cluster_app.command("down")
def cluster_down() -> None:
    """Stop the nodes that `cluster up` started."""
    from au_dist.cluster import local

    say(f"stopped {local.down()} processes")


def _running() -> "LocalCluster":
    from au_dist.cluster import local

    current = local.current()
    if current is None:
        raise ClusterError("No local cluster is up", where=local.record_file(), fix="Start one: `au-dist cluster up`.")
    return current


#: What stands before a finding that is good, bad, or will do.
SIGNS = {True: "ok", False: "BAD", None: "note"}


@cluster_app.command("preflight")
def cluster_preflight(
    recipe: RecipeFile,
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Say what would keep a run from going well: room, versions, clocks, disks, the store, GPUs of every node."""
    from au_dist.recipes.files import absolute, load_recipe

    loaded = absolute(load_recipe(recipe, overrides or [], note))
    with ray(address):
        from au_dist.checks.nodes import check_nodes

        least = check_fits(loaded)
        found = check_nodes(loaded)
    say(f"ok    room      {'1 worker fits' if least == 1 else f'{least} workers fit'}")
    for one in found:
        say(f"{SIGNS[one.good]:<4}  {one.matter:<8}  {one.words}")
    if bad := [one.matter for one in found if one.good is False]:
        raise ClusterError("The run would not go well on this cluster", found=f"see above: {', '.join(bad)}")


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    command: Annotated[
        list[str], typer.Argument(metavar="[VERB] ...", help="As after `au-dist`; or a recipe to train.")
    ],
    address: Address = None,
    follow: Annotated[bool, typer.Option(help="Follow the log to the end; exit with the job's code.")] = True,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Variable to send, by its name.")] = None,
    driver_cpus: Annotated[float | None, typer.Option(min=0, help="CPUs for the command itself.")] = None,
    driver_gpus: Annotated[float | None, typer.Option(min=0, help="GPUs for the command itself.")] = None,
    driver_memory: Annotated[float | None, typer.Option(min=0, help="GiB for the command itself.")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Queue it in SLURM, with a Ray of its own there.")] = False,
    sbatch: Annotated[str, typer.Option(metavar="OPTIONS", help="Of sbatch: '--nodes=4 --time=8:00:00'.")] = "",
    show: Annotated[bool, typer.Option("--print", help="With --slurm: print what would be queued.")] = False,
) -> None:
    """Give a command to a cluster, as a Ray job, or to SLURM: train, tune, evaluate, ingest, predict, plan.

    The same command again follows the Ray job that runs, or starts another attempt if it has ended.
    """
    from au_dist.cli.sender import sender
    from au_dist.cli.sending import sent, variables
    from au_dist.cli.verbs import app as verbs
    from au_dist.cluster import jobs

    if slurm:
        if env or address or not follow or {driver_cpus, driver_gpus, driver_memory} != {None}:
            found = "--address, --env, --driver-cpus, --driver-gpus, --driver-memory or --no-follow"
            raise ClusterError("This goes with a Ray cluster, not with --slurm", found=found)
        _queue(sent(verbs, command, lambda text: None), shlex.split(sbatch), show)
        return
    chosen, job = variables(env or [], os.environ), sent(verbs, command, note)
    place, python = _job_address(address)
    amounts = {"num_cpus": driver_cpus, "num_gpus": driver_gpus}
    resources = {what: amount for what, amount in amounts.items() if amount is not None}
    if driver_memory is not None:
        resources["memory"] = int(driver_memory * 2**30)
    job_id, new = jobs.submit(
        [python, "-m", "au_dist", *job.words],
        job.files,
        place,
        {**chosen, **sender()},
        {"name": job.name, "verb": job.verb},
        name=job.job(chosen),
        resources=resources,
    )
    say(f"job  {job_id}" if new else f"job  {job_id}, which runs already")
    if follow:
        _follow(job_id, place)


def _queue(job: "Sent", options: list[str], show: bool) -> None:
    from au_dist.cluster.packing import refuse_secrets
    from au_dist.cluster.slurm.queue import SCRIPT, queue, sbatch

    refuse_secrets(job.typed, {}, {}, {}, os.environ)
    command = sbatch(job.name, options, job.typed)
    if show:
        say(f"# {shlex.join(command)}\n{SCRIPT.read_text().rstrip()}")
        return
    number = queue(command)
    say(f"job  {number} of SLURM")
    say(f"log  {job.name}-{number}.log, and {job.name}-{number}-node-0.log and so on, here")
    say(f"`scancel --batch --signal=TERM {number}` stores a checkpoint and queues it again, `scancel {number}` ends it")


@app.command("jobs")
def list_jobs(address: Address = None) -> None:
    """List the jobs of a cluster."""
    from datetime import datetime

    from au_dist.cluster import jobs

    def clock(seconds: float | None) -> str:
        return "–" if seconds is None else datetime.fromtimestamp(seconds).strftime("%m-%d %H:%M:%S")

    rows = jobs.jobs(_job_address(address)[0])
    table(
        ["job", "verb", "name", "status", "started", "ended", "exit code"],
        [
            [
                r.job_id,
                r.metadata.get("verb", "–"),
                r.metadata.get("name", "–"),
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
    from au_dist.cluster import jobs

    place = _job_address(address)[0]
    if follow:
        _follow(job, place)
    else:
        say(jobs.logs(job, place).rstrip("\n"))


@app.command()
def stop(job: Annotated[str, typer.Argument(help="The job.")], address: Address = None) -> None:
    """Stop a job; submitting its recipe again resumes."""
    from au_dist.cluster import jobs

    stopped = jobs.stop(job, _job_address(address)[0])
    say(f"stopped {job}" if stopped else f"{job} had ended before")


def _job_address(address: str | None) -> tuple[str | None, str]:
    """Return the address for Ray's job API and the Python to run there."""
    from au_dist.cluster import local

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


def _follow(job: str, address: str | None) -> None:
    from au_dist.cluster import jobs

    missing = False
    try:
        for line in jobs.follow(job, address):
            missing = missing or line.endswith("No module named au_dist")
            say(line)
        code = jobs.exit_code(job, address)
    except KeyboardInterrupt:
        raise Interrupted(
            f"job {job} goes on: `au-dist logs -f {job}` follows it again, `au-dist stop {job}` ends it"
        ) from None
    if missing:
        raise ClusterError(
            "The cluster has no au-dist",
            where=job,
            expected=f"au-dist {version('au-dist')}, as here, in the Python that runs jobs",
            found="No module named au_dist",
            fix="Install it on the nodes, or into their image.",
        )
    say(f"job {job} ended with exit code {code}", err=True)
    raise typer.Exit(code)
