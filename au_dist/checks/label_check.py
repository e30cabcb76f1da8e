"""Label rates and co-occurrence of a set beside the published ones: a careless script swaps columns, rates tell."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from au_dist.core.schema import Clip, au_name
from au_dist.corpora.published import PUBLISHED, label_statistics

#: A rate may be off by this, plus so many standard errors of a choice of subjects out of all.
RATE_TOLERANCE, STANDARD_ERRORS = 0.02, 3.0

#: Uncertainty of a published correlation of two action units, beside that of the subjects.
PHI_TOLERANCE = 0.05

#: Two columns are called swapped when the other way round fits better by this much (in squared standard errors), and
#: at least so many subjects are there.
SWAP_GAIN, SWAP_SUBJECTS = 25.0, 5


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts over the frames of one subject: known_AA pairs both known; both_AA both occurring; one_AA the first."""

    known_AA: np.ndarray
    both_AA: np.ndarray
    one_AA: np.ndarray


class LabelCheck:
    """Gathers labels clip by clip, and says at the end what is strange about them."""

    def __init__(self, aus: tuple[int, ...]) -> None:
        self.aus = aus
        self.tallies: dict[str, dict[str, Tally]] = {}

    def add(self, clip: Clip) -> None:
        """Count the labels of a clip."""
        valid_TA, y_TA = clip.valid_TA.astype(np.int64), clip.y_TA.astype(np.int64)
        new = Tally(valid_TA.T @ valid_TA, y_TA.T @ y_TA, y_TA.T @ valid_TA)
        of = self.tallies.setdefault(clip.corpus, {})
        old = of.get(clip.subject)
        if old:
            new = Tally(old.known_AA + new.known_AA, old.both_AA + new.both_AA, old.one_AA + new.one_AA)
        of[clip.subject] = new

    def warnings(self, source: Mapping[str, Any]) -> list[str]:
        """Return what differs from what is published of the corpora, a sentence each.

        Args:
            source: How the set was made, from its manifest.
        """
        sentences = []
        parts = {part.get("corpus"): part for part in _sets(source)}
        for corpus, subjects in self.tallies.items():
            made = parts.get(corpus, {})
            sentences += _count_warnings(corpus, len(subjects), made)
            key = PUBLISHED[corpus].statistics if corpus in PUBLISHED else None
            comparable = corpus != "disfa" or made.get("threshold", 2) == 2
            if key and comparable:
                sentences += compare(self.aus, list(subjects.values()), corpus, key)
        return sentences


def _sets(source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return how each set was made that a set was merged from, or how it was made itself."""
    return [part for some in source["sets"] for part in _sets(some)] if "sets" in source else [source]


def _count_warnings(corpus: str, subjects: int, made: Mapping[str, Any]) -> list[str]:
    if corpus not in PUBLISHED or "coded_frames" not in made:
        return []
    everyone, frames = PUBLISHED[corpus].subjects, PUBLISHED[corpus].coded_frames
    if subjects != everyone or made["coded_frames"] == frames or made.get("bad_frames", "none") != "none":
        return []
    return [
        f"{corpus}: its label files code {made['coded_frames']:,} frames of these action units, published: {frames:,}."
    ]


def compare(aus: tuple[int, ...], tallies: list[Tally], corpus: str, key: str) -> list[str]:
    """Return warnings about rates that are off and columns that look swapped.

    The bound of a rate is 0.02 plus three standard errors of the mean over the subjects at hand, drawn without
    replacement from all of the corpus; with all of them it is 0.02.
    """
    known = label_statistics(key)
    place = [(column, known["au"].index(au)) for column, au in enumerate(aus) if au in known["au"]]
    place = [(mine, theirs) for mine, theirs in place if sum(tally.known_AA[mine, mine] for tally in tallies)]
    if not place:
        return []
    mine, theirs = (np.array(columns) for columns in zip(*place, strict=True))
    rate_K, phi_KK, rate_error_K, phi_error_KK = _estimates(tallies, mine)
    published_K, published_KK = np.array(known["rate"])[theirs], np.array(known["phi"])[np.ix_(theirs, theirs)]
    everyone = PUBLISHED[corpus].subjects
    left = math.sqrt(max(0.0, 1 - len(tallies) / everyone))
    spread_K = np.array(
        [math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))) for a, b in _beta(known, theirs)]
    ) / math.sqrt(len(tallies))  # fmt: skip
    bound_K = RATE_TOLERANCE + STANDARD_ERRORS * spread_K * left
    names = [au_name(aus[column]) for column in mine]
    warnings = [
        f"{corpus}: {name} occurs in {rate:.1%} of the frames, published is {published:.1%} "
        f"(more than {bound:.1%} apart, the bound for {len(tallies)} of {everyone} subjects)."
        for name, rate, published, bound in zip(names, rate_K, published_K, bound_K, strict=True)
        if abs(rate - published) > bound
    ]
    if len(tallies) >= SWAP_SUBJECTS:
        errors = (
            np.maximum(spread_K, rate_error_K) * left + RATE_TOLERANCE,
            phi_error_KK * max(left, 0.3) + PHI_TOLERANCE,
        )
        swap = likely_swap(rate_K, phi_KK, published_K, published_KK, *errors)
        if swap:
            warnings.append(
                f"{corpus}: the columns of {names[swap[0]]} and {names[swap[1]]} look swapped: the other way round, "
                "rates and co-occurrence are nearer to the published ones."
            )
    return warnings


def _beta(known: Mapping[str, Any], theirs: np.ndarray) -> list[tuple[float, float]]:
    fit = known["subject_rate_beta_moment_fit"]
    return [(fit["alpha"][k], fit["beta"][k]) for k in theirs]


def likely_swap(
    rate_K: np.ndarray,
    phi_KK: np.ndarray,
    published_K: np.ndarray,
    published_KK: np.ndarray,
    rate_error_K: np.ndarray,
    phi_error_KK: np.ndarray,
) -> tuple[int, int] | None:
    """Return the two columns whose exchange brings rates and correlations much nearer to the published ones, if any."""
    upper = np.triu_indices(len(rate_K), 1)

    def misfit(order: np.ndarray) -> float:
        rate = ((rate_K[order] - published_K) / rate_error_K) ** 2
        off = np.nan_to_num((phi_KK[np.ix_(order, order)] - published_KK) / phi_error_KK)
        return float(rate.sum() + (off[upper] ** 2).sum())

    straight = np.arange(len(rate_K))
    gains = {}
    for one, other in itertools.combinations(range(len(rate_K)), 2):
        order = straight.copy()
        order[[one, other]] = order[[other, one]]
        gains[one, other] = misfit(straight) - misfit(order)
    best = max(gains, key=lambda pair: gains[pair], default=None)
    return best if best and gains[best] > SWAP_GAIN else None


def _estimates(tallies: list[Tally], columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rates, correlations, and the standard errors of both by leaving out one subject at a time."""
    grid = np.ix_(columns, columns)
    stacks = [np.stack([getattr(tally, name)[grid] for tally in tallies]) for name in ("known_AA", "both_AA", "one_AA")]
    totals = [stack.sum(0) for stack in stacks]
    rate_K, phi_KK = _rates(*totals)
    without = [
        _rates(*(total - stack[k] for total, stack in zip(totals, stacks, strict=True))) for k in range(len(tallies))
    ]
    scale = math.sqrt(max(len(tallies) - 1, 1))
    errors = [np.nan_to_num(np.std([each[k] for each in without], axis=0)) * scale for k in range(2)]
    return rate_K, phi_KK, errors[0], errors[1]


def _rates(known_KK: np.ndarray, both_KK: np.ndarray, one_KK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore", divide="ignore"):
        both, one, other = both_KK / known_KK, one_KK / known_KK, one_KK.T / known_KK
        phi_KK = (both - one * other) / np.sqrt(one * (1 - one) * other * (1 - other))
        return np.diag(one), np.nan_to_num(phi_KK)
