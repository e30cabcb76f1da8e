"""The search space: which values of a recipe a campaign tries, and from what range.

A key is a recipe's path, a value says how it is drawn:

    aunce.temperature: {log: [0.05, 1.0]}               between two bounds, evenly in the logarithm
    aunce.beta_majority: {uniform: [0.2, 1.2]}          between two bounds, evenly
    batch.clips: {choice: [32, 64]}                     one of these
    aunce.positive_weights: {weights: [highest, mean, view]}  how often each of these; the others never
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from au_dist.config.files import parse
from au_dist.config.paths import leaves, put
from au_dist.config.renamed import RENAMED
from au_dist.config.section import Section
from au_dist.core.errors import RecipeError
from au_dist.methods import METHODS
from au_dist.recipes.recipe import Recipe

Kind = Literal["highest", "mean", "view", "lowest"]

#: Kinds of positives in the order of the recipe's `aunce.positive_weights`.
KINDS: tuple[str, ...] = get_args(Kind)

#: What a campaign sets itself, and what would change what is measured, not how well it is learnt.
FIXED = (
    *("name", "runs", "shards", "seed", "workers", "checkpoint"),
    *("data.protocol", "data.aus", "data.labels", "data.corpora", "data.cpus"),
)


class Dimension(Section):
    """How one value is drawn; exactly one of the four.

    Attributes:
        log: Bounds, evenly in the logarithm.
        uniform: Bounds, evenly.
        choice: The values.
        weights: Kinds of positives that take part; every share of them is equally likely at first.
    """

    log: tuple[float, float] | None = None
    uniform: tuple[float, float] | None = None
    choice: tuple[bool | int | float | str, ...] | None = Field(None, min_length=1)
    weights: tuple[Kind, ...] | None = Field(None, min_length=2)

    @model_validator(mode="after")
    def _one_way(self) -> "Dimension":
        given = [name for name in Dimension.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(Dimension.model_fields)}; given: {given or 'none'}")
        for low, high in (bounds for bounds in (self.log, self.uniform) if bounds):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"the first bound must be below the second, both finite: [{low:g}, {high:g}]")
        if self.log and self.log[0] <= 0:
            raise ValueError(f"a logarithmic range must start above 0: [{self.log[0]:g}, {self.log[1]:g}]")
        for values in (self.choice, self.weights):
            if values and len(set(values)) < len(values):
                raise ValueError("a value is given twice")
        return self

    def extremes(self) -> list[Any]:
        """Return recipe values that a valid dimension must allow: both bounds, every choice, or each kind alone."""
        if self.weights is not None:
            return [[float(kind == alone) for kind in KINDS] for alone in self.weights]
        return list(self.choice or self.log or self.uniform or ())


Space = Mapping[str, Dimension]


def parse_space(raw: Any, where: object) -> dict[str, Dimension]:
    """Return the validated space of a campaign's raw mapping.

    Raises:
        RecipeError: It is no mapping of paths, or a dimension does not fit.
    """
    if not isinstance(raw, dict) or not raw:
        raise RecipeError("A campaign needs a search space", where=where, expected="space: {path: {log: [low, high]}}")
    for path, dimension in raw.items():
        if not isinstance(dimension, dict | Dimension):
            raise RecipeError(
                f"The search space of `{path}` does not fit",
                where=where,
                expected="one of {log: [low, high]}, {uniform: [low, high]}, {choice: [...]}, {weights: [kinds]}",
                found=repr(dimension),
            )
    return {str(path): parse(Dimension, dict(dimension), f"{where}, space, {path}") for path, dimension in raw.items()}


def check_space(space: Space, recipe: dict[str, Any], where: object) -> list[Recipe]:
    """Refuse a space that some trial could not run with.

    Args:
        space: The space.
        recipe: The raw recipe that trials start from.
        where: The file, for messages.

    Returns:
        The recipe at each extreme of each dimension.

    Raises:
        RecipeError: A path is no value of a recipe (the nearest is named), must not or need not be searched, or the
            recipe refuses a bound or a choice.
    """
    known = leaves(Recipe)
    corners = []
    for path, dimension in space.items():
        place = f"{where}, space, {path}"
        if path not in known:
            near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
            raise RecipeError(
                f"A recipe has no value `{path}`",
                where=f"{where}, space",
                fix=f"Did you mean `{near[0]}`?" if near else "docs/recipes.md lists the keys of a recipe.",
            )
        if any(path == fixed or path.startswith(f"{fixed}.") for fixed in FIXED):
            raise RecipeError(
                f"A campaign cannot search `{path}`",
                where=place,
                expected="a value that changes how well is learnt, not what is measured or where it runs",
                fix="Set it in the campaign's recipe.",
            )
        name, section = recipe.get("method") or recipe.get("task"), path.partition(".")[0]
        if section in {method.name for method in METHODS} - {name}:
            kind = "method" if recipe.get("method") else "task"
            raise RecipeError(f"`{path}` has no effect on this recipe", where=place, found=f"{kind}: {name}")
        if (dimension.weights is not None) != (path == "aunce.positive_weights"):
            raise RecipeError("`weights` is how aunce.positive_weights is searched, and nothing else", where=place)
        corners += [parse(Recipe, put(recipe, {path: value}), place) for value in dimension.extremes()]
    return corners


def distributions(space: Space) -> dict[str, Any]:
    """Return Optuna's distributions by parameter name; weights of k kinds are k - 1 parameters."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    by_name: dict[str, Any] = {}
    for path, dimension in space.items():
        if dimension.log:
            by_name[parameter_of(path)] = FloatDistribution(*dimension.log, log=True)
        elif dimension.uniform:
            by_name[parameter_of(path)] = FloatDistribution(*dimension.uniform)
        elif dimension.choice:
            by_name[parameter_of(path)] = CategoricalDistribution(dimension.choice)
        else:
            by_name |= {name: FloatDistribution(0.0, 1.0) for name in _sticks(path, dimension)}
    return by_name


def values_of(space: Space, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe's values by path for a trial's parameters."""
    values: dict[str, Any] = {}
    for path, dimension in space.items():
        if dimension.weights:
            shares = simplex([parameters[name] for name in _sticks(path, dimension)])
            share: dict[str, float] = dict(zip(dimension.weights, shares, strict=True))
            values[path] = [share.get(kind, 0.0) for kind in KINDS]
        else:
            values[path] = parameters[parameter_of(path)]
    return values


def simplex(uniforms: Sequence[float]) -> list[float]:
    """Return k shares that sum to 1 from k - 1 numbers in [0, 1], by breaking a stick.

    Uniform numbers give uniform points: the i-th break takes a Beta(1, k - i) part of what is left, here by its
    quantile function. One number less than with normalised exponentials, and no two inputs give the same shares.
    """
    shares, left = [], 1.0
    for index, u in enumerate(uniforms):
        part = left * (1 - (1 - u) ** (1 / (len(uniforms) - index)))
        shares.append(part)
        left -= part
    return [*shares, left]


def _sticks(path: str, dimension: Dimension) -> list[str]:
    assert dimension.weights is not None
    return [f"{parameter_of(path)}.{kind}" for kind in dimension.weights[:-1]]


def parameter_of(path: str) -> str:
    """Return what a study calls the value at a path: its first name, so that studies of then go on."""
    return next((before for before, now in RENAMED.items() if now == path), path)
