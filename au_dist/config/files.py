"""Sections as files: YAML, ``key=value`` to replace single values, and what does not fit said for a person.

An unknown key is refused with the nearest right one.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from au_dist.config.paths import put, section_in
from au_dist.config.renamed import former_names
from au_dist.core.errors import RecipeError

AnySection = TypeVar("AnySection", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        RecipeError: The file is absent, not YAML, or not a mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(
            "There is no such file", where=path, fix="See examples/ for recipes to start from."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            "The file cannot be read as YAML", where=path, found=" ".join(str(error).split())[:200]
        ) from error
    if not isinstance(raw, dict):
        raise RecipeError("The file has no keys", where=path, expected="keys and values", found=type(raw).__name__)
    return raw


def override(raw: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a raw recipe with ``a.b=value`` assignments applied; values are YAML.

    Raises:
        RecipeError: An assignment is malformed.
    """
    merged = raw
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not re.fullmatch(r"[a-z_][a-z0-9_.]*", key):
            raise RecipeError("This is not an override", where=assignment, expected="key=value, e.g. optim.lr=0.001")
        try:
            merged = put(merged, {key: yaml.safe_load(value)})
        except yaml.YAMLError as error:
            raise RecipeError("The value of this override is not YAML", where=assignment) from error
    return merged


def parse(model: type[AnySection], raw: dict[str, Any], where: object) -> AnySection:
    """Return a validated section.

    Args:
        model: The section's class.
        raw: The raw mapping.
        where: The file, for the message.

    Raises:
        RecipeError: A key is unknown (the nearest right one is named) or a value does not fit.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or None
        more = f" ({error.error_count() - 1} more like this)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"][:-1])
            former = former_names(".".join(str(part) for part in first["loc"][:-1]))
            near = difflib.get_close_matches(str(first["loc"][-1]), [*known, *former], n=1, cutoff=0.5)
            name = former.get(near[0], near[0]) if near else ""
            fix = f"Did you mean `{name}`?" if near else f"Known keys here: {', '.join(known)}."
            raise RecipeError(f"Unknown key `{place}`{more}", where=where, fix=fix) from error
        if first["type"] == "missing":
            raise RecipeError(f"The key `{place}` is missing{more}", where=where) from error
        given = None if first["loc"] == () else repr(first["input"])
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"The value of `{place}` does not fit{more}" if place else "The file does not fit together",
            where=where,
            expected=message[0].lower() + message[1:] if place else None,
            found=given if place else message,
        ) from error


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known at a place of a section."""
    for part in path:
        inner = section_in(model.model_fields[str(part)].annotation) if str(part) in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
