"""Names, values and times, short for a person."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any


def first_few(names: Iterable[object], most: int = 4) -> str:
    """Return the first of some names, and how many more there are."""
    words = list(map(str, names))
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def short(value: Any) -> str:
    """Return a value of a recipe in few letters: three digits of a number, two decimals of each in a list."""
    if isinstance(value, list | tuple):
        return " ".join(f"{part:.2f}" if isinstance(part, float) else str(part) for part in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def number_of(number: int, noun: str) -> str:
    """Return a number of things, with the plural's letter where it is not one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def span(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
