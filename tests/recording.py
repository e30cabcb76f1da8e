"""A folder that behaves as an object store at its worst, and notes what changes it, in order."""

from collections.abc import Callable
from dataclasses import dataclass, field

from au_dist.storage.store import Store
from au_dist.train.checkpoint import COMPLETE


@dataclass(frozen=True)
class Recording(Store):
    """A store whose folders are deleted object by object, the seal of a checkpoint last.

    Attributes:
        log: What was done: a verb and a path.
        look: Called after each change.
    """

    log: list[str] = field(default_factory=list, compare=False)
    look: Callable[[], None] = field(default=lambda: None, compare=False)

    def at(self, *parts: str) -> "Recording":
        return Recording(super().at(*parts).uri, self.log, self.look)

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self._note("write", path)

    def delete(self, path: str) -> None:
        below = [] if self.exists(path) else [name for name in self.list(path, recursive=True) if name[-1] != "/"]
        for name in sorted(below, key=lambda name: (name.endswith(COMPLETE), name)):
            super().delete(name)
            self.look()
        super().delete(path)
        self._note("delete", path)

    def _note(self, verb: str, path: str) -> None:
        self.log.append(f"{verb} {path}")
        self.look()
