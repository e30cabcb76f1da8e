"""Many names, shortened for a person."""

from collections.abc import Iterable


def first_few(names: Iterable[object], most: int = 4) -> str:
    """Return the first of some names, and how many more there are."""
    words = list(map(str, names))
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
