"""Bounds of censored quantities, confidence intervals for few seeds, and the share that a sweep left unmoved.

The intervals' coverage was simulated (tests/results/interval_coverage.md). `scipy.stats` is imported where it
is used: it takes a second.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median, pstdev, stdev
from typing import Any

from dglib.analysis.fields import rounded


@dataclass(frozen=True)
class Bounds:
    """A quantity known to lie between two values; ±inf where a side is open (censored)."""

    lower: float
    upper: float

    def __sub__(self, other: "Bounds") -> "Bounds":
        """Bounds of the difference of two quantities: [L - U', U - L']."""
        return Bounds(rounded(self.lower - other.upper), rounded(self.upper - other.lower))

    @property
    def is_closed(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.lower) and math.isfinite(self.upper)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Bounds":
        """From `as_dict`, or anything with its two values."""
        lower, upper = plain["lower"], plain["upper"]
        return cls(-math.inf if lower is None else lower, math.inf if upper is None else upper)

    def as_dict(self) -> dict[str, float | None]:
        """`{"lower", "upper"}`, null where open: JSON has no infinity."""
        return {"lower": _closed(self.lower), "upper": _closed(self.upper)}


UNKNOWN = Bounds(-math.inf, math.inf)


def event_cell(level: float, visited: Sequence[float], start: float | None, rising: bool) -> Bounds:
    """The cell of a threshold that fired at `level`: it lies past the level visited before.

    `start` is the λ from which the sweep's first level was reached; None where it is not known. A first level
    at the start's own λ has no level before it: the cell is open there.
    """
    before = visited.index(level) if level in visited else 0
    previous = visited[before - 1] if before else start
    if previous == level:
        previous = None
    if rising:
        return Bounds(-math.inf if previous is None else previous, level)
    return Bounds(level, math.inf if previous is None else previous)


def censored_cell(last: float, rising: bool) -> Bounds:
    """The bounds of a threshold that was not met up to the level `last`."""
    return Bounds(last, math.inf) if rising else Bounds(-math.inf, last)


def centre(cell: Bounds | None) -> float | None:
    """The middle of a closed cell; None of an open one."""
    return rounded((cell.lower + cell.upper) / 2) if cell and cell.is_closed else None


def median_bounds(bounds: Sequence[Bounds]) -> Bounds:
    """[median of the lowers, median of the uppers], which contains the sample median."""
    if not bounds:
        return UNKNOWN
    return Bounds(rounded(_median([b.lower for b in bounds])), rounded(_median([b.upper for b in bounds])))


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """`{"n", "mean", "std" (ddof 0), "min", "max"}` of the values; None where there are none."""
    if not values:
        return None
    return {
        "n": len(values),
        "mean": rounded(fmean(values)),
        "std": rounded(pstdev(values)),
        "min": min(values),
        "max": max(values),
    }


def _median(values: Sequence[float]) -> float:
    middle = median(values)
    # An even count whose middle pair is -inf and +inf has no median: open on both sides.
    return middle if not math.isnan(middle) else math.inf


def _closed(value: float) -> float | None:
    return value if math.isfinite(value) else None


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


def clopper_pearson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact binomial interval for a share, 0 to 1; of no trials, [0, 1]."""
    from scipy.special import betaincinv  # scipy.stats takes four times as long to import

    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}: must be a count from 0 to {n}")
    tail = (1 - confidence) / 2
    lower = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    upper = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return Interval(lower, upper, confidence)


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
    one = _wilson(successes_1, n_1, confidence)
    other = _wilson(successes_2, n_2, confidence)
    share_1, share_2 = successes_1 / n_1, successes_2 / n_2
    below = math.hypot(share_1 - one.lower, other.upper - share_2)
    above = math.hypot(one.upper - share_1, share_2 - other.lower)
    return Interval(share_1 - share_2 - below, share_1 - share_2 + above, confidence)


def median_interval(cells: Sequence[Bounds], confidence: float = CONFIDENCE) -> Interval | None:
    """Distribution-free interval for a population's median from order statistics; None for too few values.

    The i-th value lies within the i-th cell, which may be open. The r-th smallest lower end and r-th largest
    upper end enclose those order statistics of the values, so censoring, for whatever reason, costs no
    coverage. `scipy.stats` has none for interval-censored values. Below six values there is none at 95 %.
    """
    n, rank, enclosed = len(cells), 0, 1.0
    while rank < n // 2 and (more := enclosed - math.comb(n, rank) / 2 ** (n - 1)) >= confidence:
        rank, enclosed = rank + 1, more
    if not rank:
        return None
    lowers, uppers = sorted(cell.lower for cell in cells), sorted(cell.upper for cell in cells)
    return Interval(lowers[rank - 1], uppers[-rank], enclosed)


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


def sign_flip_p(values: Sequence[float]) -> float | None:
    """Two-sided p of paired differences with mean 0: the share of sign patterns with as large a mean.

    All patterns up to 14 values, above that the same random ones every time. None below two values.
    """
    import numpy as np
    from scipy import stats

    if len(values) < 2:
        return None
    test = stats.permutation_test(
        (np.asarray(values),), np.mean, permutation_type="samples", n_resamples=2**14, vectorized=True,
        random_state=np.random.default_rng(0),
    )  # fmt: skip
    return round(float(test.pvalue), 10)


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
def _wilson(successes: int, n: int, confidence: float) -> Interval:
    from scipy import stats

    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}: must be a count from 0 to {n}")
    if not n:
        return Interval(0.0, 1.0, confidence)
    found = stats.binomtest(successes, n).proportion_ci(confidence, "wilson")
    return Interval(float(found.low), float(found.high), confidence)


_TOLERANCE, _MOST_STEPS = 1e-10, 10_000

Span = tuple[float, float]


def remaining(cells: Sequence[Bounds], levels: Sequence[float], rising: bool) -> dict[str, Any]:
    """The share of seeds that stayed beyond each of `levels`, from the cells of their thresholds.

    `{"method", "n", "steps"}`; each step, in the order swept, has the `level`, the numbers of seeds that
    `stayed`, `left` and are `undecided` there, and the `share` with its `lower` and `upper`.

    The share is the plain one where every seed is decided; Kaplan and Meier's where some sweeps were cut
    short, which assumes that they were so for unrelated reasons; Turnbull's where grids differ. Where a run
    of evaluations had begun as a sweep ended, that is not so, and the share at the last level is rather too
    high. The intervals (Clopper–Pearson, over all outcomes of the undecided) assume nothing.
    """
    sign = 1.0 if rising else -1.0
    # Turned so that every sweep rises: (low, high] holds the threshold.
    spans: list[Span] = [
        (min(sign * c.lower, sign * c.upper), max(sign * c.lower, sign * c.upper)) for c in cells
    ]
    reached = [
        x
        for x in sorted({sign * level for level in levels})
        if any(low >= x or high <= x for low, high in spans)
    ]
    undecided_at = [span for span in spans for x in reached if span[0] < x < span[1]]
    if not undecided_at:
        method, shares = "binomial", [sum(low >= x for low, _ in spans) / len(spans) for x in reached]
    elif all(math.isinf(high) for _, high in undecided_at):
        method, shares = "Kaplan–Meier", _kaplan_meier(spans, reached)
    else:
        method, shares = "Turnbull", _turnbull(spans, reached)
    steps = []
    for x, share in zip(reached, shares, strict=True):
        stayed, left = sum(low >= x for low, _ in spans), sum(high <= x for _, high in spans)
        undecided = len(spans) - stayed - left
        interval = clopper_pearson_undecided(stayed, undecided, len(spans))
        counts = {"level": sign * x, "stayed": stayed, "left": left, "undecided": undecided}
        ends = {"lower": round(interval.lower, 10), "upper": round(interval.upper, 10)}
        steps.append({**counts, "share": round(share, 10), **ends})
    return {"method": method, "n": len(spans), "steps": steps}


def _kaplan_meier(spans: Sequence[Span], levels: Sequence[float]) -> list[float]:
    from scipy import stats

    times = [low if math.isinf(high) else high for low, high in spans]
    sample = stats.CensoredData.right_censored(times, [math.isinf(high) for _, high in spans])
    return [float(share) for share in stats.ecdf(sample).sf.evaluate(levels)]


def _turnbull(spans: Sequence[Span], levels: Sequence[float]) -> list[float]:
    """The self-consistent estimate of Turnbull (J. R. Stat. Soc. B 38, 1976, 290), in closed grid cells.

    `scipy.stats` has none for intervals. Where the mass lies within a cell is undetermined; a level counts
    mass as gone once its cell's upper end is reached.
    """
    import numpy as np

    ends = sorted({end for span in spans for end in span if math.isfinite(end)} | set(levels))
    tops, bottoms = np.array([*ends, math.inf]), np.array([-math.inf, *ends])
    holds = np.array([(bottoms >= low) & (tops <= high) for low, high in spans], dtype=float)
    mass = np.full(len(tops), 1 / len(tops))
    for _ in range(_MOST_STEPS):
        shared = holds * mass
        new = (shared / shared.sum(axis=1, keepdims=True)).mean(axis=0)
        change, mass = np.abs(new - mass).max(), new
        if change < _TOLERANCE:
            break
    return [float(mass[tops > x].sum()) for x in levels]
