"""The search space: which values of a recipe a campaign tries, and from what range.

A key is a recipe's path, a value says how it is drawn:

    aunce.temperature: {log: [0.05, 1.0]}               between two bounds, evenly in the logarithm
    aunce.beta_majority: {uniform: [0.2, 1.2]}          between two bounds, evenly
    batch.clips: {uniform: [16, 64], step: 16}          of whole numbers whole ones, here every sixteenth
    batch.clips: {choice: [32, 64]}                     one of these
    model.drop_path: {uniform: [0, 0.3], when: {model.encoder: swin_t}}      only where a choice is this one
    aunce.positive_weights: {weights: [highest, mean, view]}  how often each of these; the others never
"""

import difflib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from au_dist.config.files import parse
from au_dist.config.paths import get, leaf_kind, leaves, put
from au_dist.config.renamed import RENAMED
from au_dist.config.section import Section
from au_dist.core.errors import RecipeError
from au_dist.core.seeds import rng
from au_dist.methods import METHODS
from au_dist.recipes.recipe import Recipe

Kind = Literal["highest", "mean", "view", "lowest"]

#: Kinds of positives in the order of the recipe's `aunce.positive_weights`.
KINDS: tuple[str, ...] = get_args(Kind)

#: What a campaign sets itself, and what would change what is measured, not how well it is learnt.
FIXED = (
    *("name", "runs", "shards", "seed", "workers", "checkpoint", "tracking"),
    *("data.protocol", "data.aus", "data.labels", "data.corpora", "data.cpus"),
)


#: Combinations of values that are tried before anything starts: all, or so many drawn at random.
COMBINATIONS = 2048

Plain = bool | int | float | str


#: How a value may be drawn.
WAYS = ("log", "uniform", "choice", "weights")


class Dimension(Section):
    """How one value is drawn; exactly one of `log`, `uniform`, `choice` and `weights`.

    Attributes:
        log: Bounds, evenly in the logarithm; of whole numbers whole ones.
        uniform: Bounds, evenly; of whole numbers whole ones.
        step: Of `uniform`: how far the values lie apart, from the first bound on.
        choice: The values.
        when: Recipe value by path → the value or values with which this one is drawn; with others the recipe's own
            stands.
        weights: Kinds of positives that take part; every share of them is equally likely at first.
    """

    log: tuple[float, float] | None = None
    uniform: tuple[float, float] | None = None
    step: float | None = Field(None, gt=0)
    choice: tuple[Plain, ...] | None = Field(None, min_length=1)
    when: dict[str, Plain | tuple[Plain, ...]] = Field({})
    weights: tuple[Kind, ...] | None = Field(None, min_length=2)

    @model_validator(mode="after")
    def _one_way(self) -> "Dimension":
        given = [name for name in WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(WAYS)}; given: {given or 'none'}")
        if self.step is not None and self.uniform is None:
            raise ValueError(f"step belongs to uniform, not to {given[0]}")
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

    def applies(self, value: Callable[[str], Any]) -> bool:
        """Return whether this is drawn, for a function that returns the recipe's value at a path."""
        return all(value(path) in _several(values) for path, values in self.when.items())


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


def check_path(path: str, where: object) -> None:
    """Refuse a path that is no value of a recipe.

    Raises:
        RecipeError: It is none; the nearest is named.
    """
    known = leaves(Recipe)
    if path not in known:
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
        raise RecipeError(
            f"A recipe has no value `{path}`",
            where=where,
            fix=f"Did you mean `{near[0]}`?" if near else "docs/recipes.md lists the keys of a recipe.",
        )


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
        check_path(path, f"{where}, space")
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
        _check_kind(path, dimension, place)
        for other, values in dimension.when.items():
            if other not in known or other == path:
                raise RecipeError("`when` names no other value of a recipe", where=place, found=other)
            _check_condition(space, parse(Recipe, recipe, where), other, _several(values), place)
        # Where the condition holds, as far as it can be said without the other values.
        given = {other: _several(values)[0] for other, values in dimension.when.items()}
        for value in dimension.extremes():
            corners.append(parse(Recipe, put(recipe, {**given, path: whole(path, value)}), place))
    return corners


def _several(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)


def _check_condition(space: Space, base: Recipe, path: str, values: tuple[Any, ...], place: str) -> None:
    """Refuse a condition that cannot hold: a value that is not drawn."""
    if path not in space:
        drawn: list[Any] | None = [get(base, path)]
        values = values if get(base, path) not in values else (get(base, path),)
    elif space[path].when:
        raise RecipeError(
            f"`when` names `{path}`, which has a condition of its own",
            where=place,
            expected="a value that is always drawn, or one of the recipe's",
        )
    else:
        drawn = None if space[path].weights else _all_of(distributions({path: space[path]})[parameter_of(path)])
    if drawn is None or not set(values) <= set(drawn):
        raise RecipeError(
            f"`when` asks for a value of `{path}` that is not drawn",
            where=place,
            expected="one of its choices" if drawn is None else f"among {', '.join(map(str, drawn[:9]))}",
            found=", ".join(map(str, values)),
        )


def whole(path: str, value: Any) -> Any:
    """Return a bound as the recipe's value at a path: a whole number where it is one."""
    return int(value) if leaf_kind(Recipe, path) is int and isinstance(value, float) else value


def _check_kind(path: str, dimension: Dimension, place: str) -> None:
    """Refuse a range on what is no number, and one of whole numbers that does not begin, end or go on with one."""
    bounds = dimension.log or dimension.uniform
    if bounds is None:
        return
    kind = leaf_kind(Recipe, path)
    if kind not in (int, float):
        raise RecipeError(f"`{path}` is no number", where=place, expected="choice: [...]", found="a range")
    step = dimension.step
    if kind is int and not all(float(number).is_integer() for number in (*bounds, step or 1)):
        raise RecipeError(
            f"`{path}` is a whole number",
            where=place,
            expected="whole bounds, and a whole step",
            found=f"{list(bounds)}" + (f", step {step:g}" if step else ""),
        )
    low, high, apart = (Decimal(str(number)) for number in (*bounds, step or 1))
    if step and (rest := (high - low) % apart):
        raise RecipeError(
            "The range does not end on one of its steps",
            where=place,
            expected=f"an end such as {float(high - rest):g}",
            found=f"{list(bounds)}, step {step:g}",
        )


def combinations(space: Space, base: Recipe) -> Iterator[dict[str, Any]]:
    """Yield values by path that a study may draw: all of a small space, of a large one many drawn at random."""
    by_name = distributions(space)
    listed = {name: _all_of(distribution) for name, distribution in by_name.items()}
    if math.prod(len(values) if values else COMBINATIONS + 1 for values in listed.values()) <= COMBINATIONS:
        for row in itertools.product(*[values or [] for values in listed.values()]):
            yield values_of(space, dict(zip(listed, row, strict=True)), base)
        return
    random = rng(0, "combinations")
    for _ in range(COMBINATIONS):
        yield values_of(space, {name: _drawn(one, random) for name, one in by_name.items()}, base)


def _all_of(distribution: Any) -> list[Any] | None:
    """Return the values of a distribution; None of one that has too many."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        span = range(distribution.low, distribution.high + 1, distribution.step)
        return list(span) if len(span) <= COMBINATIONS else None
    if distribution.step:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        steps = [distribution.low + index * distribution.step for index in range(min(count, COMBINATIONS + 1))]
        return steps if count <= COMBINATIONS else None
    return None


def _drawn(distribution: Any, random: Any) -> Any:
    if values := _all_of(distribution):
        return values[int(random.integers(len(values)))]
    low, high = distribution.low, distribution.high
    log = distribution.log
    drawn = math.exp(random.uniform(math.log(low), math.log(high))) if log else random.uniform(low, high)
    return min(max(round(drawn), low), high) if isinstance(low, int) else drawn


def distributions(space: Space) -> dict[str, Any]:
    """Return Optuna's distributions by parameter name; weights of k kinds are k - 1 parameters."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    by_name: dict[str, Any] = {}
    for path, dimension in space.items():
        if bounds := dimension.log or dimension.uniform:
            log, step = dimension.log is not None, dimension.step
            if leaf_kind(Recipe, path) is int:
                low, high = map(int, bounds)
                by_name[parameter_of(path)] = IntDistribution(low, high, log=log, step=int(step or 1))
            else:
                by_name[parameter_of(path)] = FloatDistribution(*bounds, log=log, step=step)
        elif dimension.choice:
            by_name[parameter_of(path)] = CategoricalDistribution(dimension.choice)
        else:
            by_name |= {name: FloatDistribution(0.0, 1.0) for name in sticks(path, dimension)}
    return by_name


def values_of(space: Space, parameters: Mapping[str, Any], base: Recipe) -> dict[str, Any]:
    """Return the recipe's values by path for a trial's parameters; without those whose condition does not hold.

    Args:
        space: The space.
        parameters: All parameters of a trial: what has no effect is drawn too.
        base: The recipe that trials start from.
    """
    values: dict[str, Any] = {}
    for path, dimension in space.items():
        if dimension.weights:
            shares = simplex([parameters[name] for name in sticks(path, dimension)])
            share: dict[str, float] = dict(zip(dimension.weights, shares, strict=True))
            values[path] = [share.get(kind, 0.0) for kind in KINDS]
        else:
            values[path] = parameters[parameter_of(path)]

    def value(path: str) -> Any:
        return values[path] if path in values else get(base, path)

    return {path: values[path] for path, dimension in space.items() if dimension.applies(value)}


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


def breaks(weights: Sequence[float]) -> list[float]:
    """Return the numbers from which `simplex` makes the shares of some weights, at least one of which is above 0."""
    shares = [weight / sum(weights) for weight in weights]
    uniforms, left = [], 1.0
    for index, share in enumerate(shares[:-1]):
        part = min(share / left, 1.0) if left > 0 else 0.0
        uniforms.append(1 - (1 - part) ** (len(shares) - 1 - index))
        left -= share
    return uniforms


def sticks(path: str, dimension: Dimension) -> list[str]:
    """Return the parameters of a dimension of weights."""
    assert dimension.weights is not None
    return [f"{parameter_of(path)}.{kind}" for kind in dimension.weights[:-1]]


def parameter_of(path: str) -> str:
    """Return what a study calls the value at a path: its first name, so that studies of then go on."""
    return next((before for before, now in RENAMED.items() if now == path), path)
