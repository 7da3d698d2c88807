"""Confidence intervals and permutation tests for few seeds.

The intervals' coverage was simulated (tests/results/interval_coverage.md). `scipy.stats` is imported where it
is used: it takes a second.

Permutation tests of several numbers: under the null hypothesis two groups' labels are exchangeable, so every
assignment of them is as likely as the one that was seen. All are enumerated, and a test's p is corrected by
the maximum over the family (Westfall and Young, Resampling-Based Multiple Testing, 1993): no assumption on
how the tests depend. `scipy.stats` has neither the correction nor groups of one seed.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def rounded(value: float) -> float:
    """Without the tail that binary floats leave on differences of levels (0.70 - 0.38)."""
    return round(value, 10)


def finite(value: float) -> float | None:
    """As `rounded`; None where it is not finite."""
    return rounded(float(value)) if math.isfinite(value) else None


@dataclass(frozen=True)
class Bounds:
    """A quantity known, or at 95 % estimated, to lie between two values; ±inf where a side is open."""

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
        return cls.between(plain["lower"], plain["upper"])

    @classmethod
    def between(cls, lower: float | None, upper: float | None) -> "Bounds":
        """From two values, None where open."""
        return cls(-math.inf if lower is None else lower, math.inf if upper is None else upper)

    @property
    def pair(self) -> tuple[float | None, float | None]:
        """Both values, None where open."""
        return finite(self.lower), finite(self.upper)

    def as_dict(self) -> dict[str, float | None]:
        """`{"lower", "upper"}`, null where open: JSON has no infinity."""
        return {"lower": finite(self.lower), "upper": finite(self.upper)}


UNKNOWN = Bounds(-math.inf, math.inf)


def centre(cell: Bounds | None) -> float | None:
    """The middle of a closed cell; None of an open one."""
    return rounded((cell.lower + cell.upper) / 2) if cell and cell.is_closed else None


def clopper_pearson(successes: int, n: int) -> Bounds:
    """The exact binomial interval for a share, 0 to 1; of no trials, [0, 1]."""
    from scipy.special import betaincinv  # scipy.stats takes four times as long to import

    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}: must be a count from 0 to {n}")
    tail = (1 - CONFIDENCE) / 2
    lower = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    upper = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return Bounds(lower, upper)


def clopper_pearson_undecided(successes: int, undecided: int, n: int) -> Bounds:
    """A share's exact interval when some of n trials are undecided: it holds whatever their outcome.

    The lower end counts all `undecided` as failures, the upper as successes.
    """
    least, most = (clopper_pearson(count, n) for count in (successes, successes + undecided))
    return Bounds(least.lower, most.upper)


def t_interval(values: Sequence[float]) -> Bounds | None:
    """Student's interval for the mean of `values`, of paired differences for instance; None below two.

    Exact for normal values; with few and skewed ones its coverage is less than nominal (see the table).
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        return None
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Bounds(fmean(values) - half, fmean(values) + half)


def sign_flip_p(values: Sequence[float]) -> float | None:
    """Two-sided p of paired differences with mean 0: the share of sign patterns with as large a mean.

    All patterns up to 14 values, above that the same random ones every time. None below two values.
    """
    from scipy import stats

    if len(values) < 2:
        return None
    test = stats.permutation_test(
        (np.asarray(values),), np.mean, permutation_type="samples", n_resamples=2**14, vectorized=True,
        random_state=np.random.default_rng(0),
    )  # fmt: skip
    return round(float(test.pvalue), 10)


def welch(a: Sequence[float], b: Sequence[float]) -> Bounds | None:
    """Welch's t interval for the difference of means; None of fewer than two values, or of no spread."""
    from scipy import stats

    if min(len(a), len(b)) < 2 or stdev(a) == stdev(b) == 0:
        return None
    with warnings.catch_warnings():  # of nearly equal values, as of a gap that does not vary
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
    return Bounds(float(interval.low), float(interval.high))


# ── two groups ──

LEVEL = 0.05
MOST_LABELLINGS = 200_000
_DRAWN = 100_000
_KEY = 20_260_118  # of the labellings drawn where there are too many: the same ones every time
_TIE = 1e-9  # sums in another order differ by rounding: a tie counts as one

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """Two-sided p of each test alone and corrected for the family, by enumeration or, of many, by drawing.

    Attributes:
        p, corrected: in the order of the tests.
        labellings: how many were counted, the observed one among them.
        enumerated: whether these were all there are.
    """

    p: tuple[float, ...]
    corrected: tuple[float, ...]
    labellings: int
    enumerated: bool


def auc(first: Sequence[float], second: Sequence[float]) -> float:
    """The share of pairs in which the first group's value is the larger, ties as halves: 0 to 1.

    Raises ValueError for an empty group.
    """
    from scipy import stats

    if not first or not second:
        raise ValueError("each group must hold at least one value")
    wins = stats.mannwhitneyu(first, second, method="asymptotic").statistic
    return float(wins) / (len(first) * len(second))


def auc_interval(area: float, n_first: int, n_second: int) -> Bounds:
    """An interval for the area that `auc` gave; never [1, 1], since it is wide where groups are small.

    Newcombe, Statistics in Medicine 25 (2006) 559, method 5: the areas that differ from the one seen by at
    most z standard errors, the error taken at the area in question (Hanley and McNeil's, with both groups'
    sizes averaged), not at the one seen, where it vanishes at 0 and 1. Asymptotic: its coverage at small
    groups is simulated in the tests.
    """
    from scipy import optimize, stats

    z, mean = stats.norm.ppf((1 + CONFIDENCE) / 2), (n_first + n_second) / 2

    def beyond(candidate: float) -> float:
        shape = 2 * mean - 1 - 3 * (mean - 1) / ((2 - candidate) * (1 + candidate))
        variance = candidate * (1 - candidate) * shape / (n_first * n_second)
        return float(abs(candidate - area) - z * math.sqrt(variance))

    inside = min(max(area, 1e-12), 1 - 1e-12)
    limits = [
        end if abs(area - end) < 1e-12 else float(optimize.brentq(beyond, inside, end, xtol=1e-14))
        for end in (0.0, 1.0)
    ]
    return Bounds(limits[0], limits[1])


def permutation_test(values: Matrix, first: NDArray[np.bool_]) -> Family:
    """Test whether the `first` seeds' means differ from the others', in each column of `values`.

    The statistic is the difference of means over the column's standard deviation over all seeds, which is
    monotone in Student's pooled t and comparable between columns. Two-sided p: twice the smaller one-sided.

    Args:
        values: (seeds, tests), finite.
        first: (seeds,), true for the first group; both groups hold at least one seed.
    """
    if not first.any() or first.all():
        raise ValueError("each group must hold at least one seed")
    observed, permuted = _statistics(values, first[None])[0], _statistics(values, _labellings(first))
    above, below = ((permuted >= observed - _TIE).sum(axis=0), (permuted <= observed + _TIE).sum(axis=0))
    total = len(permuted)
    above_any = (permuted.max(axis=1)[:, None] >= observed - _TIE).sum(axis=0)
    below_any = (permuted.min(axis=1)[:, None] <= observed + _TIE).sum(axis=0)
    alone = np.minimum(1.0, 2 * np.minimum(above, below) / total)
    corrected = np.minimum(1.0, 2 * np.minimum(above_any, below_any) / total)
    every = math.comb(len(first), int(first.sum()))
    return Family(tuple(alone.tolist()), tuple(corrected.tolist()), total, every <= MOST_LABELLINGS)


def smallest_p(first: int, second: int) -> float:
    """The least two-sided p that groups of these sizes can reach: three of ten seeds, 2/120 = 0.017."""
    return min(1.0, 2 / math.comb(first + second, first))


def _statistics(values: Matrix, labels: NDArray[np.bool_]) -> Matrix:
    """(labellings, tests): the standardised difference of means; 0 in a column that does not vary."""
    spread = values.std(axis=0)
    varies = spread > 1e-12 * np.abs(values).max(axis=0, initial=1e-300)
    scaled = np.where(varies, (values - values.mean(axis=0)) / np.where(varies, spread, 1.0), 0.0)
    size = int(labels[0].sum())
    sums = labels.astype(np.float64) @ scaled  # the columns sum to 0, so the others' sum is the negative
    difference: Matrix = sums / size + sums / (labels.shape[1] - size)
    return difference


def _labellings(first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(labellings, seeds): all of them; where they are too many the observed one and random ones."""
    n, size = len(first), int(first.sum())
    if math.comb(n, size) > MOST_LABELLINGS:
        drawn = np.random.default_rng(_KEY).permuted(np.tile(first, (_DRAWN - 1, 1)), axis=1)
        return np.concatenate([first[None], drawn])
    labels = np.zeros((math.comb(n, size), n), dtype=np.bool_)
    np.put_along_axis(labels, np.array(list(combinations(range(n), size))), True, axis=1)
    return labels
