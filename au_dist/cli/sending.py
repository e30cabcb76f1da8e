"""A command as a job: what of it travels to the cluster, and what the nodes have to find themselves."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from au_dist.cli.options import placed
from au_dist.core.errors import ClusterError

#: Verbs that work on a cluster; those of some are two words.
VERBS = ("train", "tune", "evaluate", "ingest", "predict", "plan")

#: Arguments and options that are places; a default of these is one, too.
PLACES = ("path", "out", "root", "runs", "run", "model", "campaign", "videos", "landmarks")

#: Those that may be a file of settings or labels, which travels.
FILES = ("path", "layout")

#: Larger files are the nodes' own.
LARGEST_FILE = 512 << 10


@dataclass(frozen=True)
class Sent:
    """A command for a job.

    Attributes:
        verb: `train`, `tune run` and the like.
        words: What comes after `au-dist` in the job's folder, the verb first.
        typed: The same in the folder in which it was typed.
        name: Of the run or campaign, or of what else it is about.
        files: What travels, by the name that it has in the job's folder.
    """

    verb: str
    words: tuple[str, ...]
    typed: tuple[str, ...]
    name: str
    files: Mapping[str, bytes] = field(repr=False)

    def job(self, env: Mapping[str, str]) -> str:
        """Return the id of its job: another one for another command, file or variable."""
        parts = [*self.words, *(f"{name}={text}" for name, text in sorted(env.items()))]
        data = [part.encode() for part in parts]
        data += [hashlib.sha256(name.encode() + b"\0" + self.files[name]).digest() for name in sorted(self.files)]
        digest = hashlib.sha256(b"\0".join(data)).hexdigest()
        return f"{self.name}-{digest[:8]}"


def sent(app: typer.Typer, given: Sequence[str], note: Callable[[str], None]) -> Sent:
    """Return a command as it is given to a cluster.

    Recipe and campaign are read here, with what they refer to, and travel whole; so do the tables that a command
    reads. All other places are the nodes' own: relative ones are made absolute.

    Args:
        app: The verbs.
        given: What comes after `au-dist submit`; a recipe alone is trained.
        note: Called with what a person should know.

    Raises:
        ClusterError: The verb is none that works on a cluster.
        AuDistError: Recipe or campaign do not fit.
    """
    verb, command, rest = _command(app, list(given))
    context = command.make_context(f"au-dist {verb}", [*rest])
    found, files, own = context.params, dict[str, bytes](), list[str]()
    words, name = verb.split(), ""
    if "recipe" in found:
        name, text = _recipe(found, note)
    elif verb == "tune run" or ("campaign" in found and Path(found["campaign"]).is_file()):
        name, text = _campaign(found, note)
    else:
        text = ""
    if text:
        file = f"{'recipe' if 'recipe' in found else 'campaign'}.yaml"
        files[file], found = text.encode(), {**found, "recipe": file, "campaign": file, "overrides": ()}
    arguments = []
    for parameter in command.params:
        chosen = context.get_parameter_source(parameter.name)
        values = found[parameter.name]
        if parameter.name == "address" or values is None or (_is_default(chosen) and parameter.name not in PLACES):
            continue
        values = values if isinstance(values, list | tuple) else [values]
        texts = [str(one) if str(one) in files else _there(parameter.name, one, files, own) for one in values]
        if parameter.param_type_name == "argument":
            arguments += texts
        elif isinstance(values[0], bool):
            words.append((parameter.opts if values[0] else parameter.secondary_opts)[0])
        else:
            words += [word for text in texts for word in (parameter.opts[0], text)]
    if "root" in found and not found["root"] and found["path"] and Path(found["path"]).is_file():
        # A table that travels leaves what it speaks of behind.
        own.append(str(Path(found["path"]).absolute().parent))
        words += ["--root", own[-1]]
    if own:
        note(f"not sent, the nodes must find it there: {', '.join(own)}")
    about = next((found[key] for key in ("run", "model", "campaign", "out") if found.get(key)), "")
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", f"{verb}-{str(about).rstrip('/').rpartition('/')[2]}").strip("-")
    return Sent(verb, (*words, *arguments), (*verb.split(), *rest), name, files)


def _command(app: typer.Typer, words: list[str]) -> tuple[str, Any, list[str]]:
    """Return the verb that is meant, its command, and what comes after it."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    if words[0] not in commands or Path(words[0]).is_file():
        words = ["train", *words]
    verb = words.pop(0)
    command, among = commands[verb], list(VERBS)
    if verb in VERBS and hasattr(command, "commands"):
        some = [name for name, one in command.commands.items() if "address" in {p.name for p in one.params}]
        among = [f"{verb} {name}" for name in some]
        second = words.pop(0) if words else ""
        verb, command = f"{verb} {second}".strip(), command.commands.get(second)
    if verb not in among:
        raise ClusterError(
            "This is no verb that works on a cluster",
            where=f"au-dist submit {verb}",
            expected="a recipe, or one of " + ", ".join(among),
        )
    return verb, command, words


def _is_default(source: Any) -> bool:
    return source.name in ("DEFAULT", "DEFAULT_MAP")


def _recipe(found: Mapping[str, Any], note: Callable[[str], None]) -> tuple[str, str]:
    from au_dist.recipes.files import absolute, load_recipe, recipe_file

    recipe = load_recipe(Path(found["recipe"]), found["overrides"] or [], note)
    return recipe.name, recipe_file(absolute(recipe))


def _campaign(found: Mapping[str, Any], note: Callable[[str], None]) -> tuple[str, str]:
    from au_dist.tuning.campaign import load_campaign
    from au_dist.tuning.claims import campaign_file

    campaign = load_campaign(Path(found["campaign"]), found.get("overrides") or [], note)
    return campaign.name, campaign_file(campaign)


def _there(name: str, value: Any, files: dict[str, bytes], own: list[str]) -> str:
    """Return a value as the job is to be given it."""
    text = str(value.value if isinstance(value, Enum) else value)
    path = Path(text).expanduser()
    if name == "detector":
        return placed(text)
    if name in FILES and path.is_file() and path.stat().st_size <= LARGEST_FILE:
        file = path.name if path.name not in files else f"{name}-{path.name}"
        files[file] = path.read_bytes()
        return file
    bare = name in ("run", "model") and "/" not in text and not path.exists()
    if name not in PLACES or "://" in text or bare:
        return text
    own.append(str(path.absolute()))
    return own[-1]


def variables(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are to be sent.

    Raises:
        ClusterError: One is given with its value, which all who see processes would read, or is not set.
    """
    for name in names:
        if "=" in name or name not in environment:
            raise ClusterError(
                "A variable is sent by its name" if "=" in name else "This variable is not set",
                where=f"--env {name.partition('=')[0]}",
                expected="the name of a variable of this shell",
                fix="Set and export it before, and give its name alone.",
            )
    return {name: environment[name] for name in names}
