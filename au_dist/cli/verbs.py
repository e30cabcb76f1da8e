"""All verbs of ``au-dist``."""

import typer

from au_dist.cli import checks, cluster, ingest, runs, shards

app = typer.Typer(
    name="au-dist",
    help="Distributed training of facial action unit models on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verbs in (ingest, shards, checks, runs, cluster):
    app.add_typer(verbs.app)
