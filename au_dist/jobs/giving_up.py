"""Which failures of workers end a run: those that another start would meet again."""

from typing import Any

from ray.train import UserCallback

from au_dist.errors import AuDistError, UnavailableError


def our_error(error: BaseException) -> AuDistError | None:
    """Return the first of our own errors among the causes of another."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, AuDistError):
            return cause
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        failures = getattr(cause, "worker_failures", None) or {}
        inner = (getattr(cause, name, None) for name in ("cause", "controller_failure", "__cause__", "__context__"))
        more = (*failures.values(), *inner)
        waiting += [item for item in more if isinstance(item, BaseException)]
    return None


class GiveUp(UserCallback):
    """Ends a run, instead of starting its workers again, when what a worker met would be met again.

    A missing shard or a full disk is; a store that is away, a lost process and what others say of its loss are not.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called in Ray Train's controller when workers have failed.

        Raises:
            AuDistError: The run is to end.
        """
        for error in worker_exceptions.values():
            found = our_error(error)
            if found is not None and not isinstance(found, UnavailableError):
                raise found
