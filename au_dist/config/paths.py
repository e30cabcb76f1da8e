"""Values of sections by dotted path, ``data.protocol.fold``: which there are, how they are set, how trees differ."""

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from au_dist.core.errors import RecipeError


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, alone or beside None; None where it holds a plain value."""
    kind = _beside_none(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _beside_none(annotation: Any) -> Any:
    """Return what a field holds, alone or beside None; None where it holds nothing else."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((kind for kind in kinds if kind is not type(None)), None)


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the paths of all plain values of a section, sections in sections included."""
    paths = []
    for name, field in model.model_fields.items():
        inner = section_in(field.annotation)
        paths += leaves(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return paths


def leaf_kind(model: type[BaseModel], path: str) -> type | None:
    """Return ``int``, ``float`` or ``bool`` where a plain value is one, alone or beside None; None of all others."""
    name, _, rest = path.partition(".")
    annotation = model.model_fields[name].annotation
    if rest:
        inner = section_in(annotation)
        assert inner is not None
        return leaf_kind(inner, rest)
    kind = _beside_none(annotation)
    return kind if kind in (int, float, bool) else None


def get(section: BaseModel, path: str) -> Any:
    """Return the value at a path; None below a section that is None."""
    found: Any = section
    for name in path.split("."):
        found = None if found is None else getattr(found, name)
    return found


def put(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of raw sections with values at paths; sections on the way are made.

    Raises:
        RecipeError: A path goes below a plain value.
    """
    merged = dict(raw)
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if not rest:
            merged[name] = value
            continue
        inner = merged.get(name)
        if not isinstance(inner, Mapping | None):
            raise RecipeError("This path goes below a plain value", where=path, found=f"{name} is {inner!r}")
        merged[name] = put(inner or {}, {rest: value})
    return merged


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return where two raw trees differ, in words, by path."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = {**old, **new}
        return [
            line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if old == new else [f"{path} from {old} to {new}"]
