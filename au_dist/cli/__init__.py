"""The front door: ``au-dist VERB``. No other room prints or exits, but for ``python -m au_dist.cluster.local_s3``.

Heavy libraries are imported by the verbs that need them, so that ``au-dist --help`` answers at once.
"""

import sys
from typing import Any

from au_dist.cli.interrupts import Interrupted, Interrupts, what_is_kept


def main() -> None:
    """Run a verb; an error that is written for a person ends with one paragraph and exit code 2, Ctrl-C with 130."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    with Interrupts() as interrupts:
        try:
            _run(arguments, debug)
        except BaseException as error:
            # Whatever became of it on its way out of libraries.
            if not interrupts.asked and not isinstance(error, KeyboardInterrupt):
                raise
            interrupts.end(str(error) if isinstance(error, Interrupted) else what_is_kept(arguments))


def _run(arguments: list[str], debug: bool) -> None:
    # Imported here: Ctrl-C may come now already.
    from au_dist.cli.sender import check_sender
    from au_dist.cli.terminal import printable, say
    from au_dist.cli.verbs import app
    from au_dist.core.errors import AuDistError

    printable()
    try:
        check_sender()
        app(arguments)
    except AuDistError as error:
        if debug:
            raise
        say(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def __getattr__(name: str) -> Any:
    """Return ``app``, the verbs; they are imported when they are asked for."""
    if name == "app":
        from au_dist.cli.verbs import app

        return app
    raise AttributeError(name)
