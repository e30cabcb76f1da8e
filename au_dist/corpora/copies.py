"""One file for a recording and one for its labels: a second is an error, unless it is a copy."""

import filecmp
from collections.abc import Hashable, Iterable
from typing import TypeVar

from au_dist.core.errors import IngestError
from au_dist.core.words import first_few
from au_dist.corpora.tree import Entry

Key = TypeVar("Key", bound=Hashable)

#: What to do about two files of one name.
TAKE_ONE_AWAY = "Leave one of them, and move the other out of the folder."


def one_each(
    found: Iterable[tuple[Key, Entry]], what: str, notes: list[str], fix: str = TAKE_ONE_AWAY
) -> dict[Key, Entry]:
    """Return key → file, the first of those that are alike byte for byte.

    Args:
        found: Keys and their files; a file may be found twice.
        what: What the files are, for a person, in the plural.
        notes: A sentence on the copies is put here.
        fix: What to do about two that differ.

    Raises:
        IngestError: Two files that differ have one key.
    """
    chosen: dict[Key, Entry] = {}
    copies: list[Entry] = []
    for key, entry in found:
        first = chosen.setdefault(key, entry)
        if first == entry:
            continue
        if not alike(first, entry):
            raise two_of(what, name_of(key), first, entry, fix)
        copies.append(entry)
    if copies:
        shown = first_few(entry.name for entry in copies)
        notes.append(f"{len(copies)} {what} are there twice, byte for byte; one of each was taken ({shown}).")
    return chosen


def alike(one: Entry, other: Entry) -> bool:
    """Return whether two files have the same bytes."""
    try:
        with one.local() as here, other.local() as there:
            return filecmp.cmp(here, there, shallow=False)
    except (OSError, IngestError):
        return False


def two_of(what: str, name: str, one: Entry, other: Entry, fix: str = TAKE_ONE_AWAY) -> IngestError:
    """Return the error for two files that both would be the one of a name."""
    return IngestError(
        f"Two {what} have one name",
        where=f"{one.where} and {other.where}",
        expected="one, or copies that are alike byte for byte",
        found=name,
        fix=fix,
    )


def name_of(key: Hashable) -> str:
    """Return a key for a person."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
