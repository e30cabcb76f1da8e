"""Keys of recipes that had another name once: files of then are read, and it is said how the keys are called now."""

from collections.abc import Mapping
from typing import Any

from au_dist.config.paths import put
from au_dist.core.errors import RecipeError

#: Former path → path. Sections before what is in them.
RENAMED = {
    "keep": "checkpoint",
    "checkpoint.every": "checkpoint.every_steps",
    "checkpoint.last": "checkpoint.last_k",
    "checkpoint.best": "checkpoint.top_k",
    "checkpoint.forever": "checkpoint.keep_multiples_of",
    "optim.clip": "optim.grad_clip",
    "model.width": "model.embed_dim",
    "model.squeeze": "model.bottleneck_channels",
    "model.neighbours": "model.num_neighbors",
    "aunce.odds": "aunce.positive_weights",
    "data.mix": "data.shuffle_row_groups",
}


def path_now(path: str) -> str:
    """Return how a path is called now."""
    for before, now in RENAMED.items():
        if path == before or path.startswith(f"{before}."):
            path = now + path[len(before) :]
    return path


def keys_now(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return raw sections with the keys of now, and a note on each that had another name.

    Raises:
        RecipeError: A value is given under both names.
    """
    sections, notes = dict(raw), []
    for before, now in RENAMED.items():
        section, _, name = before.rpartition(".")
        inside = sections.get(section) if section else sections
        if not isinstance(inside, Mapping) or name not in inside:
            continue
        new = now.rpartition(".")[2]
        if new in inside:
            raise RecipeError(
                f"`{before}` is called `{now}` now, and both are given",
                found=f"{inside[name]!r} and {inside[new]!r}",
                fix=f"Leave `{before}` away.",
            )
        kept = {new if key == name else key: value for key, value in inside.items()}
        sections = put(sections, {section: kept}) if section else kept
        notes.append(f"`{before}` is called `{now}` now")
    return sections, notes


def former_names(path: str) -> dict[str, str]:
    """Return former key → key of the keys that once were directly below a path (empty: at the top)."""
    split = ((before.rpartition("."), now.rpartition(".")[2]) for before, now in RENAMED.items())
    return {name: now for (section, _, name), now in split if section == path}
