"""Action-unit intensities in time, with the rates, durations and co-occurrence of a corpus.

Every action unit follows a smooth Gaussian process; it occurs while the process is above a threshold:

* the threshold gives its share of frames (``rate``);
* the smoothness gives the number of onsets per frame (``markov_p01``), by Rice's formula for level crossings
  (S. O. Rice, Mathematical Analysis of Random Noise, 1944-45);
* the correlation of two processes gives their phi coefficient (``phi``), by the bivariate normal distribution;
* a share of the variance stays the same within a subject, as much as spreads the subjects' rates like the beta
  distribution that was fitted to the corpus (``subject_rate_beta_moment_fit``);
* heights above the threshold become intensities 1 to 5 by the corpus's shares of the levels (``level_frac_0_5``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from au_dist.core.errors import IngestError
from au_dist.corpora.published import STATISTICS
from au_dist.synthetic.shape import DRAWN_AUS

_NORMAL = NormalDist()
_TRACE = 0.15  # width below the threshold, in standard deviations, over which the intensity falls from 1 to 0
_CORPUS_FPS = 25.0  # of statistics that do not say at how many frames per second they were counted
# Shares of levels 1 to 5 when no corpus of the file has them.
_EVEN = (0.2, 0.2, 0.2, 0.2, 0.2)


@dataclass(frozen=True, eq=False)
class Dynamics:
    """What is needed to draw sequences of A action units.

    Attributes:
        aus: Their numbers.
        rate_A: Share of frames with intensity 1 or more.
        seconds_A: Smoothing time of each process: the standard deviation of its kernel in seconds.
        steady_A: Share of the variance that is a subject's own.
        factor_AA: Lower-triangular factor of the correlation that the smoothed noise is given.
        steady_factor_AA: The same for the subject's own part.
        knots_A5: Heights of the process at which the intensity is 1, 2, 3, 4, 5.
        levels_A5: Shares of the levels 1 to 5 among the frames with intensity 1 or more.
    """

    aus: tuple[int, ...]
    rate_A: np.ndarray
    seconds_A: np.ndarray
    steady_A: np.ndarray
    factor_AA: np.ndarray
    steady_factor_AA: np.ndarray
    knots_A5: np.ndarray
    levels_A5: np.ndarray


def read_statistics(path: Path | None, corpus: str) -> Dynamics:
    """Read the label statistics of a corpus and solve for the processes that have them.

    Args:
        path: JSON file, one object per corpus; None for the one that comes with the package.
        corpus: Its key in the file, e.g. ``BP4D``.

    Raises:
        IngestError: The file is absent or not JSON, lacks the corpus or one of its fields, or has an action unit that
            cannot be drawn.
    """
    path = path or STATISTICS
    try:
        table = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise IngestError("The label statistics are not there", where=path, fix="Check --statistics.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as cause:
        raise IngestError("The label statistics cannot be read", where=path, expected="JSON", found=cause) from cause
    known = [name for name, entry in table.items() if isinstance(entry, dict) and {"au", *_FIELDS} <= set(entry)]
    if corpus not in known:
        raise IngestError(
            "The label statistics lack what is needed of a corpus",
            where=f"{path}, {corpus}",
            expected=f"an entry with {', '.join(('au', *_FIELDS))}; there are {', '.join(known) or 'none'}",
            found="no such entry" if corpus not in table else f"an entry with {', '.join(table[corpus])}",
            fix="Name another corpus or complete the file.",
        )
    entry = table[corpus]
    unknown = sorted(set(entry["au"]) - set(DRAWN_AUS))
    if unknown:
        raise IngestError(
            "The statistics have action units that cannot be drawn",
            where=f"{path}, {corpus}",
            expected=f"some of {list(DRAWN_AUS)}",
            found=unknown,
        )
    return _solve(entry, _levels(table))


_FIELDS = ("rate", "phi", "markov_p01", "subject_rate_beta_moment_fit")


def _levels(table: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Return the shares of levels 1 to 5 among occurrences, by action unit; 0 is the mean of all."""
    levels: dict[int, np.ndarray] = {}
    for entry in table.values():
        if isinstance(entry, dict) and "level_frac_0_5" in entry:
            for au, shares in zip(entry["au"], entry["level_frac_0_5"], strict=True):
                present = np.array(shares[1:], np.float64)
                if present.sum() > 0:
                    levels.setdefault(au, present / present.sum())
    levels[0] = np.mean(list(levels.values()), axis=0) if levels else np.array(_EVEN)
    return levels


def _solve(entry: Mapping[str, Any], levels: Mapping[int, np.ndarray]) -> Dynamics:
    aus = tuple(int(au) for au in entry["au"])
    rate = np.clip(np.array(entry["rate"], np.float64), 1e-3, 1 - 1e-3)
    above = np.array([_NORMAL.inv_cdf(1 - r) for r in rate])
    fit = entry["subject_rate_beta_moment_fit"]
    alpha, beta = np.array(fit["alpha"]), np.array(fit["beta"])
    spread = alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
    # E[rate of a subject squared] is the probability that two moments far apart are both above the threshold.
    steady = np.clip(solve_correlation(above, above, rate * rate + spread), 0.0, 0.9)
    phi = np.array(entry["phi"], np.float64)
    deviation = np.sqrt(rate * (1 - rate))
    joint = phi * np.outer(deviation, deviation) + np.outer(rate, rate)
    wanted = solve_correlation(above[:, None] + 0 * joint, above[None, :] + 0 * joint, joint)
    onsets = np.array(entry["markov_p01"]) * (1 - rate)
    frames = np.sqrt(1 - steady) * np.exp(-0.5 * above**2) / (2 * np.sqrt(2) * np.pi * np.maximum(onsets, 1e-6))
    # Two processes smoothed by different kernels, and split differently between subject and moment, share less than
    # their noise does; ask for that much more.
    kernels = np.sqrt(2 * np.outer(frames, frames) / np.add.outer(frames**2, frames**2))
    kept = np.sqrt(np.outer(steady, steady)) + np.sqrt(np.outer(1 - steady, 1 - steady)) * kernels
    shared = wanted / kept
    knots = []
    shares_A5 = np.stack([levels.get(au, levels[0]) for au in aus])
    for shares, r in zip(shares_A5, rate, strict=True):
        weaker = np.concatenate([[0.0], np.cumsum(shares)[:4]])
        knots.append([_NORMAL.inv_cdf(1 - r * max(1 - share, 1e-3)) for share in weaker])
    return Dynamics(
        aus=aus,
        rate_A=rate,
        seconds_A=frames / float(entry.get("fps", _CORPUS_FPS)),
        steady_A=steady,
        factor_AA=_factor(shared),
        steady_factor_AA=_factor(shared),
        knots_A5=np.maximum.accumulate(np.array(knots) + 1e-6 * np.arange(5), axis=1),
        levels_A5=shares_A5,
    )


def both_above(a: np.ndarray, b: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return P(X > a, Y > b) of standard normal X and Y with a correlation; all arrays of one shape.

    Integrates the density over the correlation, from independence (Drezner and Wesolowsky, 1990).
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    tail = np.vectorize(lambda value: 1 - _NORMAL.cdf(value))
    r = 0.5 * correlation[..., None] * (nodes + 1)
    rest = 1 - r * r
    inner = -(a[..., None] ** 2 - 2 * r * (a * b)[..., None] + b[..., None] ** 2) / (2 * rest)
    density = np.exp(inner) / (2 * np.pi * np.sqrt(rest))
    return tail(a) * tail(b) + 0.5 * correlation * (density @ weights)


def solve_correlation(a: np.ndarray, b: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Return the correlation that gives P(X > a, Y > b) = joint, within ±0.98; all arrays of one shape."""
    low, high = np.full(joint.shape, -0.98), np.full(joint.shape, 0.98)
    for _ in range(40):
        middle = 0.5 * (low + high)
        over = both_above(a, b, middle) > joint
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return 0.5 * (low + high)


def _factor(correlation: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of the nearest-by correlation matrix that is positive definite."""
    matrix = 0.5 * (correlation + correlation.T)
    np.fill_diagonal(matrix, 1.0)
    values, vectors = np.linalg.eigh(matrix)
    matrix = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(matrix))
    return np.linalg.cholesky(matrix * np.outer(scale, scale))


def draw_habit(dynamics: Dynamics, draw: np.random.Generator) -> np.ndarray:
    """Return how expressive a subject is: an offset of each process, float64 [A]."""
    normal = dynamics.steady_factor_AA @ draw.standard_normal(len(dynamics.aus))
    return np.sqrt(dynamics.steady_A) * normal


def draw_intensity(
    dynamics: Dynamics, habit_A: np.ndarray, draw: np.random.Generator, frames: int, fps: float
) -> np.ndarray:
    """Draw one sequence.

    Args:
        dynamics: The corpus.
        habit_A: The subject's offsets.
        draw: The generator of the video's address.
        frames: Number of frames, T.
        fps: Frames per second.

    Returns:
        Intensity 0 to 5, float64 [T, A]; an action unit occurs where it is 1 or more.
    """
    scales = np.maximum(dynamics.seconds_A * fps, 0.5)
    reach = int(np.ceil(3.5 * scales.max()))
    noise = dynamics.factor_AA @ draw.standard_normal((len(scales), frames + 2 * reach))
    rows = []
    for row, scale, habit, steady, knots in zip(
        noise, scales, habit_A, dynamics.steady_A, dynamics.knots_A5, strict=True
    ):
        near = int(np.ceil(3.5 * scale))
        kernel = np.exp(-0.5 * (np.arange(-near, near + 1) / scale) ** 2)
        kernel /= np.sqrt(np.sum(kernel**2))
        process = np.convolve(row[reach - near : reach + frames + near], kernel, mode="valid")
        height = habit + np.sqrt(1 - steady) * process
        rows.append(np.interp(height, [knots[0] - _TRACE, *knots], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
    return np.stack(rows, axis=1)
