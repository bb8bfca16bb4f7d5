"""Whether groups of runs differ by more than chance. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

LEAST = 3  # runs a side; with fewer the interval is wider than anything it could tell
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The difference between the means of two groups.

    Args:
        first: The name of the group that is ahead.
        second: The name of the other one.
        counts: How many runs each has.
        means: The mean of each.
        is_paired: Whether the same seeds are on both sides, so that each is compared with its own.
        difference: Mean of the first less mean of the second.
        low: The lower end of its 95 % interval.
        high: The upper end.
        p: How probable a difference of this size is if there is none; of several pairs, corrected by Holm's method.
        pairs: How many pairs it was corrected for.
    """

    first: str
    second: str
    counts: tuple[int, int]
    means: tuple[float, float]
    is_paired: bool
    difference: float
    low: float
    high: float
    p: float
    pairs: int

    @property
    def is_clear(self) -> bool:
        """Whether the data show which of the two is better."""
        return self.p < 1 - LEVEL

    def sentence(self) -> str:
        """The result in words."""
        how = "same seeds, paired" if self.is_paired else "Welch"
        many = f", corrected for {self.pairs} pairs" if self.pairs > 1 else ""
        numbers = (
            f"difference {self.difference:+.4g}, 95 % interval [{self.low:.4g}, {self.high:.4g}], p = {self.p:.2g} "
            f"(n = {self.counts[0]} and {self.counts[1]}; {how}{many})"
        )
        if self.is_clear:
            return f"{self.first} is better than {self.second}: {numbers}."
        return f"The data cannot tell {self.first} and {self.second} apart: {numbers}."


def differences(groups: Mapping[str, Mapping[str, float]], mode: str) -> list[Difference]:
    """Every pair of groups with enough runs, the better one first, the clearest pair first.

    Groups with the same seeds on both sides are compared by the paired t test, others by Welch's; the p values of
    several pairs are corrected for their number.

    Source: Welch 1947, https://doi.org/10.1093/biomet/34.1-2.28; Holm 1979, https://www.jstor.org/stable/4615733

    Args:
        groups: Name -> seed -> value.
        mode: `min` if lower is better, `max` if higher is.
    """
    enough = {name: values for name, values in groups.items() if len(values) >= LEAST}
    found: list[Difference] = []
    for names in combinations(enough, 2):
        first, second = sorted(names, key=lambda name: _mean(enough[name]), reverse=mode == "max")
        found.append(_difference(first, second, enough[first], enough[second], math.comb(len(enough), 2)))
    corrected = holm([pair.p for pair in found])
    pairs = [Difference(**{**vars(pair), "p": p}) for pair, p in zip(found, corrected, strict=True)]
    return sorted(pairs, key=lambda pair: pair.p)


def holm(values: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected for their number."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(values)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected


def _difference(first: str, second: str, a: Mapping[str, float], b: Mapping[str, float], pairs: int) -> Difference:
    is_paired = set(a) == set(b)
    x, y = np.array([a[seed] for seed in a]), np.array([b[seed] for seed in (a if is_paired else b)])
    means = (float(x.mean()), float(y.mean()))
    low, high, p = _interval(x, y, is_paired)
    return Difference(first, second, (len(x), len(y)), means, is_paired, means[0] - means[1], low, high, p, pairs)


def _interval(x: NDArray[np.float64], y: NDArray[np.float64], is_paired: bool) -> tuple[float, float, float]:
    """The two ends of the interval of a mean difference, and its p value."""
    from scipy import stats  # takes half a second

    difference = float(x.mean() - y.mean())
    if np.ptp(x - y if is_paired else x) == np.ptp(x - y if is_paired else y) == 0:  # the same for every seed
        return difference, difference, 1.0 if difference == 0 else 0.0
    test = stats.ttest_rel(x, y) if is_paired else stats.ttest_ind(x, y, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    return float(low), float(high), float(test.pvalue)


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
