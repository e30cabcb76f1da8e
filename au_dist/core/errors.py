"""The errors a person can meet, as a tree.

    AuDistError                    exit code 2, one paragraph, no traceback without --debug
    ├── RecipeError                a recipe, a campaign or an option is wrong
    ├── StorageError               object storage: refused, missing, corrupt transfer
    │   ├── UnavailableError           it cannot be reached or is overloaded; another try may succeed
    │   ├── RefusedError               it refuses the credentials
    │   └── AbsentError                what was asked for is not there
    ├── ShardError                 shards or their manifest: missing, truncated, changed
    ├── IngestError                videos, labels, faces
    ├── CheckpointError            a checkpoint is absent, incomplete, damaged or does not fit
    ├── TrainError                 a run cannot go on (not finite)
    │   └── RunStoppedError            something outside stopped it (workers lost, or never placed); it can go on later
    └── ClusterError               the cluster: absent, too small, a job failed

Every message says what happened, where, what was expected, what was found and what to do.
"""


class AuDistError(Exception):
    """Base of every error that is written for a person.

    Args:
        what: What happened, a sentence without its full stop.
        where: The file, URI, row or field it happened at.
        expected: What was expected there.
        found: What was found there.
        fix: What the person can do about it.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.found, self.fix = what, where, expected, found, fix
        super().__init__(what, where, expected, found, fix)

    def __str__(self) -> str:
        parts = [self.what if self.where is None else f"{self.what} ({self.where})"]
        if self.expected is not None:
            parts.append(f"Expected {self.expected}")
        if self.found is not None:
            parts.append(f"Found {self.found}")
        if self.fix is not None:
            parts.append(self.fix)
        return " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.expected, self.found, self.fix))


def _rebuild(
    kind: type[AuDistError], what: str, where: object, expected: object, found: object, fix: str | None
) -> AuDistError:
    return kind(what, where=where, expected=expected, found=found, fix=fix)


class RecipeError(AuDistError):
    """A recipe, a campaign or a command-line value is wrong."""


class StorageError(AuDistError):
    """Object storage is unreachable, refuses, or lacks what was asked for."""


class UnavailableError(StorageError):
    """Object storage cannot be reached or is overloaded, for now."""


class RefusedError(StorageError):
    """Object storage refuses the credentials, or to do this with them."""


class AbsentError(StorageError):
    """What was asked for is not in storage."""


class ShardError(AuDistError):
    """A shard or manifest is missing, truncated, changed or of another version."""


class IngestError(AuDistError):
    """A video, a label file or a face cannot be taken in."""


class CheckpointError(AuDistError):
    """A checkpoint is absent, incomplete, damaged, or does not fit the recipe."""


class TrainError(AuDistError):
    """A run cannot go on."""


class RunStoppedError(TrainError):
    """Something outside a run stopped it; the same command takes it up again."""


class LeaseLostError(TrainError):
    """A run belongs to another command now."""


class ResumeError(RunStoppedError):
    """A run was asked to stop and did; the same command takes it up again."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class ClusterError(AuDistError):
    """The cluster is absent, too small, or a job on it failed."""


class NoRoomError(ClusterError):
    """Others fill the cluster, for now; the same command may find room later."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again
