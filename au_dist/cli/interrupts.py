"""Ctrl-C: what was stopped, what of it is kept, and how it goes on, in one line; exit code 130."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

AGAIN = "the same command begins anew"

#: Verb → what is said when it is interrupted.
WORDS = {
    "ingest": "the ingest stopped; recordings that were read to their end are kept, the same command goes on with the "
    "others",
    "synth": f"the making of faces stopped; nothing of the set is published, {AGAIN}",
    "merge": f"the merging stopped; nothing of the merged set is published, {AGAIN}",
    "doctor": f"the examination stopped; nothing was changed, {AGAIN}",
    "verify-order": f"the proof stopped; nothing was changed, {AGAIN}",
    "train": "training stopped; checkpoints that were stored are kept, the same command goes on from the newest, or "
    "begins anew where there is none",
    "plan": f"the measuring stopped; nothing of the short runs is to be kept, {AGAIN}",
    "evaluate": f"the scoring stopped; no report was written, {AGAIN}",
    "runs": f"the listing stopped; nothing was changed, {AGAIN}",
    "best": f"the search stopped; nothing was changed, {AGAIN}",
    "pull": "the copying stopped; files that were copied are kept: empty the folder before the same command",
    "import": f"the import stopped; nothing without its file COMPLETE is a model: empty the folder, {AGAIN}",
    "predict": "the prediction stopped; results of videos that were done are kept, the same command makes the others",
    "tune run": "the campaign stopped; its trials are kept as far as they came, the same command goes on with it",
    "tune status": f"the reading stopped; nothing was changed, {AGAIN}",
    "tune points": f"the reading stopped; nothing was changed, {AGAIN}",
    "tune report": f"the writing stopped; the report that was there is kept, {AGAIN}",
    "tune confirm": "the training stopped; runs that ended are kept, the same command goes on with the others",
    "tune clean": "the removal stopped; what was removed is gone, the same command removes the rest",
    "tune stop": "the campaign may have been asked to stop all the same; `au-dist tune status` tells, the same command "
    "asks again",
    "cluster up": f"the start stopped; nodes that had started are stopped too, {AGAIN}",
    "cluster down": "the stopping stopped; processes may be left, the same command stops the others",
    "cluster status": f"the look stopped; nothing was changed, {AGAIN}",
    "cluster env": f"the look stopped; nothing was changed, {AGAIN}",
    "cluster preflight": f"the check stopped; nothing was changed, {AGAIN}",
    "submit": "the job, if it was submitted, goes on without this command; `au-dist jobs` lists it",
    "jobs": f"the listing stopped; nothing was changed, {AGAIN}",
    "logs": "the log is followed no longer; the job goes on, the same command follows it again",
    "stop": "the request stopped; the job may go on, the same command asks again",
}


class Interrupted(BaseException):
    """Ctrl-C where more is known of what is kept than `WORDS` say; its text is said instead.

    No `KeyboardInterrupt`: typer would make another exception of it.
    """


def what_is_kept(arguments: Sequence[str]) -> str:
    """Return what to say when a command is interrupted."""
    plain = [argument for argument in arguments if not argument.startswith("-")]
    verb = next((name for name in (" ".join(plain[:2]), *plain[:1]) if name in WORDS), None)
    return WORDS[verb] if verb else f"nothing was done, {AGAIN}"


class Interrupts:
    """Takes note of Ctrl-C for the length of a block, whatever becomes of the exception in libraries.

    A second Ctrl-C does not wait for what is still cleared up.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        # A process that was interrupted is about to end: no third Ctrl-C is to show a traceback.
        if self._before is not None and not self.asked:
            signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os.write(2, b"interrupted again: ended at once\n")
            os._exit(130)
        self.asked = True
        raise KeyboardInterrupt

    def end(self, words: str) -> NoReturn:
        """Say what was stopped, and end the process."""
        # An interrupted `exec` of text, as `dataclass` does, has Python end `-m` by the signal unless one is run after.
        exec("")
        sys.stdout.flush()
        sys.stderr.write(f"interrupted: {words}\n")
        sys.stderr.flush()
        sys.exit(130)
