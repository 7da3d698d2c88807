"""Confidence intervals for few seeds; their coverage was simulated (tests/results/interval_coverage.md).

`scipy.stats` is imported where it is used: it takes a second.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An interval; ±inf where censoring leaves a side open. `confidence`: at least this where it is exact."""

    lower: float
    upper: float
    confidence: float = CONFIDENCE

    def as_dict(self) -> dict[str, float | None]:
        """`{"lower", "upper", "confidence"}`, null where open."""
        ends = {"lower": self.lower, "upper": self.upper}
        closed = {name: round(end, 10) if math.isfinite(end) else None for name, end in ends.items()}
        return {**closed, "confidence": round(self.confidence, 6)}


def as_json(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else interval.as_dict()


def clopper_pearson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact binomial interval for a share, 0 to 1; of no trials, [0, 1]."""
    return _binomial(successes, n, "exact", confidence)


def clopper_pearson_undecided(
    successes: int, undecided: int, n: int, confidence: float = CONFIDENCE
) -> Interval:
    """A share's exact interval when some of n trials are undecided: it holds whatever their outcome.

    The lower end counts all `undecided` as failures, the upper as successes.
    """
    least, most = (clopper_pearson(count, n, confidence) for count in (successes, successes + undecided))
    return Interval(least.lower, most.upper, confidence)


def newcombe_difference(
    successes_1: int, n_1: int, successes_2: int, n_2: int, confidence: float = CONFIDENCE
) -> Interval:
    """Interval for share 1 less share 2 of two independent groups, -1 to 1; [-1, 1] if a group is empty.

    Not exact: its mean coverage is near the nominal one, and single cases lie below (see the table).
    Source: Newcombe, Statistics in Medicine 17 (1998) 873, method 10: Wilson's score intervals, combined.
    """
    if not n_1 or not n_2:
        return Interval(-1.0, 1.0, confidence)
    one = _binomial(successes_1, n_1, "wilson", confidence)
    other = _binomial(successes_2, n_2, "wilson", confidence)
    share_1, share_2 = successes_1 / n_1, successes_2 / n_2
    below = math.hypot(share_1 - one.lower, other.upper - share_2)
    above = math.hypot(one.upper - share_1, share_2 - other.lower)
    return Interval(share_1 - share_2 - below, share_1 - share_2 + above, confidence)


def median_rank(n: int, confidence: float = CONFIDENCE) -> int | None:
    """The rank r, from 1, for which the r-th smallest and r-th largest of n values enclose the population's
    median with at least this confidence; None where not even the extremes do (n < 6 at 95 %)."""
    ranks = [r for r in range(1, n // 2 + 1) if _enclosed(r, n) >= confidence]
    return ranks[-1] if ranks else None


def median_interval(
    lowers: Sequence[float], uppers: Sequence[float] | None = None, confidence: float = CONFIDENCE
) -> Interval | None:
    """Distribution-free interval for a population's median from order statistics; None for too few values.

    The r-th smallest lower end and r-th largest upper end enclose those order statistics of the values, so
    censoring, for whatever reason, costs no coverage. `scipy.stats` has none for interval-censored values.

    Args:
        lowers, uppers: the i-th value lies between `lowers[i]` and `uppers[i]`, which may be infinite. One
            sequence alone: the values themselves.
    """
    uppers = lowers if uppers is None else uppers
    if len(lowers) != len(uppers):
        raise ValueError(f"{len(lowers)} lower ends for {len(uppers)} upper ones")
    rank = median_rank(len(lowers), confidence)
    if rank is None:
        return None
    return Interval(sorted(lowers)[rank - 1], sorted(uppers)[-rank], _enclosed(rank, len(lowers)))


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's interval for the mean of `values`, of paired differences for instance; None below two.

    Exact for normal values; with few and skewed ones its coverage is less than nominal (see the table).
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(fmean(values) - half, fmean(values) + half, confidence)


def welch(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Welch's t interval for the difference of means; None of fewer than two values, or of no spread."""
    from scipy import stats

    if min(len(a), len(b)) < 2 or stdev(a) == stdev(b) == 0:
        return None
    with warnings.catch_warnings():  # of nearly equal values, as of a gap that does not vary
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    return Interval(float(found.low), float(found.high), confidence)


@cache
def _binomial(successes: int, n: int, method: str, confidence: float) -> Interval:
    from scipy import stats

    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}: must be a count from 0 to {n}")
    if not n:
        return Interval(0.0, 1.0, confidence)
    found = stats.binomtest(successes, n).proportion_ci(confidence, method)
    return Interval(float(found.low), float(found.high), confidence)


def _enclosed(rank: int, n: int) -> float:
    """The chance that the rank-th smallest and largest of n values enclose their population's median."""
    return 1 - sum(math.comb(n, k) for k in range(rank)) / float(2 ** (n - 1))
