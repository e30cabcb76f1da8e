"""Options of a verb out of frozen values: names, types, defaults and explanations stand there, once."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_type_hints

import typer


def attributes_of(described: type) -> dict[str, str]:
    """Return attribute → what a class says of it in its docstring (section ``Attributes``, Google style).

    What it has of another class is said there.
    """
    said = dict[str, str]()
    for one in reversed(described.__mro__):
        text = inspect.cleandoc(one.__doc__ or "").partition("\n\nAttributes:\n")[2]
        said |= dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE))
    return {name: " ".join(words.split()) for name, words in said.items()}


def options_of(
    section: type, names: Iterable[str] | None = None, changes: Mapping[str, tuple[Any, Any, str | None]] | None = None
) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as options of a verb.

    Args:
        section: The dataclass.
        names: Which of its fields; all when None.
        changes: Field → type and default on the command line, and the option's name where it is another.
    """
    fields = {field.name: field for field in dataclasses.fields(section)}
    hints, said = get_type_hints(section), attributes_of(section)
    options = []
    for name in fields if names is None else names:
        kind, default, flag = (changes or {}).get(name, (hints[name], fields[name].default, None))
        option = typer.Option(flag or f"--{name.replace('_', '-')}", help=said[name].replace("``", "`"))
        options.append(keyword(name, kind, option, default))
    return options


def keyword(name: str, kind: Any, option: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """Return a parameter of a verb that is given by name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def verb(run: Callable[[dict[str, Any]], None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """Return a function that typer takes for one with these parameters, and that hands their values on."""

    def command(**given: Any) -> None:
        run(given)

    given = list(parameters)
    command.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in given}
    return command
