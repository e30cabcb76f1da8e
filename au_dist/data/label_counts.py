"""What is known of each training clip within the label budget, and how often an epoch should draw it."""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from au_dist.config.sections import Labels
from au_dist.core.errors import RecipeError
from au_dist.data.labels import known
from au_dist.data.order import RowGroupRef
from au_dist.shards.format import Manifest, read_row_group
from au_dist.storage.store import Store

#: Shards that are read at once; the labels are small, so it is the store that is waited for.
READERS = 8


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """Counts over the frames of each clip, clips of a row group together.

    Attributes:
        known_CA: Frames whose label is known, int64.
        positive_CA: Frames of these in which the action unit occurs.
    """

    known_CA: np.ndarray
    positive_CA: np.ndarray

    def sums(self) -> list[tuple[int, int]]:
        """Return of each action unit its known frames, and those in which it occurs."""
        sums = zip(self.known_CA.sum(0), self.positive_CA.sum(0), strict=True)
        return [(int(known), int(positive)) for known, positive in sums]

    def rates(self) -> np.ndarray:
        """Return the occurrence rate of each action unit, float64 [A]; NaN without labels."""
        known_A = self.known_CA.sum(0)
        return np.where(known_A > 0, self.positive_CA.sum(0) / np.maximum(known_A, 1), np.nan)

    def weights(self, strength: float) -> np.ndarray:
        """Return how often an epoch should draw each clip on average, float64 [C].

        Clips without a known label are never drawn; the others once on average over all of them. A clip's weight is
        the largest of (0.5 / rate) ** strength over the action units that occur in it, at least 1, before it is
        divided by the mean: the repeat factors of Gupta et al. (LVIS, CVPR 2019), whose exponent is 0.5.

        Args:
            strength: 0 leaves all clips equal.

        Raises:
            RecipeError: No clip has a known label.
        """
        drawn_C = self.known_CA.any(1)
        if not drawn_C.any():
            raise RecipeError(
                "No training clip has a label within the budget",
                where="data.labels",
                expected="a labelled frame",
                fix="Raise data.labels.share, or take another data.labels.seed.",
            )
        rate_A = np.nan_to_num(self.rates(), nan=0.5).clip(min=1e-6)
        factor_A = np.maximum(1.0, 0.5 / rate_A) ** strength
        weight_C = np.where(self.positive_CA > 0, factor_A, 1.0).max(1, initial=1.0) * drawn_C
        return weight_C * (drawn_C.sum() / weight_C.sum())


def mixed(weight_C: np.ndarray, corpus_C: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    """Return weights whose sums over each corpus are in given proportions; their sum, and those within it, stay.

    Args:
        weight_C: How often an epoch should draw each clip on average.
        corpus_C: The corpus of each clip.
        shares: Corpus → its share.

    Raises:
        RecipeError: A corpus has no share, or a share no clip.
    """
    there, named = set(corpus_C.tolist()), {name for name, share in shares.items() if share > 0}
    if there - shares.keys() or named - there:
        raise RecipeError(
            "The corpora of the recipe are not those of the training subjects",
            where="data.corpora",
            expected=", ".join(sorted(there)),
            found=", ".join(sorted(shares)) or "none",
            fix="Name each of them; 0 leaves one out.",
        )
    sums = {name: weight_C[corpus_C == name].sum() for name in there}
    if empty := sorted(name for name in named if not sums[name]):
        raise RecipeError("A corpus has no clip with a label within the budget", where="data.corpora", found=empty[0])
    scale = weight_C.sum() / sum(shares[name] for name in there)
    factor = {name: shares[name] * scale / sums[name] if sums[name] else 0.0 for name in there}
    return weight_C * np.array([factor[name] for name in corpus_C.tolist()])


def count_labels(
    store: Store,
    manifest: Manifest,
    groups: tuple[RowGroupRef, ...],
    columns: list[int],
    labels: Labels,
    *,
    intensities: bool,
) -> LabelCounts:
    """Count labels in row groups; frames are not read.

    Args:
        store: The set of shards.
        manifest: Its manifest.
        groups: Row groups of the training subjects.
        columns: Label columns to count.
        labels: The label budget.
        intensities: Count known intensities; an action unit occurs where its intensity is at least 1.
    """
    names = ["clip_id", "number", "intensity"] if intensities else ["clip_id", "number", "label", "valid"]

    def count(group: RowGroupRef) -> tuple[np.ndarray, np.ndarray]:
        rows = read_row_group(store, manifest.shards[group.shard], group.group, names).to_pylist()
        both = [known(row, columns, len(manifest.aus), labels, intensities=intensities) for row in rows]
        valid_CTA = np.stack([valid for _, valid in both])
        return valid_CTA.sum(1), ((np.stack([y for y, _ in both]) >= 1) & valid_CTA).sum(1)

    # Groups of a shard follow each other in the manifest's order, which `groups` has.
    shards = [list(same) for _, same in itertools.groupby(groups, lambda group: group.shard)]
    with ThreadPoolExecutor(READERS, "label_counts") as pool:
        parts = list(itertools.chain.from_iterable(pool.map(lambda same: [count(group) for group in same], shards)))
    return LabelCounts(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
