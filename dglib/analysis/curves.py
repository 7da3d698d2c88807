"""Sweeps as curves of error against λ: over seeds, and whether a network moved and settled on its way."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median, pstdev

from dglib.analysis.fields import (
    Entry,
    Record,
    is_constant,
    is_finite,
    level_of,
    mean_by_level,
    number,
    rounded,
)

FROZEN_LR, FROZEN_ERRORS = 0.1 + 1e-9, 2.0
"""A branch is frozen if its error stays within so many binomial standard errors of the test set at an LR of
at most this share of the starting one: it may show where it began because nothing moves at all."""


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


def mean_curve(curves: Sequence[Mapping[float, float]]) -> tuple[list[float], list[float], list[float]]:
    """Of x -> y by seed: ascending x, the mean over the seeds there and its std (ddof 0)."""
    xs = sorted({x for curve in curves for x in curve})
    columns = [[curve[x] for curve in curves if x in curve] for x in xs]
    return xs, [fmean(column) for column in columns], [pstdev(column) for column in columns]


def _at(curve: Curve, level: float, beyond: float) -> float | None:
    if level in curve.errors:
        return curve.errors[level]
    last = next(reversed(curve.errors))
    passed = level > last if beyond > 0 else level < last
    return beyond if curve.fired and passed else None


def is_frozen(record: Record, sweep: Sequence[Entry]) -> bool:
    """Whether the error stays within the noise of the test set all through a sweep at a small LR.

    Where the record does not have the number of images, only if the error stays exactly the same; where it
    does not have the starting LR, only at 0. Never where it has no LR of the sweep, as published ones.
    """
    finite = [entry for entry in sweep if is_finite(entry)]
    start, constant = number(record, "lr") or 0.0, number(record, "sweep_lr")
    rates = [constant if (rate := number(entry, "lr")) is None else rate for entry in finite]
    if len(finite) < 2 or any(rate is None or rate > FROZEN_LR * start for rate in rates):
        return False
    errors = [float(entry["error"]) for entry in finite]
    images = sum(finite[-1].get("predicted") or ()) or number(record, "test_size")
    if max(errors) == min(errors) or not images:
        return max(errors) == min(errors)
    error = fmean(errors)
    return max(errors) - min(errors) < FROZEN_ERRORS * math.sqrt(error * (1 - error) / images)


def drift(sweep: Sequence[Entry]) -> float | None:
    """How far the error moves within a level: its mean in the later half less that in the earlier half.

    The mean over the levels with at least four evaluations; None without one. 0 where every level has
    settled, -1 to 1. Levels at which one class was predicted throughout are left out: a trapped network does
    not move, however long it waits.
    """
    moved = []
    for _, members in groupby((entry for entry in sweep if is_finite(entry)), key=level_of):
        level = list(members)
        errors = [] if all(map(is_constant, level)) else [float(entry["error"]) for entry in level]
        half = len(errors) // 2
        if half >= 2:
            moved.append(fmean(errors[-half:]) - fmean(errors[:half]))
    return rounded(fmean(moved)) if moved else None
