"""Confidence intervals for the few seeds that an experiment has; each one's coverage was simulated.

`python tests/coverage_simulation.py` writes the table of coverages, tests/results/interval_coverage.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy import special  # not scipy.stats, which takes a second to import

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An interval at a level of confidence; ±inf where censoring leaves a side open.

    Attributes:
        confidence: what the method guarantees, at least the level asked for where it is exact.
    """

    lower: float
    upper: float
    confidence: float = CONFIDENCE

    def as_dict(self) -> dict[str, float | None]:
        """`{"lower", "upper", "confidence"}`, null where open: JSON has no infinity."""
        ends = {"lower": self.lower, "upper": self.upper}
        closed = {name: round(end, 10) if math.isfinite(end) else None for name, end in ends.items()}
        return {**closed, "confidence": round(self.confidence, 6)}


def clopper_pearson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact binomial interval for a share, 0 to 1; of no trials, [0, 1].

    Source: Clopper and Pearson, Biometrika 26 (1934) 404, by quantiles of the beta distribution.
    Raises ValueError unless 0 <= successes <= n.
    """
    _check_counts(successes, n)
    if n == 0:
        return Interval(0.0, 1.0, confidence)
    tail, failures = (1 - confidence) / 2, n - successes
    lower = float(special.betaincinv(successes, failures + 1, tail)) if successes else 0.0
    upper = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Interval(lower, upper, confidence)


def clopper_pearson_undecided(
    successes: int, undecided: int, n: int, confidence: float = CONFIDENCE
) -> Interval:
    """A share's exact interval when some of n trials may have gone either way: it holds whichever way.

    The lower end counts all `undecided` as failures, the upper as successes, so that no assumption on why
    they are undecided is needed. Without any it is `clopper_pearson`.
    """
    _check_counts(successes + undecided, n)
    least, most = (clopper_pearson(count, n, confidence) for count in (successes, successes + undecided))
    return Interval(least.lower, most.upper, confidence)


def newcombe_difference(
    successes_1: int, n_1: int, successes_2: int, n_2: int, confidence: float = CONFIDENCE
) -> Interval:
    """Interval for share 1 less share 2 of two independent groups, -1 to 1; [-1, 1] if a group is empty.

    Not exact: its mean coverage is near the nominal one, and single cases lie below (see the table).
    Source: Newcombe, Statistics in Medicine 17 (1998) 873, method 10: Wilson's score intervals, combined.
    """
    _check_counts(successes_1, n_1)
    _check_counts(successes_2, n_2)
    if not n_1 or not n_2:
        return Interval(-1.0, 1.0, confidence)
    share_1, low_1, high_1 = _wilson(successes_1, n_1, confidence)
    share_2, low_2, high_2 = _wilson(successes_2, n_2, confidence)
    difference = share_1 - share_2
    below = math.hypot(share_1 - low_1, high_2 - share_2)
    above = math.hypot(high_1 - share_1, share_2 - low_2)
    return Interval(difference - below, difference + above, confidence)


def median_rank(n: int, confidence: float = CONFIDENCE) -> int | None:
    """The rank r, from 1, for which the r-th smallest and r-th largest of n values enclose the population's
    median with at least this confidence; None where not even the extremes do (n < 6 at 95 %)."""
    ranks = [r for r in range(1, n // 2 + 1) if _enclosed(r, n) >= confidence]
    return ranks[-1] if ranks else None


def median_interval(
    lowers: Sequence[float], uppers: Sequence[float] | None = None, confidence: float = CONFIDENCE
) -> Interval | None:
    """Distribution-free interval for a population's median from order statistics; None for too few values.

    Args:
        lowers, uppers: the i-th value is known to lie between `lowers[i]` and `uppers[i]`, which may be
            infinite (censored). One sequence alone: the values themselves.

    The r-th smallest lower end and r-th largest upper end enclose those order statistics of the values, so
    the interval is never narrower than a cell and censoring, for whatever reason, costs no coverage.
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
    n = len(values)
    if n < 2:
        return None
    mean = fmean(values)
    half = float(special.stdtrit(n - 1, (1 + confidence) / 2)) * stdev(values) / math.sqrt(n)
    return Interval(mean - half, mean + half, confidence)


def as_json(interval: Interval | None) -> dict[str, Any] | None:
    """`Interval.as_dict`, or null where there is no interval."""
    return None if interval is None else interval.as_dict()


def _wilson(successes: int, n: int, confidence: float) -> tuple[float, float, float]:
    """The share and the ends of Wilson's score interval (J. Am. Stat. Assoc. 22, 1927, 209)."""
    share, squared = successes / n, float(special.ndtri((1 + confidence) / 2)) ** 2
    middle = (share + squared / (2 * n)) / (1 + squared / n)
    half = math.sqrt(squared * (share * (1 - share) / n + squared / (4 * n * n))) / (1 + squared / n)
    return share, max(middle - half, 0.0), min(middle + half, 1.0)


def _enclosed(rank: int, n: int) -> float:
    """The chance that the rank-th smallest and largest of n values enclose their population's median."""
    return 1 - 2 * float(special.bdtr(rank - 1, n, 0.5))


def _check_counts(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}: must be a count from 0 to {n}")
