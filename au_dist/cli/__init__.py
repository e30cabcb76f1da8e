"""The front door: ``au-dist VERB``. No other room prints or exits, but for ``python -m au_dist.cluster.local_s3``.

Heavy libraries are imported by the verbs that need them, so that ``au-dist --help`` answers at once.
"""

import sys

import typer

from au_dist.cli import checks, cluster, ingest, runs, shards
from au_dist.cli.terminal import say
from au_dist.core.errors import AuDistError

app = typer.Typer(
    name="au-dist",
    help="Distributed training of facial action unit models on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verbs in (ingest, shards, checks, runs, cluster):
    app.add_typer(verbs.app)


def main() -> None:
    """Run a verb; an error that is written for a person ends with one paragraph and exit code 2."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments)
    except AuDistError as error:
        if debug:
            raise
        say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted; the same command resumes", err=True)
        sys.exit(130)
