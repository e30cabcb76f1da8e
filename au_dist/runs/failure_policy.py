"""What becomes of failures of workers: those that another start would meet again end a run, others are told."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ray.train import UserCallback

from au_dist.compat.ray_train import is_unresponsive, is_want_of_room
from au_dist.core.errors import AuDistError, ClusterError, UnavailableError


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it, as Ray Train nests them."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        failures = getattr(cause, "worker_failures", None) or {}
        inner = (getattr(cause, name, None) for name in ("cause", "controller_failure", "__cause__", "__context__"))
        more = (*failures.values(), *inner)
        waiting += [item for item in more if isinstance(item, BaseException)]


def our_error(error: BaseException) -> AuDistError | None:
    """Return the first of our own errors among the causes of another."""
    return next((cause for cause in causes(error) if isinstance(cause, AuDistError)), None)


def want_of_room(error: BaseException) -> bool:
    """Return whether a run ended because its workers were not placed in time."""
    return any(is_want_of_room(cause) for cause in causes(error))


def lost(errors: Mapping[int, BaseException]) -> str:
    """Return in words which ranks failed; those whose process is gone alone, for they are why others fail."""
    gone = {rank: words for rank, error in sorted(errors.items()) if (words := _gone(error))}
    said = gone or {rank: _words(error) for rank, error in sorted(errors.items())}
    return ", ".join(f"rank {rank} ({words})" for rank, words in said.items())


def _words(error: BaseException) -> str:
    text = str(getattr(error, "cause", None) or error).strip()
    if re.search("by peer|Connection closed|Broken pipe", text):
        return "it lost the connection to another"
    return text.partition("\n")[0][:200]


def _gone(error: BaseException) -> str:
    if is_unresponsive(error):
        return "no answer any more"
    text = str(getattr(error, "health_check_failure", None) or error)
    return "its process is gone" if "died" in text or "Died" in type(error).__name__ else ""


class FailurePolicy(UserCallback):
    """Ends a run, instead of starting its workers again, when what a worker met would be met again.

    A missing shard or a full disk is; a store that is away, a lost process and what others say of its loss are not.
    Nor are workers started again whose driver is gone: their placement group would be made while Ray clears up after
    the driver, and would stay.

    Args:
        tell: Called with the words of `lost` where the workers are started again.
        orphaned: Returns whether the driver is gone.
    """

    def __init__(
        self, tell: Callable[[str], object] = lambda words: None, orphaned: Callable[[], bool] = lambda: False
    ) -> None:
        self.tell, self.orphaned = tell, orphaned

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called in Ray Train's controller when workers have failed.

        Raises:
            AuDistError: The run is to end.
        """
        for error in worker_exceptions.values():
            ours = our_error(error)
            if ours is not None and not isinstance(ours, UnavailableError):
                raise ours
        if self.orphaned():
            raise ClusterError("The driver of this run has ended", found=lost(worker_exceptions))
        self.tell(lost(worker_exceptions))
