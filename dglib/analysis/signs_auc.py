"""How well one number tells two groups of seeds apart: the area under the ROC curve, with an interval."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from dglib.analysis.intervals import CONFIDENCE, Interval

_HALVINGS = 60


def auc(first: Sequence[float], second: Sequence[float]) -> float:
    """The share of pairs in which the first group's value is the larger, ties as halves: 0 to 1.

    Raises ValueError for an empty group.
    """
    if not first or not second:
        raise ValueError("each group must hold at least one value")
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    return wins / (len(first) * len(second))


def auc_interval(area: float, n_first: int, n_second: int, confidence: float = CONFIDENCE) -> Interval:
    """An interval for the area that `auc` gave; never [1, 1], since it is wide where groups are small.

    Newcombe, Statistics in Medicine 25 (2006) 559, method 5: the areas that differ from the one seen by at
    most z standard errors, the error taken at the area in question (Hanley and McNeil's, with both groups'
    sizes averaged), not at the one seen, where it vanishes at 0 and 1. Asymptotic: its coverage at small
    groups is simulated in the tests.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)

    def within(candidate: float) -> bool:
        return abs(candidate - area) <= z * math.sqrt(_variance(candidate, n_first, n_second))

    return Interval(_end(area, 0.0, within), _end(area, 1.0, within), confidence)


def _variance(area: float, m: int, n: int) -> float:
    mean = (m + n) / 2
    shape = 2 * mean - 1 - 3 * (mean - 1) / ((2 - area) * (1 + area))
    return area * (1 - area) * shape / (m * n)


def _end(inside: float, outside: float, within: Callable[[float], bool]) -> float:
    """The end of the interval between an area in it and the end of the scale, by halving."""
    if abs(inside - outside) < 1e-12:
        return outside
    # The scale's own end is in the interval only where the area seen is that end.
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if within(middle) else (inside, middle)
    return inside
