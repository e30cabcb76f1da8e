"""Which subjects train, validate and test. Subjects are never shared between the three."""

from collections.abc import Iterable
from dataclasses import dataclass

from au_dist.config import Protocol
from au_dist.errors import RecipeError
from au_dist.seeds import word


@dataclass(frozen=True)
class Split:
    """Subjects by what they are for; sorted, disjoint."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_subjects(subjects: Iterable[str], protocol: Protocol) -> Split:
    """Deal subjects into training, validation and test.

    The dealing is a pure function of the names and the protocol. Folds are filled in the order of a hash of (protocol
    seed, name), so that they differ by at most one subject; validation subjects are cut from the training folds.

    Args:
        subjects: All subjects of the set.
        protocol: How to deal.

    Raises:
        RecipeError: There are too few subjects for each part to have one.
    """
    dealt = sorted(set(subjects), key=lambda name: (word(f"{protocol.seed}/{name}"), name))
    if protocol.kind == "kfold":
        test = dealt[protocol.fold :: protocol.folds]
        rest = [name for name in dealt if name not in set(test)]
    else:
        test, rest = [], dealt
    # A second hash: the validation subjects must not be the head of the order that made the folds.
    rest.sort(key=lambda name: (word(f"{protocol.seed}/validation/{name}"), name))
    cut = max(1, round(len(rest) * protocol.validation))
    split = Split(tuple(sorted(rest[cut:])), tuple(sorted(rest[:cut])), tuple(sorted(test)))
    if not split.train or (protocol.kind == "kfold" and not split.test):
        raise RecipeError(
            "There are too few subjects for this protocol",
            where="data.protocol",
            expected="at least one subject each to train, validate and test",
            found=f"{len(dealt)} subjects for {protocol.folds} folds and {protocol.validation:.0%} validation",
        )
    return split
