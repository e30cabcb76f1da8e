"""All verbs of ``au-dist``."""

from typing import Annotated

import typer

from au_dist.cli import checks, cluster, ingest, runs, shards, tune
from au_dist.cli.terminal import say

app = typer.Typer(
    name="au-dist",
    help="Distributed training of facial action unit models on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"au-dist {version('au-dist')}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    """Distributed training of facial action unit models on Ray."""


for verbs in (ingest, shards, checks, runs, tune, cluster):
    app.add_typer(verbs.app)
