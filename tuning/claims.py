"""A campaign in storage: its name is taken by its file, and free again where no trial of it left a run."""

import secrets
from pathlib import Path
from typing import Any

import yaml

from au_dist.config.files import parse
from au_dist.config.paths import differences, put
from au_dist.core.errors import RecipeError
from au_dist.recipes.files import recipe_file
from au_dist.recipes.recipe import Recipe
from au_dist.runs.leases import LEASE
from au_dist.storage.store import Store, open_store
from au_dist.tuning.campaign import CAMPAIGN, RECORDS, STOP, Campaign, keys_of_now
from au_dist.tuning.record import forget
from au_dist.tuning.sections import EarlyStopping
from au_dist.tuning.space import Dimension, parse_space

#: What a campaign whose trials all failed has written.
WRITTEN = (CAMPAIGN, "study.journal", LEASE, RECORDS, "runs", ".lock", STOP, "report.html")

#: Begin of the line that says which shards a campaign is tried on: the hash of their manifest.
SHARDS = "# shards "

#: Keys that may change between two runs of one campaign.
FREE = ("campaigns", "trials", "budget", "keep", "concurrent", "retry_parked", "constraints")


def is_campaign(address: str) -> bool:
    """Return whether a campaign is at an address; a bare name is none."""
    return "/" in address and open_store(address).exists(CAMPAIGN)


def stored_campaign(address: str) -> Campaign:
    """Return the campaign at an address, as its first command wrote it.

    Args:
        address: The campaign's place: its folder or ``s3://bucket/prefix/NAME``.

    Raises:
        RecipeError: No campaign is there.
        StorageError: The store fails.
    """
    place = open_store(address)
    if not place.exists(CAMPAIGN):
        raise RecipeError(
            "No campaign is there",
            where=place.uri,
            expected=f"a folder of a campaign, with {CAMPAIGN}, or a campaign's file",
            fix="Give CAMPAIGNS/NAME, as `campaigns` and `name` in the campaign's file say, or that file.",
        )
    raw = keys_of_now(yaml.safe_load(place.read(CAMPAIGN)))[0]
    where = Path(place.uri) / CAMPAIGN
    if raw["name"] != place.name:
        raise RecipeError(
            "This campaign has been renamed",
            where=place.uri,
            expected=f"the folder `{raw['name']}`, the name in its {CAMPAIGN}, under which its study is kept",
            found=f"the folder `{place.name}`",
            fix="Give the folder its name back.",
        )
    return parse(Campaign, {**raw, "campaigns": place.parent.uri, "space": parse_space(raw["space"], where)}, where)


def dump_campaign(campaign: Campaign) -> str:
    """Return a campaign as YAML; its recipe with every value spelled out."""
    raw = campaign.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump({**raw, "recipe": campaign.base().model_dump(mode="json")}, sort_keys=False)


def campaign_file(campaign: Campaign) -> str:
    """Return a campaign as a file for another machine, which reads it with `load_campaign`."""
    raw = campaign.model_dump(mode="json", exclude_none=True)
    places = {"campaigns": campaign.campaigns.replace("$", "$$")}
    earlier = [open_store(address).uri for address in campaign.warm_start]
    recipe = yaml.safe_load(recipe_file(campaign.base()))
    stopping = {"early_stopping": raw.get("early_stopping")}  # none is not what a file has that says nothing of it
    return yaml.safe_dump({**raw, **stopping, **places, "warm_start": earlier, "recipe": recipe}, sort_keys=False)


def claim(campaign: Campaign, manifest: str) -> None:
    """Write the campaign into its place, or check that the one that is there searches the same on the same shards.

    Args:
        campaign: The campaign.
        manifest: Hash of the manifest of its shards.

    Raises:
        RecipeError: A campaign of this name exists that searches something else.
        StorageError: The store fails.
    """
    text = f"{SHARDS}{manifest}\n{dump_campaign(campaign)}"
    if not campaign.place.create(CAMPAIGN, text.encode()):
        _check_same(campaign.place, text, manifest)


def check_claim(campaign: Campaign, manifest: str) -> None:
    """Refuse what `claim` would refuse, and a place that may not be written; nothing is left there.

    Args:
        campaign: The campaign.
        manifest: Hash of the manifest of its shards.

    Raises:
        RecipeError: A campaign of this name exists that searches something else.
        StorageError: The store fails, or may not be written.
    """
    place = campaign.place
    if place.exists(CAMPAIGN):
        _check_same(place, f"{SHARDS}{manifest}\n{dump_campaign(campaign)}", manifest)
        return
    tried = f"tried-{secrets.token_hex(8)}"
    place.write(tried, b"")
    place.delete(tried)
    place.remove_if_empty()
    place.parent.remove_if_empty()


def _check_same(place: Store, text: str, manifest: str) -> None:
    there = place.read(CAMPAIGN).decode()
    changed = sorted(differences(_meaning(there), _meaning(text)))
    # Older versions did not write which shards they were.
    if there.startswith(SHARDS) and there.partition("\n")[0] != f"{SHARDS}{manifest}":
        changed.append("the shards themselves (another manifest hash)")
    if changed:
        raise RecipeError(
            "A campaign of this name exists that searches something else",
            where=place.uri,
            found=f"changed: {'; '.join(changed)}",
            fix="Give this campaign another name, or undo the change to go on with that one.",
        )


def shards_of(campaign: Campaign) -> str | None:
    """Return the hash of the manifest of a stored campaign's shards; None where an older version did not write it."""
    first = campaign.place.read(CAMPAIGN).decode().partition("\n")[0]
    return first.removeprefix(SHARDS) if first.startswith(SHARDS) else None


def withdraw(campaign: Campaign) -> None:
    """Remove what a campaign has written if no trial of it left a run: its name is free for a corrected one."""
    place = campaign.place
    if not place.list("runs"):
        forget(campaign)
        for path in WRITTEN:
            place.delete(path)
        place.remove_if_empty()


def _meaning(text: str) -> dict[str, Any]:
    """Return what determines a campaign's result: everything but places, machines and its length."""
    whole = keys_of_now(yaml.safe_load(text))[0]
    raw = {key: value for key, value in whole.items() if key not in FREE}
    # Through the recipe: what was written before a key existed means its default.
    recipe = Recipe.model_validate(raw["recipe"])
    outside = ("name", "runs", "shards", "workers", "tracking")
    kept = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in outside}
    space = {path: _spelt(dimension) for path, dimension in raw["space"].items()}
    # What older versions did not write.
    raw = {"sampler": "tpe", "first": [], "folds": [], "seeds": 1, "warm_start": [], **raw}
    raw["storage"] = bool(raw.get("storage"))  # a database may move; that it holds this study is checked there
    if rule := raw.get("early_stopping"):
        raw["early_stopping"] = EarlyStopping.model_validate(rule).model_dump()
    return {**raw, "recipe": put(kept, {"checkpoint.metric": recipe.metric}), "space": space}


def _spelt(dimension: dict[str, Any]) -> dict[str, Any]:
    """Return a raw dimension with every key that there is now."""
    return Dimension.model_validate(dimension).model_dump(mode="json", exclude_none=True)
