"""Sweeps as curves of error against λ: over seeds, whether a network moved and settled, and loops."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median, pstdev
from typing import Any

import numpy as np

from dglib.analysis.fields import (
    Entry,
    Record,
    entries,
    is_constant,
    is_finite,
    is_running,
    level_of,
    mean_by_level,
    number,
    starts_trapped,
)
from dglib.analysis.intervals import UNKNOWN, Bounds, centre, rounded
from dglib.analysis.thresholds import DOWN, UP, Detection, cell, detect, rule_of, threshold

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


# ── loops ──


def return_event(record: Record) -> Detection:
    """Where the return sweep meets its recovery, recomputed from its evaluations."""
    return detect(entries(record, "return_trajectory"), rule_of(DOWN, record))


def retraced(record: Record) -> Bounds | None:
    """Bounds of the width that the rising sweep would have were its path retraced exactly, without memory.

    λ↑ is read at a higher error than λ↓, so it is not 0. At its own λ the init's last error counts for as
    many evaluations as make an event. None without a collapse.
    """
    up, rule = threshold(UP, record), rule_of(DOWN, record)
    sweep, init = (entries(record, "trajectory", phase) for phase in ("sweep", "init"))
    if up.level is None or up.bounds is None or not sweep:
        return None
    down = cell(detect([*sweep[::-1], *init[-1:] * rule.consecutive], rule), up.last, rising=False)
    return None if down is None else up.bounds - down


def return_bounds(record: Record, fired: float) -> Bounds | None:
    """Bounds of λ↓ on the return from a sweep that ended at `fired`; None where it was not measured."""
    sweep, event = entries(record, "return_trajectory"), return_event(record)
    if event.first is None and not all(is_finite(entry) for entry in sweep):
        return None
    stated = "return_lambda_down" in record and level_of(record, "return_lambda_down") is None
    return cell(event, fired, rising=False, finished=stated and not is_running(record))


def loop(record: Record) -> dict[str, Any] | None:
    """One seed's return: λ↑, the return's λ↓, the width with its bounds; None without a return sweep.

    outcome: "closed" (recovered), "open" (not down to the last level), or "diverged" on the return.
    `lambda_down`: the first level of the run of evaluations that fires; `below`: of an open loop, the level
    that λ↓ lies below for certain; `return_lower`, `return_upper`: the cell of λ↓; `width`: the centre of its
    cell, `lower` to `upper`. `memory`, `area`: see `mean_difference` and `area_of`.
    """
    up = threshold(UP, record)
    sweep = entries(record, "return_trajectory")
    if up.level is None or up.fired is None or up.bounds is None or not sweep:
        return None
    event = return_event(record)
    down, back = event.first, return_bounds(record, up.last or up.fired)
    apart = differences_at(entries(record, "trajectory", "sweep"), sweep)
    return {
        "seed": up.seed,
        "outcome": "diverged" if back is None else "open" if down is None else "closed",
        "lambda_up": up.level,
        "lambda_down": down,
        "last": event.visited[-1],
        "below": None if back is None or down is not None else back.upper,
        "return_lower": back and back.as_dict()["lower"],
        "return_upper": back and back.as_dict()["upper"],
        "width": centre(up.bounds - back) if back else None,
        "trapped": starts_trapped(sweep, fired=down is not None),
        "memory": mean_difference(apart),
        "area": area_of(apart),
        **(up.bounds - back if back else UNKNOWN).as_dict(),
    }


def differences_at(up: Iterable[Entry], back: Iterable[Entry]) -> dict[float, float]:
    """λ -> mean error on the return less that of the rising sweep, ascending, where both were held.

    λ↑ and λ↓ are crossings of two thresholds, so a path retraced exactly has a width; this would be 0.
    """
    rising, falling = mean_by_level(up), mean_by_level(back)
    return {lam: falling[lam] - rising[lam] for lam in sorted(rising.keys() & falling.keys())}


def mean_difference(differences: Mapping[float, float]) -> float | None:
    """The mean over the levels of `differences_at`; None without any."""
    return rounded(fmean(differences.values())) if differences else None


def area_of(differences: Mapping[float, float]) -> float | None:
    """The integral of `differences_at` over λ by trapezoids; None of fewer than two levels."""
    if len(differences) < 2:
        return None
    return rounded(float(np.trapezoid(list(differences.values()), list(differences))))
