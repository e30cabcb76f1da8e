"""Released weights by name, and what becomes of them here."""

import re
from dataclasses import dataclass
from typing import Literal

import torch

from au_dist.config.sections import Model
from au_dist.core.errors import CheckpointError

Tensors = dict[str, torch.Tensor]
Colour = tuple[float, float, float]


class Names:
    """Weights by name, of which it is known which were taken."""

    def __init__(self, tensors: Tensors) -> None:
        self.given, self._taken = tensors, set[str]()

    def take(self, name: str) -> torch.Tensor:
        """Return a weight, which counts as taken.

        Raises:
            CheckpointError: It is not there.
        """
        if name not in self.given:
            raise CheckpointError("A weight is not in the checkpoint", where=name, found=self.some)
        self._taken.add(name)
        return self.given[name]

    def drop(self, pattern: str) -> None:
        """Count as taken what a network computes for itself."""
        self._taken |= {name for name in self.given if re.search(pattern, name)}

    @property
    def left(self) -> tuple[str, ...]:
        """Names that were not taken, sorted."""
        return tuple(sorted(set(self.given) - self._taken))

    @property
    def some(self) -> str:
        """What is there, for people."""
        return f"{len(self.given)} weights, e.g. {', '.join(list(self.given)[:3])}"


@dataclass(frozen=True)
class Published:
    """A released network, as one of this project.

    Attributes:
        model: The model section that makes it.
        size: Side of its input in pixels.
        num_aus: How many action units it tells apart.
        aus: Which, where that does not depend on a corpus; empty otherwise.
        weights: By the names of a detector here; without `heads.` where it has no classifier.
        calls: Whether it has one.
        numbering: How its project counts published folds (`Protocol.numbering`).
        whole: Whether it has all else; otherwise `weights` are those of an encoder alone, by the names of one here.
        left: Names of the file that were left out.
        notes: What a person should know, a sentence each.
    """

    model: Model
    size: int
    num_aus: int
    aus: tuple[int, ...]
    weights: Tensors
    calls: bool
    left: tuple[str, ...]
    notes: tuple[str, ...]
    numbering: Literal["part", "file"] = "file"
    whole: bool = True


def plain(weights: Tensors) -> Tensors:
    """Return weights in single precision, each in memory of its own."""
    return {
        name: tensor.float().contiguous() if tensor.is_floating_point() else tensor for name, tensor in weights.items()
    }
