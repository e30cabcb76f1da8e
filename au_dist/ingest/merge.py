"""Several sets of shards as one, to train on several corpora: labels that a corpus lacks are unknown in its clips."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from au_dist.core.errors import ShardError
from au_dist.core.schema import Clip
from au_dist.shards.format import Manifest, Shard, read_clips, read_manifest
from au_dist.shards.writer import write_shards
from au_dist.storage.store import Store

Which = Literal["union", "intersection"]


def merge(
    stores: Sequence[Store],
    out: Store,
    which: Which,
    show: Callable[[int], None] = lambda clips: None,
    *,
    mixed_detection: bool = False,
) -> Manifest:
    """Write the clips of several sets as one set.

    Subjects of the same name are one person, as those of DISFA and DISFA+ are.

    Args:
        stores: The sets; their crops are of one recipe and their clips equally long.
        out: Where the merged set goes.
        which: Label columns: those of any set, or those of all.
        show: Called with the number of clips written so far.
        mixed_detection: Whether faces may have been found in different ways; the merged set then names none.

    Raises:
        ShardError: The sets do not fit together, or a clip is in two of them.
    """
    manifests = [read_manifest(store.check()) for store in stores]
    _check_fit(stores, manifests, mixed_detection)
    aus = merged_aus([manifest.aus for manifest in manifests], which)
    if not aus and any(manifest.aus for manifest in manifests):
        raise ShardError("The sets have no action unit in common", where=out.uri, fix="Use --aus union.")

    places = [_groups(manifest) for manifest in manifests]

    def clips() -> Iterator[Clip]:
        count = 0
        for subject in sorted({name for manifest in manifests for name in manifest.subjects}):
            seen: set[str] = set()
            for store, manifest, groups in zip(stores, manifests, places, strict=True):
                for clip in _clips_of(store, manifest, groups.get(subject, [])):
                    if clip.clip_id in seen:
                        raise ShardError("A clip is in two of the sets", where=store.uri, found=clip.clip_id)
                    seen.add(clip.clip_id)
                    yield relabelled(clip, manifest.aus, aus)
                    count += 1
                    show(count)

    recipe = manifests[0].crop_recipe
    crop = recipe if found_alike(manifests) else recipe.cut
    return write_shards(clips(), out, aus=aus, crop=crop, source=_source(manifests, which))


def found_alike(manifests: Sequence[Manifest]) -> bool:
    """Say whether the faces of all sets were found in one way, as far as it is known."""
    first, *others = [manifest.crop_recipe.finding for manifest in manifests]
    return all(other == first for other in others)


def merged_aus(sets: Sequence[tuple[int, ...]], which: Which) -> tuple[int, ...]:
    """Return the action units of any or of all sets, in order."""
    parts = [set(aus) for aus in sets]
    return tuple(sorted(set.union(*parts) if which == "union" else set.intersection(*parts)))


def relabelled(clip: Clip, before: tuple[int, ...], after: tuple[int, ...]) -> Clip:
    """Return a clip with other label columns; those it had none of are unknown."""
    frames = len(clip.jpeg_T)
    y_TA, valid_TA = np.zeros((frames, len(after)), np.int8), np.zeros((frames, len(after)), bool)
    intensity_TA = np.full((frames, len(after)), np.nan, np.float32)
    for column, au in enumerate(after):
        if au in before:
            mine = before.index(au)
            y_TA[:, column], valid_TA[:, column] = clip.y_TA[:, mine], clip.valid_TA[:, mine]
            intensity_TA[:, column] = clip.intensity_TA[:, mine]
    return replace(clip, y_TA=y_TA, valid_TA=valid_TA, intensity_TA=intensity_TA)


def _groups(manifest: Manifest) -> dict[str, list[tuple[Shard, int]]]:
    """Return subject → its row groups, as shard and index."""
    groups: dict[str, list[tuple[Shard, int]]] = {}
    for shard in manifest.shards:
        for index, group in enumerate(shard.row_groups):
            groups.setdefault(group.subject, []).append((shard, index))
    return groups


def _clips_of(store: Store, manifest: Manifest, groups: list[tuple[Shard, int]]) -> Iterator[Clip]:
    for shard, index in groups:
        yield from read_clips(store, shard, index, len(manifest.aus))


def _check_fit(stores: Sequence[Store], manifests: Sequence[Manifest], mixed_detection: bool) -> None:
    first: dict[str, tuple[Any, str]] = {}
    for store, manifest in zip(stores, manifests, strict=True):
        crop = manifest.crop_recipe
        parts = {
            "clips are not equally long": f"{manifest.clip_frames} frames",
            "crops are of different recipes": crop.cut.known(),
            "faces were found in different ways": {} if mixed_detection else crop.finding,
        }
        # What a set does not say is no difference.
        for what, found in parts.items():
            wanted, there = first.setdefault(what, (found, store.uri)) if found else (found, store.uri)
            if found != wanted:
                mixing = ", or mix them knowingly with --mixed-detection" if "faces" in what else ""
                raise ShardError(
                    f"The {what}",
                    where=store.uri,
                    expected=f"{wanted}, as in {there}",
                    found=found,
                    fix=f"Ingest one of them again with the options of the other{mixing}.",
                )


def _source(manifests: Sequence[Manifest], which: Which) -> dict[str, Any]:
    partitions: dict[str, set[str]] = {}
    for manifest in manifests:
        for part, subjects in manifest.source.get("partitions", {}).items():
            partitions.setdefault(part, set()).update(subjects)
    sets = [{"sha256": manifest.sha256, **manifest.source} for manifest in manifests]
    parts = {"partitions": {part: sorted(some) for part, some in partitions.items()}} if partitions else {}
    return {"kind": "merged", "aus": which, "sets": sets, **parts}
