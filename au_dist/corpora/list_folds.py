"""What lists say of folds becomes parts of a set: who is tested in which fold, and nobody in two."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.list_files import Listed
from au_dist.data.splits import corpus_of, published_lists


def partitions_of(lists: Iterable[tuple[Listed, set[str]]], here: set[str], notes: list[str]) -> dict[str, list[str]]:
    """Return the parts of a set: ``fold1`` … the subjects that each fold tests; without folds, ``train``, ``test`` ….

    Args:
        lists: Lists and the subjects of their pictures.
        here: The subjects that have pictures.
        notes: What a person should know is put here, a sentence each.

    Raises:
        IngestError: A subject is tested in two folds, or trains and is tested in one.
    """
    who: dict[tuple[str | None, str | None], dict[str, Listed]] = defaultdict(dict)
    for listed, subjects in lists:
        who[listed.name.fold, listed.name.part] |= dict.fromkeys(subjects, listed)
    folds = sorted({fold for fold, _ in who if fold}, key=lambda fold: (re.sub(r"\d", "", fold), number_of(fold)))
    parts = sorted({part for _, part in who if part})
    if not folds:
        for one, other in itertools.combinations(parts, 2):
            _check_apart(who[None, one], who[None, other], f"{one} and {other}")
        return {part: sorted(who[None, part].keys() & here) for part in parts if who[None, part].keys() & here}
    for fold in folds:
        for part in ("train", "validation"):
            _check_apart(who[fold, part], who[fold, "test"], f"{part} and test of {fold}")
    for one, other in itertools.combinations(folds, 2):
        _check_apart(who[one, "test"], who[other, "test"], f"test of {one} and of {other}")
    if loose := sorted({listed.entry.name for part in (*parts, None) for listed in who[None, part].values()}):
        notes.append(f"{len(loose)} lists name no fold: their pictures are taken, and no part is made ({loose[0]}).")
    tested = {fold: sorted(who[fold, "test"].keys() & here) for fold in folds}
    tested = {fold: subjects for fold, subjects in tested.items() if subjects}
    notes += _compared(tested)
    return tested


def number_of(fold: str) -> int:
    """Return the number in the name of a fold."""
    return int(re.sub(r"\D", "", fold) or 0)


def _check_apart(one: dict[str, Listed], other: dict[str, Listed], parts: str) -> None:
    """Refuse subjects that are in two parts that must be apart."""
    if both := sorted(one.keys() & other.keys()):
        raise IngestError(
            f"Subjects are in two parts, {parts}",
            where=f"{one[both[0]].entry.where} and {other[both[0]].entry.where}",
            expected="a person in one of them",
            found=f"{len(both)} in both: {first_few(both)}",
            fix="See whether --subject tells people apart, or take the lists without such folds: --lists PATTERN.",
        )


def _compared(tested: dict[str, list[str]]) -> list[str]:
    """Say whether folds are those that are published of a corpus, since recipes count those by part."""
    said = []
    for corpus in sorted({corpus_of(subject) for subjects in tested.values() for subject in subjects}):
        parts = published_lists().get(corpus)
        if parts is None:
            continue
        mine = {fold: {s.partition("/")[2] for s in some if corpus_of(s) == corpus} for fold, some in tested.items()}
        same = {fold: part for fold, some in mine.items() if some for part in parts if some <= set(parts[part])}
        if len(set(same.values())) == sum(map(bool, mine.values())):
            pairs = ", ".join(f"{fold} is {part}" for fold, part in same.items())
            said.append(f"The folds are the published ones of {corpus}: {pairs} (data.protocol.numbering).")
        else:
            said.append(
                f"The folds are not the published ones of {corpus}, on which data.protocol.kind published tests: list "
                "the subjects of a fold, kind: subjects."
            )
    return said
