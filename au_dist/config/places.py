"""Addresses in files that a person writes: ``$SCRATCH``, ``${SCRATCH}`` and ``~`` are what they stand for here."""

import os
import re
from collections.abc import Mapping
from typing import Any

from au_dist.core.errors import RecipeError

#: ``$$`` is a dollar sign; any other one begins a variable.
DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<braced>\w+)\}|(?P<bare>[A-Za-z_]\w*))?")


def expand(address: str, where: object) -> str:
    """Return an address with its variables and its ``~`` replaced.

    Args:
        address: The address.
        where: The file and key, for the message.

    Raises:
        RecipeError: A variable is not set or empty, a dollar sign begins none, or there is no such home.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["braced"] or match["bare"]
        if name is None:
            raise RecipeError(
                "A dollar sign begins no variable",
                where=where,
                expected="$NAME or ${NAME}",
                found=address,
                fix="Write $$ for a dollar sign.",
            )
        if not os.environ.get(name):
            raise RecipeError(
                f"The variable {name} is not set" if name not in os.environ else f"The variable {name} is empty",
                where=where,
                found=address,
                fix=f"Set it (export {name}=...), or write the address out. $$ is a dollar sign.",
            )
        return os.environ[name]

    expanded = DOLLAR.sub(value, address)
    if not address.startswith("~"):
        return expanded
    home = os.path.expanduser(expanded)
    if home.startswith("~"):
        raise RecipeError("There is no such home folder", where=where, found=address, fix="./~ begins a name with ~.")
    return home


def expand_at(raw: Mapping[str, Any], paths: tuple[str, ...], where: object) -> dict[str, Any]:
    """Return a copy of raw sections with the addresses at some dotted paths expanded; what is no text stays."""
    expanded = dict(raw)
    for path in paths:
        name, _, rest = path.partition(".")
        inner = expanded.get(name)
        if rest and isinstance(inner, Mapping):
            expanded[name] = expand_at(inner, (rest,), where)
        elif not rest and isinstance(inner, str):
            expanded[name] = expand(inner, f"{where}, {name}")
    return expanded
