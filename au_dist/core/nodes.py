"""A node as it is counted: amounts by Ray's names, and its labels as further names, ``key=value``."""

from collections.abc import Mapping

Node = Mapping[str, float]

#: Ray counts amounts in ten-thousandths.
_UNIT = 10_000


def units(value: float) -> int:
    """Return an amount as Ray counts it."""
    return round(value * _UNIT)


def labelled(amounts: Mapping[str, float], labels: Mapping[str, str]) -> dict[str, float]:
    """Return a node of which both are known."""
    return {**amounts, **{f"{key}={value}": 1.0 for key, value in labels.items()}}


def has_labels(node: Node, labels: Mapping[str, str]) -> bool:
    """Return whether a node has all of some labels."""
    return all(f"{key}={value}" in node for key, value in labels.items())


def words(labels: Mapping[str, str]) -> str:
    """Return labels for a person: nothing where there are none."""
    return f" on nodes with {', '.join(f'{key}={value}' for key, value in labels.items())}" if labels else ""
