"""What a campaign tries first: the recipe as it stands, and points that its file names."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from au_dist.config.paths import get
from au_dist.core.errors import RecipeError
from au_dist.recipes.recipe import Recipe
from au_dist.tuning.space import KINDS, Space, breaks, distributions, parameter_of, sticks, values_of

if TYPE_CHECKING:
    from au_dist.tuning.campaign import Campaign

Point = dict[str, Any]

#: How far from a step of a range, in steps, a value may lie.
SAME = 1e-8


def first_points(campaign: "Campaign", where: object) -> list[Point]:
    """Return the parameters of the trials that come first: the recipe's own values, then the points that are named.

    Args:
        campaign: The campaign.
        where: Its file, for messages.

    Returns:
        A study's parameters by name, each point once; without the recipe's own where these cannot be tried
        (`why_no_base`).

    Raises:
        RecipeError: A named point cannot be tried.
    """
    space, base = campaign.space, campaign.base()
    found: list[Point] = [] if why_no_base(campaign) else [parameters_of(space, base, {})]
    for index, point in enumerate(campaign.first, 1):
        place = f"{where}, first, point {index}"
        if strange := sorted(set(point) - set(space)):
            raise RecipeError(
                f"This point names what is not searched: {', '.join(strange)}",
                where=place,
                expected=f"paths of the space: {', '.join(space)}",
            )
        if outside := list(not_held(space, base, point)):
            raise RecipeError(
                "This point is not in the space",
                where=place,
                found="; ".join(outside),
                fix="Widen the space, or name a value that it holds.",
            )
        parameters = parameters_of(space, base, point)
        if not campaign.allows(values_of(space, parameters, base)):
            raise RecipeError("The constraints do not allow this point", where=place, found=point)
        if parameters not in found:
            found.append(parameters)
    return found


def why_no_base(campaign: "Campaign") -> str | None:
    """Return why the recipe as it stands is not among a campaign's trials; None where it is the first."""
    if outside := list(not_held(campaign.space, campaign.base(), {})):
        return f"the space does not hold {'; '.join(outside)}"
    return None if campaign.allows({}) else "the constraints do not allow it"


def is_base(base: Recipe, values: Mapping[str, Any]) -> bool:
    """Return whether values by path are those of the recipe as it stands."""
    return all(same(get(base, path), value) for path, value in values.items())


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a recipe are one, but for rounding."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool) or not isinstance(one, int | float):
        return type(one) is type(other) and bool(one == other)
    return isinstance(other, int | float) and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


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
        return any(same(choice, value) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    steps = (value - distribution.low) / distribution.step if distribution.step else 0.0
    return bool(distribution.low <= value <= distribution.high and abs(steps - round(steps)) < SAME)


def parameters_of(space: Space, base: Recipe, point: Mapping[str, Any]) -> Point:
    """Return a study's parameters by name for values by path that a space holds, the recipe's own for the others."""
    parameters: Point = {}
    for path, dimension in space.items():
        value = _value(base, point, path)
        if dimension.weights:
            weight = dict(zip(KINDS, value, strict=True))
            uniforms = breaks([weight[kind] for kind in dimension.weights])
            parameters |= zip(sticks(path, dimension), uniforms, strict=True)
            continue
        distribution = distributions({path: dimension})[parameter_of(path)]
        choices = getattr(distribution, "choices", None)
        if not _holds(distribution, value):  # its condition does not hold: it has no effect
            value = choices[0] if choices else distribution.low
        parameters[parameter_of(path)] = next(one for one in choices if same(one, value)) if choices else value
    return parameters
