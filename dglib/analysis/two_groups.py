"""Two groups of seeds: how well a number separates them, and exact permutation tests of several numbers.

Under the null hypothesis the groups' labels are exchangeable, so every assignment of them is as likely as the
one that was seen. All are enumerated, and a test's p is corrected by the maximum over the family (Westfall
and Young, Resampling-Based Multiple Testing, 1993): no assumption on how the tests depend. `scipy.stats` has
neither the correction nor groups of one seed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from dglib.analysis.intervals import CONFIDENCE, Interval

LEVEL = 0.05
MOST_LABELLINGS = 200_000
_DRAWN = 100_000
_KEY = 20_260_118  # of the labellings drawn where there are too many: the same ones every time
_CHUNK = 8_192
_TIE = 1e-9  # sums in another order differ by rounding: a tie counts as one

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """Two-sided p of each test alone and corrected for the family, by enumeration or, of many, by drawing.

    Attributes:
        p, corrected: in the order of the tests.
        smallest: the least p that these group sizes can give, however large the difference.
        labellings: how many were counted, the observed one among them.
        enumerated: whether these were all there are.
    """

    p: tuple[float, ...]
    corrected: tuple[float, ...]
    smallest: float
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


def auc_interval(area: float, n_first: int, n_second: int, confidence: float = CONFIDENCE) -> Interval:
    """An interval for the area that `auc` gave; never [1, 1], since it is wide where groups are small.

    Newcombe, Statistics in Medicine 25 (2006) 559, method 5: the areas that differ from the one seen by at
    most z standard errors, the error taken at the area in question (Hanley and McNeil's, with both groups'
    sizes averaged), not at the one seen, where it vanishes at 0 and 1. Asymptotic: its coverage at small
    groups is simulated in the tests.
    """
    from scipy import optimize, stats

    z, mean = stats.norm.ppf((1 + confidence) / 2), (n_first + n_second) / 2

    def beyond(candidate: float) -> float:
        shape = 2 * mean - 1 - 3 * (mean - 1) / ((2 - candidate) * (1 + candidate))
        variance = candidate * (1 - candidate) * shape / (n_first * n_second)
        return float(abs(candidate - area) - z * math.sqrt(variance))

    inside = min(max(area, 1e-12), 1 - 1e-12)
    ends = [
        end if abs(area - end) < 1e-12 else float(optimize.brentq(beyond, inside, end, xtol=1e-14))
        for end in (0.0, 1.0)
    ]
    return Interval(ends[0], ends[1], confidence)


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
    observed = _statistics(values, first[None])[0]
    above, below = np.zeros_like(observed), np.zeros_like(observed)
    largest, least = list[Matrix](), list[Matrix]()
    for labels in _labellings(first):
        found = _statistics(values, labels)
        above += np.count_nonzero(found >= observed - _TIE, axis=0)
        below += np.count_nonzero(found <= observed + _TIE, axis=0)
        largest.append(found.max(axis=1))
        least.append(found.min(axis=1))
    high, low = np.sort(np.concatenate(largest)), np.sort(np.concatenate(least))
    total = len(high)
    above_any = total - np.searchsorted(high, observed - _TIE, side="left")
    below_any = np.searchsorted(low, observed + _TIE, side="right")
    alone = np.minimum(1.0, 2 * np.minimum(above, below) / total)
    corrected = np.minimum(1.0, 2 * np.minimum(above_any, below_any) / total)
    every = math.comb(len(first), int(first.sum()))
    return Family(
        tuple(alone.tolist()), tuple(corrected.tolist()), min(1.0, 2 / total), total, every <= MOST_LABELLINGS
    )


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


def _labellings(first: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """All labellings in chunks of (some, seeds); where they are too many the observed and random ones."""
    n, size = len(first), int(first.sum())
    if math.comb(n, size) <= MOST_LABELLINGS:
        choices = combinations(range(n), size)
        while chosen := list(islice(choices, _CHUNK)):
            labels = np.zeros((len(chosen), n), dtype=np.bool_)
            np.put_along_axis(labels, np.array(chosen), True, axis=1)
            yield labels
        return
    yield first[None]
    generator = np.random.default_rng(_KEY)
    for start in range(0, _DRAWN - 1, _CHUNK):
        rows = min(_CHUNK, _DRAWN - 1 - start)
        yield generator.permuted(np.tile(first, (rows, 1)), axis=1)
