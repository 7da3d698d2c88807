"""Hysteresis within one network: the return sweep after its collapse, and the error at the same λ."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from statistics import fmean
from typing import Any

from dglib.analysis.bounds import UNKNOWN, Bounds
from dglib.analysis.fields import (
    Entry,
    Record,
    entries,
    is_finite,
    level_of,
    mean_by_level,
    rounded,
)
from dglib.analysis.states import is_running, starts_trapped
from dglib.analysis.thresholds import DOWN, UP, Detection, cell, detect, rule_of, threshold


def return_event(record: Record) -> Detection:
    """Where the return sweep meets its recovery, recomputed from its evaluations."""
    return detect(entries(record, "return_trajectory"), rule_of(DOWN, record))


def return_bounds(record: Record, fired: float) -> Bounds | None:
    """Bounds of λ↓ on the return from a sweep that ended at `fired`; None where it was not measured."""
    sweep, found = entries(record, "return_trajectory"), return_event(record)
    if found.first is None and not all(is_finite(entry) for entry in sweep):
        return None
    stated = "return_lambda_down" in record and level_of(record, "return_lambda_down") is None
    return cell(found, fired, rising=False, finished=stated and not is_running(record))


def loop(record: Record) -> dict[str, Any] | None:
    """One seed's return: λ↑, the return's λ↓, the width with its bounds; None without a return sweep.

    outcome: "closed" (recovered), "open" (not down to the last level), or "diverged" on the return.
    `lambda_down`: the first level of the run of evaluations that fires; `below`: of an open loop, the level
    that λ↓ lies below for certain; `return_lower`, `return_upper`: the cell of λ↓. `memory`, `area`: see
    `mean_difference` and `area_of`.
    """
    up = threshold(UP, record)
    sweep = entries(record, "return_trajectory")
    if up.level is None or up.fired is None or up.bounds is None or not sweep:
        return None
    found = return_event(record)
    down, back = found.first, return_bounds(record, up.fired)
    apart = differences_at(entries(record, "trajectory", "sweep"), sweep)
    return {
        "seed": up.seed,
        "outcome": "diverged" if back is None else "open" if down is None else "closed",
        "lambda_up": up.level,
        "lambda_down": down,
        "last": found.visited[-1],
        "below": None if back is None or down is not None else back.upper,
        "return_lower": back and back.as_dict()["lower"],
        "return_upper": back and back.as_dict()["upper"],
        "width": None if down is None else rounded(up.level - down),
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
    steps = pairwise(differences.items())
    return rounded(sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in steps))
