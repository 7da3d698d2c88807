"""Quantities on two sides, and their differences with intervals.

The sides count as independent, also where they share seeds: then the intervals are, if anything, too wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import Any

from scipy import special

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.fields import Records, number
from dglib.analysis.intervals import CONFIDENCE, Interval, median_interval, newcombe_difference

Summary = Mapping[str, Any]
# A median's interval on either side at this level: their difference then has 95 % by Bonferroni's inequality.
_EACH_SIDE = 1 - (1 - CONFIDENCE) / 2
_SEEDS_FOR_MEDIANS = 7


@dataclass(frozen=True)
class Row:
    """One quantity: its value on both sides and the difference A − B with its interval, in words."""

    name: str
    a: str
    b: str
    difference: str


def share_row(name: str, a: tuple[int, int], b: tuple[int, int]) -> Row:
    """Of two counts (k, n): shares, and Newcombe's interval for their difference."""
    one, other = (f"{k} of {n}" for k, n in (a, b))
    if not a[1] or not b[1]:
        return Row(name, one, other, "no difference: a side without seeds")
    found = newcombe_difference(*a, *b)
    return Row(name, one, other, _with(a[0] / a[1] - b[0] / b[1], found, 2))


def mean_row(name: str, a: Sequence[float], b: Sequence[float], places: int = 3) -> Row:
    """Of a value per seed: means with deviations (ddof 1), and Welch's interval for their difference."""
    one, other = (_mean(values, places) for values in (a, b))
    if not a or not b:
        return Row(name, one, other, "no difference: a side without values")
    return Row(name, one, other, _with(fmean(a) - fmean(b), welch(a, b), places))


def median_row(name: str, a: Sequence[Bounds], b: Sequence[Bounds]) -> Row:
    """Of a cell per seed, open where the sweep ended first: what is known of the medians and the difference.

    The difference's interval joins the two medians' (distribution-free, so censoring costs no coverage).
    """
    medians = [median_bounds(cells) for cells in (a, b)]
    one, other = (_bounds(median) if cells else "–" for median, cells in zip(medians, (a, b), strict=True))
    if not a or not b:
        return Row(name, one, other, "no difference: a side without values")
    low, high = (
        median_interval([c.lower for c in cells], [c.upper for c in cells], _EACH_SIDE) for cells in (a, b)
    )
    words = _bounds(medians[0] - medians[1])
    if low is None or high is None:
        return Row(name, one, other, f"{words} (no 95 % interval below {_SEEDS_FOR_MEDIANS} seeds a side)")
    joined = Bounds(low.lower - high.upper, low.upper - high.lower)
    return Row(name, one, other, f"{words} (95 % interval {_bounds(joined)})")


def welch(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Welch's t interval for the difference of means; None of fewer than two values, or of no spread at all.

    Source: Welch, Biometrika 34 (1947) 28.
    """
    if min(len(a), len(b)) < 2 or stdev(a) == stdev(b) == 0:
        return None
    parts = [variance(values) / len(values) for values in (a, b)]
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True)
    )
    half = float(special.stdtrit(degrees, (1 + confidence) / 2)) * math.sqrt(sum(parts))
    difference = fmean(a) - fmean(b)
    return Interval(difference - half, difference + half, confidence)


def ended(summary: Summary) -> int:
    """How many seeds came to an end."""
    return int(summary["n"] - summary["outcomes"]["unfinished"])


def cells(summary: Summary) -> list[Bounds]:
    """Of the seeds of whose threshold something is known."""
    known = [s for s in summary["seeds"] if s["lower"] is not None or s["upper"] is not None]
    return [Bounds.of(seed) for seed in known]


def of_seeds(summary: Summary, field: str) -> list[float]:
    """A field of the seeds that have it."""
    return [seed[field] for seed in summary["seeds"] if seed[field] is not None]


def values(records: Records, field: str) -> list[float]:
    """A field of the records that have it."""
    return [value for record in records if (value := number(record, field)) is not None]


def time_row(a: Records, b: Records) -> Row:
    """The time that a seed took."""
    return mean_row("training time a seed (s)", values(a, "time"), values(b, "time"), 1)


def _mean(values: Sequence[float], places: int) -> str:
    if not values:
        return "–"
    mean = wording.decimal(fmean(values), places)
    return mean if len(values) == 1 else f"{mean} ± {wording.decimal(stdev(values), places)} ({len(values)})"


def _with(difference: float, interval: Interval | None, places: int) -> str:
    words = wording.decimal(difference, places)
    if interval is None:
        return f"{words} (no interval: one seed, or no spread)"
    ends = (wording.decimal(end, places) for end in (interval.lower, interval.upper))
    return f"{words} (95 % interval {' to '.join(ends)})"


def _bounds(bounds: Bounds) -> str:
    ends = [None if math.isinf(end) else round(end, 6) for end in (bounds.lower, bounds.upper)]
    return wording.interval(*ends)
