"""What a campaign may require of the values of a draw together: `batch.clips % batch.contrast == 0`.

A requirement compares recipe values, by their paths, and numbers, and may compute with `+ - * / // %`; `and`, `or` and
`not` join comparisons. It is read, never run as a program.
"""

import ast
import operator
from collections.abc import Callable, Iterator
from typing import Any

from au_dist.core.errors import RecipeError

_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OTHERS = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Compare, ast.Constant)
_KNOWN = (*_OTHERS, ast.Name, ast.Attribute, ast.Load, *_ARITHMETIC, *_COMPARISONS)


def paths_of(text: str, where: object) -> list[str]:
    """Return the paths that a requirement names.

    Args:
        text: The requirement.
        where: The file, for messages.

    Raises:
        RecipeError: It is none.
    """
    try:
        tree = ast.parse(text, mode="eval").body
        known = all(isinstance(node, _KNOWN) for node in ast.walk(tree)) and _compares(tree)
        paths = list(_paths(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        known, paths = False, []
    if not known or not paths:
        raise RecipeError(
            "This constraint cannot be read",
            where=where,
            expected="a comparison of recipe values and numbers, such as `batch.clips % batch.contrast == 0`",
            found=text,
        )
    return paths


def holds(text: str, value: Callable[[str], Any]) -> bool:
    """Return whether a requirement that `paths_of` has read holds.

    Args:
        text: The requirement.
        value: Returns the value at a path.

    Raises:
        RecipeError: Its values cannot be compared.
    """
    try:
        return bool(_computed(ast.parse(text, mode="eval").body, value))
    except (ArithmeticError, TypeError, RecursionError) as error:
        raise RecipeError("A constraint cannot be computed", where=text, found=error) from error


def _compares(node: ast.AST) -> bool:
    """Return whether what is joined are comparisons."""
    match node:
        case ast.BoolOp(values=parts):
            return all(_compares(part) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _compares(inner)
    return isinstance(node, ast.Compare)


def _paths(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        yield _path(node)
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _paths(inner)


def _path(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            return f"{_path(inner)}.{name}"
    raise ValueError(f"no path: {ast.dump(node)}")


def _computed(node: ast.AST, value: Callable[[str], Any]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_computed(part, value) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_computed(part, value) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _computed(inner, value)
        case ast.UnaryOp(operand=inner):
            return -_number(inner, value)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_number(left, value), _number(right, value))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = [_computed(side, value) for side in (left, *rights)]
            return all(_COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
        case ast.Constant(value=constant):
            return constant
    return value(_path(node))


def _number(node: ast.AST, value: Callable[[str], Any]) -> Any:
    found = _computed(node, value)
    if not isinstance(found, int | float):
        raise TypeError(f"`{ast.unparse(node)}` is {found!r}, no number")
    return found
