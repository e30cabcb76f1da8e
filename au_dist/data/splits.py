"""Which subjects train, validate and test. Subjects are never shared between the three."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from au_dist.config.protocol import Protocol
from au_dist.core.errors import RecipeError
from au_dist.core.seeds import word
from au_dist.core.words import first_few
from au_dist.data.order import RowGroupRef
from au_dist.shards.format import Manifest

#: Names of a published partition's test part, the first that a corpus has; Aff-Wild2 calls it validation.
TEST_PARTS = ("test", "validation")

#: Names of parts that a fold tests.
FOLD = r"(?:fold|part)\d+"


@dataclass(frozen=True)
class Split:
    """Subjects by what they are for; sorted, disjoint."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_subjects(
    subjects: Iterable[str], protocol: Protocol, partitions: Mapping[str, Sequence[str]] | None = None
) -> Split:
    """Deal subjects into training, validation and test.

    The dealing is a pure function of the names, the protocol and the corpora's own partitions. Folds of ``kfold`` are
    filled in the order of a hash of (protocol seed, name), so that they differ by at most one subject; validation
    subjects are cut from the training subjects, none where the protocol wants none.

    Args:
        subjects: All subjects of the set.
        protocol: How to deal.
        partitions: Name of a part that a corpus publishes → its subjects, from the set's manifest.

    Raises:
        RecipeError: There are too few subjects for each part to have one, or the protocol does not know one of them.
    """
    names = sorted(set(subjects))
    test = _tested(names, protocol, partitions or {})
    # A hash of its own: the validation subjects must not be the head of the order that made the folds.
    rest = sorted(set(names) - test, key=lambda name: (word(f"{protocol.seed}/validation/{name}"), name))
    cut = max(1, round(len(rest) * protocol.validation)) if protocol.validation else 0
    split = Split(tuple(sorted(rest[cut:])), tuple(sorted(rest[:cut])), tuple(sorted(test)))
    if not split.train or (protocol.kind != "all" and not split.test):
        raise RecipeError(
            "There are too few subjects for this protocol",
            where="data.protocol",
            expected=f"at least one subject each to train, {'validate ' if protocol.validation else ''}and test",
            found=f"{len(split.train)} to train, {len(split.validation)} to validate, {len(test)} to test",
        )
    return split


def training_groups(manifest: Manifest, subjects: tuple[str, ...]) -> tuple[RowGroupRef, ...]:
    """Return the row groups of some subjects, in the manifest's order."""
    wanted = set(subjects)
    return tuple(
        RowGroupRef(index, number, group.clips)
        for index, shard in enumerate(manifest.shards)
        for number, group in enumerate(shard.row_groups)
        if group.subject in wanted
    )


def _tested(names: list[str], protocol: Protocol, partitions: Mapping[str, Sequence[str]]) -> set[str]:
    match protocol.kind:
        case "all":
            return set()
        case "kfold":
            dealt = sorted(names, key=lambda name: (word(f"{protocol.seed}/{name}"), name))
            return set(dealt[protocol.fold :: protocol.folds])
        case "subjects":
            return _listed(names, set(protocol.subjects))
        case "corpora":
            return {name for name in names if corpus_of(name) in protocol.corpora}
        case "fera2015":
            lists = published_lists()["fera2015"]
            parts = {part: {f"bp4d/{name}" for name in some} for part, some in lists.items()}
            _check_known(names, parts["train"] | parts["devel"], "FERA 2015")
            return parts["devel"] & set(names)
    return _published(names, protocol, partitions)


def _published(names: list[str], protocol: Protocol, partitions: Mapping[str, Sequence[str]]) -> set[str]:
    test: set[str] = set()
    for corpus in sorted({corpus_of(name) for name in names}):
        mine = [name for name in names if corpus_of(name) == corpus]
        lists = published_lists().get(corpus)
        if lists is None:
            test |= _partitioned(corpus, mine, protocol, partitions)
            continue
        _check_known(mine, {f"{corpus}/{name}" for some in lists.values() for name in some}, f"the lists of {corpus}")
        by_file = protocol.numbering == "file"
        if by_file and corpus not in ("bp4d", "disfa"):
            raise RecipeError(
                "These lists have no file numbering", where=corpus, expected="numbering: part", found="numbering: file"
            )
        if protocol.fold >= len(lists):
            raise RecipeError(
                "The published lists have no such fold",
                where="data.protocol.fold",
                expected=f"0 to {len(lists) - 1} for {corpus}",
                found=protocol.fold,
            )
        part = len(lists) - protocol.fold if by_file else protocol.fold + 1
        test |= {f"{corpus}/{name}" for name in lists[f"part{part}"]} & set(mine)
    return test


def _partitioned(
    corpus: str, names: list[str], protocol: Protocol, partitions: Mapping[str, Sequence[str]]
) -> set[str]:
    known = {part: set(some) & set(names) for part, some in partitions.items()}
    if folds := [part for part in known if known[part] and re.fullmatch(FOLD, part)]:
        return _of_folds(corpus, {part: known[part] for part in folds}, protocol)
    part = next((part for part in TEST_PARTS if known.get(part)), None)
    if part is None:
        raise RecipeError(
            f"No subject lists are published for {corpus}",
            where="data.protocol",
            expected="a corpus with lists (bp4d, bp4d+, disfa) or with parts in its manifest",
            found=", ".join(sorted(known)) or "no parts",
            fix="Use kind: kfold, or list the test subjects with kind: subjects.",
        )
    if protocol.fold:
        raise RecipeError(
            f"{corpus} has one partition, no folds", where="data.protocol.fold", expected=0, found=protocol.fold
        )
    if in_both := known[part] & known.get("train", set()):
        raise RecipeError(
            "Subjects are in two parts of the published partition", where=corpus, found=first_few(sorted(in_both))
        )
    return known[part]


def _of_folds(corpus: str, known: Mapping[str, set[str]], protocol: Protocol) -> set[str]:
    """Return the subjects that a fold tests, of those that lists of pictures said."""
    folds = sorted(known, key=lambda part: int(re.sub(r"\D", "", part)))
    if protocol.fold >= len(folds):
        raise RecipeError(
            "The set has no such fold",
            where="data.protocol.fold",
            expected=f"0 to {len(folds) - 1} for {corpus}: {', '.join(folds)}",
            found=protocol.fold,
        )
    return known[folds[protocol.fold]]


def _listed(names: list[str], wanted: set[str]) -> set[str]:
    if absent := wanted - set(names):
        raise RecipeError(
            "The set has no such subjects",
            where="data.protocol.subjects",
            expected=f"names such as {names[0]}" if names else "subjects",
            found=first_few(sorted(absent)),
        )
    return wanted


def _check_known(names: Iterable[str], known: set[str], lists: str) -> None:
    if strange := sorted(set(names) - known):
        raise RecipeError(
            f"Subjects are not in {lists}",
            where="data.protocol",
            found=first_few(strange),
            fix="Use kind: kfold, or kind: subjects with your own list.",
        )


def corpus_of(subject: str) -> str:
    """Return the corpus that a subject belongs to."""
    return subject.partition("/")[0]


@cache
def published_lists() -> dict[str, dict[str, list[str]]]:
    """Return corpus (or protocol) → part → subjects without their corpus."""
    lists: dict[str, dict[str, list[str]]] = json.loads(
        (Path(__file__).parent / "assets" / "protocols.json").read_text("utf-8")
    )
    return {name: parts for name, parts in lists.items() if name != "source"}
