"""Error against λ, over seeds: medians and means that the stopping of single seeds does not bend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev

from dglib.analysis.fields import Entry, mean_by_level


@dataclass(frozen=True)
class Curve:
    """One seed's error at each λ it visited, in the order visited; `fired`: an event ended it there."""

    errors: dict[float, float]
    fired: bool = False

    @classmethod
    def of(cls, sweep: Sequence[Entry], fired: bool = False) -> "Curve":
        """From evaluations, their mean at each level: single ones scatter while the LR is high."""
        return cls(mean_by_level(sweep), fired)


def median_curve(curves: Sequence[Curve], rising: bool) -> tuple[list[float], list[float]]:
    """Levels in the order swept and the median error over seeds at each.

    A seed that fired is gone from the levels beyond, and leaving it out would bend the median towards those
    that did not fire. It is beyond them in error, so it counts as infinitely high (rising) or low (falling);
    levels where the median itself is such a seed, or where half of the seeds were not, are left out.
    """
    swept = [curve for curve in curves if curve.errors]
    beyond = math.inf if rising else -math.inf
    xs: list[float] = []
    ys: list[float] = []
    for level in sorted({level for curve in swept for level in curve.errors}, reverse=not rising):
        values = [value for curve in swept if (value := _at(curve, level, beyond)) is not None]
        if 2 * len(values) <= len(swept):
            continue
        middle = median(values)
        if math.isfinite(middle):
            xs.append(level)
            ys.append(middle)
    return xs, ys


def mean_curve(curves: Sequence[Curve]) -> tuple[list[float], list[float], list[float]]:
    """Ascending levels, the mean error over the seeds there and its std (ddof 0)."""
    levels = sorted({level for curve in curves for level in curve.errors})
    columns = [[curve.errors[level] for curve in curves if level in curve.errors] for level in levels]
    return levels, [fmean(column) for column in columns], [pstdev(column) for column in columns]


def _at(curve: Curve, level: float, beyond: float) -> float | None:
    if level in curve.errors:
        return curve.errors[level]
    last = next(reversed(curve.errors))
    passed = level > last if beyond > 0 else level < last
    return beyond if curve.fired and passed else None
