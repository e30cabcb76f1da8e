"""Options that several verbs share, and the connection to Ray that they ask for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from au_dist.core.cpus import own_cpus
from au_dist.core.errors import ClusterError, RecipeError

if TYPE_CHECKING:
    from au_dist.cluster.preflight import Needs
    from au_dist.recipes.recipe import Recipe

OUT = typer.Option("--out", help="Where the shards go: s3://bucket/prefix or a folder.")
ADDRESS = typer.Option(help="Ray cluster; `local` is that of `cluster up`. RAY_ADDRESS, else one in this process.")

CROPPED = typer.Option(
    "--already-cropped/--crop-again",
    help="Square frames that a face fills: face crops, to be taken as they are, or videos to crop as all others.",
)

Out = Annotated[str, OUT]
Address = Annotated[str | None, ADDRESS]
Runs = Annotated[str | None, typer.Option("--runs", envvar="AU_DIST_RUNS", help="Where runs are stored.")]
RecipeFile = Annotated[Path, typer.Argument(help="Recipe (YAML).")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace values of the file.")]


class Checkpoint(StrEnum):
    """Which checkpoint of a run."""

    BEST = "best"
    LAST = "last"


class ReleasedAs(StrEnum):
    """Projects whose weights can be imported."""

    ME_GRAPHAU = "me-graphau"
    OPENGRAPHAU = "opengraphau"
    AUNCE = "aunce"
    FMAE = "fmae"


class Faces(StrEnum):
    """Which faces of a video."""

    MAIN = "main"
    ALL = "all"


Which = Annotated[Checkpoint, typer.Option("--checkpoint", help="Which checkpoint of a run.")]


def placed(detector: str) -> str:
    """Return a detector as every process finds it: workers have other working directories."""
    file, colon, function = detector.rpartition(":")
    return f"{Path(file).absolute()}:{function}" if colon and file.endswith(".py") else detector


@contextmanager
def ray(address: str | None) -> Iterator[None]:
    """Connect to Ray for the length of a verb.

    Ray must not be imported before, nor what imports it: it reads only then that the cluster asks for a token.
    """
    from au_dist.runs.session import ray_session

    if address == "local":
        from au_dist.cluster import local

        current = local.current()
        if current is None:
            raise ClusterError("No local cluster is up", fix="Start one with `au-dist cluster up`.")
        os.environ.update(local.environment(current))
        with ray_session(current.address, source=str(local.record_file())):
            yield
        return
    with ray_session(address, source="--address"):
        yield


def default_parallel(address: str | None) -> int:
    """Return how many CPUs there are, of the connected cluster or of this machine: as many files are read at a time."""
    if address is None and "RAY_ADDRESS" not in os.environ:
        return own_cpus()
    import ray as cluster

    return int(cluster.cluster_resources().get("CPU", 1))


def store(runs: str | None) -> Any:
    """Return the store of an address, if there is one."""
    from au_dist.storage.store import open_store

    return open_store(runs) if runs else None


def needed(where: str | None) -> Any:
    """Return the store of an address that must be there."""
    if where is None:
        raise RecipeError("It is not said where the runs are", fix="Give an address, --runs, or set AU_DIST_RUNS.")
    return store(where)


def check_fits(recipe: "Recipe") -> int:
    """Return the least workers of a recipe; refuse it where the connected cluster cannot place them."""
    from au_dist.cluster import preflight
    from au_dist.train.plan import worker_counts

    least = worker_counts(recipe)[0]
    preflight.check_fits(_needs(recipe, least), preflight.cluster_resources())
    return least


def most_that_fit(recipe: "Recipe") -> int:
    """Return the most workers of a recipe that the connected cluster can place; refuse it where not even the least."""
    from au_dist.cluster import preflight
    from au_dist.train.plan import worker_counts

    least, there = check_fits(recipe), preflight.cluster_resources()
    counts = reversed(worker_counts(recipe))
    return next((count for count in counts if preflight.largest_fit(_needs(recipe, count), there) == count), least)


def _needs(recipe: "Recipe", count: int) -> "Needs":
    from au_dist.cluster.preflight import Needs

    workers = recipe.workers
    return Needs(
        count,
        workers.cpus,
        workers.gpus,
        data_cpus=recipe.data.cpus * count,
        worker_labels=workers.node_labels,
        data_labels=recipe.data.node_labels,
    )
