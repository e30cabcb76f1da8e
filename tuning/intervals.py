"""Intervals that hold a true value as often as they say."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: How sure an interval is meant to be.
SURE = 0.95


@dataclass(frozen=True)
class Interval:
    """Where a value lies, as far as is known.

    Attributes:
        low: Lower end.
        high: Upper end.
        of: How many independent things say so.
    """

    low: float
    high: float
    of: int

    @property
    def words(self) -> str:
        """Its ends in words."""
        return f"{self.low:+.4f} to {self.high:+.4f}"


def mean_interval(values: Sequence[float], centre: float | None = None) -> Interval:
    """Return the interval of a mean, by Student's t; unbounded of fewer than two values, and where one is not finite.

    Args:
        values: Independent values.
        centre: The middle of the interval; their mean when None.
    """
    count = len(values)
    middle = statistics.mean(values) if centre is None else centre
    if count < 2 or not all(map(math.isfinite, values)):
        return Interval(-math.inf, math.inf, count)
    from scipy.stats import t

    half = float(t.ppf((1 + SURE) / 2, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Interval(middle - half, middle + half, count)


def jackknife(whole: float, without: Sequence[float]) -> Interval:
    """Return the interval of a statistic over independent groups, by Tukey's pseudo-values (1958) and Student's t.

    Of a mean over groups of one size it is that of `mean_interval`. Resampling groups instead would be too sure where
    they are few, and takes a thousand times as long.

    Args:
        whole: The statistic of all groups.
        without: The same without each of them.
    """
    count = len(without)
    return mean_interval([count * whole - (count - 1) * value for value in without], whole)
