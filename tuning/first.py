"""What a campaign tries first: the recipe as it stands, and points that its file names."""

from collections.abc import Iterator, Mapping
from typing import Any

from au_dist.config.paths import get
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.space import KINDS, Space, breaks, distributions, parameter_of, sticks

Point = dict[str, Any]

#: How far from a step of a range, in steps, a value may lie.
SAME = 1e-8


def first_points(space: Space, base: Recipe, named: tuple[Mapping[str, Any], ...], where: object) -> list[Point]:
    """Return the parameters of the trials that come first: the recipe's own values, then the points that are named.

    Args:
        space: The space.
        base: The recipe that trials start from.
        named: Recipe values by path; what a point does not name is the recipe's own.
        where: The file, for messages.

    Returns:
        A study's parameters by name, each point once. The recipe's own are missing where the space does not hold them
        (`not_held`).

    Raises:
        RecipeError: A named point is not in the space.
    """
    found: list[Point] = []
    for index, point in enumerate(({}, *named)):
        if index and (strange := sorted(set(point) - set(space))):
            raise RecipeError(
                f"This point names what is not searched: {', '.join(strange)}",
                where=f"{where}, first, point {index}",
                expected=f"paths of the space: {', '.join(space)}",
            )
        outside = list(not_held(space, base, point))
        if index and outside:
            raise RecipeError(
                "This point is not in the space",
                where=f"{where}, first, point {index}",
                found="; ".join(outside),
                fix="Widen the space, or name a value that it holds.",
            )
        if not outside and (parameters := _parameters(space, base, point)) not in found:
            found.append(parameters)
    return found


def not_held(space: Space, base: Recipe, point: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of a point, and of the recipe beside it, that a space does not hold, in words."""
    for path, dimension in space.items():
        value = _value(base, point, path)
        if path not in point and not dimension.applies(lambda other: _value(base, point, other)):
            continue
        if dimension.weights:
            held = _is_split(value, dimension.weights)
        else:
            held = _holds(distributions({path: dimension})[parameter_of(path)], value)
        if not held:
            yield f"{path} {value}"


def _is_split(value: Any, kinds: tuple[str, ...]) -> bool:
    """Return whether a value gives a weight to each kind, and none but 0 to those that take no part."""
    numbers = isinstance(value, list | tuple) and len(value) == len(KINDS)
    if not numbers or not all(isinstance(number, int | float) and number >= 0 for number in value):
        return False
    return sum(value) > 0 and not any(number for kind, number in zip(KINDS, value, strict=True) if kind not in kinds)


def _value(base: Recipe, point: Mapping[str, Any], path: str) -> Any:
    return point[path] if path in point else get(base, path)


def _holds(distribution: Any, value: Any) -> bool:
    if hasattr(distribution, "choices"):
        return any(choice == value and type(choice) is type(value) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    steps = (value - distribution.low) / distribution.step if distribution.step else 0.0
    return bool(distribution.low <= value <= distribution.high and abs(steps - round(steps)) < SAME)


def _parameters(space: Space, base: Recipe, point: Mapping[str, Any]) -> Point:
    parameters: Point = {}
    for path, dimension in space.items():
        value = _value(base, point, path)
        if dimension.weights:
            weight = dict(zip(KINDS, value, strict=True))
            uniforms = breaks([weight[kind] for kind in dimension.weights])
            parameters |= zip(sticks(path, dimension), uniforms, strict=True)
            continue
        distribution = distributions({path: dimension})[parameter_of(path)]
        if not _holds(distribution, value):  # its condition does not hold: it has no effect
            value = distribution.choices[0] if hasattr(distribution, "choices") else distribution.low
        parameters[parameter_of(path)] = value
    return parameters
