"""Hysteresis within one seed: the way back down from its collapse, where it was made."""

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

import numpy as np

from dglib.analysis.bounds import UNKNOWN, Bounds, median_bounds, spread
from dglib.analysis.detection import Detection, Rule, cell, detect
from dglib.analysis.fields import (
    Entry,
    Record,
    Records,
    entries,
    is_finite,
    level_of,
    mean_by_level,
    parameter,
    rounded,
)
from dglib.analysis.intervals import as_json, median_interval
from dglib.analysis.states import is_running, starts_trapped
from dglib.analysis.thresholds import DOWN, UP, rule_of, threshold


def return_event(record: Record, rule: Rule | None = None) -> Detection:
    """Where the way back meets its recovery, recomputed from its evaluations."""
    return detect(entries(record, "return_trajectory"), rule or rule_of(DOWN, record))


def return_bounds(record: Record, fired: float) -> Bounds | None:
    """Bounds of λ↓ on the way back from a sweep that ended at `fired`; None where it was not measured."""
    way_back, found = entries(record, "return_trajectory"), return_event(record)
    if found.first is None and not all(is_finite(entry) for entry in way_back):
        return None
    told = "return_lambda_down" in record and level_of(record, "return_lambda_down") is None
    return cell(found, fired, rising=False, finished=told and not is_running(record))


def loop(record: Record) -> dict[str, Any] | None:
    """One seed's way back down: λ↑, the return's λ↓, the width with its bounds; None without a return sweep.

    outcome: "closed" (recovered), "open" (not down to the last level), or "diverged" on the way back.
    `lambda_down`: the first level of the run of evaluations that fires; `below`: of an open loop, the level
    that λ↓ lies below for certain.
    """
    up = threshold(UP, record)
    way_back = entries(record, "return_trajectory")
    if up.level is None or up.fired is None or up.bounds is None or not way_back:
        return None
    found = return_event(record)
    down, back = found.first, return_bounds(record, up.fired)
    width = up.bounds - back if back else UNKNOWN
    return {
        "seed": up.seed,
        "outcome": "diverged" if back is None else "open" if down is None else "closed",
        "lambda_up": up.level,
        "lambda_down": down,
        "last": found.visited[-1],
        "below": None if back is None or down is not None else back.upper,
        "width": None if down is None else rounded(up.level - down),
        "trapped": starts_trapped(way_back, fired=down is not None),
        "memory": memory(record),
        "area": area(record),
        **width.as_dict(),
    }


def memory(record: Record) -> float | None:
    """How much higher the error was on the way back than on the way up, at the same λ; see `mean_difference`.

    λ↑ and λ↓ are crossings of two different thresholds, so a path retraced exactly would have a width all the
    same; this would be 0.
    """
    return mean_difference(_differences(record))


def area(record: Record) -> float | None:
    """The loop's area, error times λ; see `area_of`."""
    return area_of(_differences(record))


def mean_difference(differences: Mapping[float, float]) -> float | None:
    """The mean over the levels of `differences_at`; None without any."""
    return rounded(fmean(differences.values())) if differences else None


def area_of(differences: Mapping[float, float]) -> float | None:
    """The integral of `differences_at` over λ by trapezoids; None of fewer than two levels."""
    if len(differences) < 2:
        return None
    return rounded(float(np.trapezoid(list(differences.values()), list(differences))))


def differences_at(up: Iterable[Entry], back: Iterable[Entry]) -> dict[float, float]:
    """λ -> mean error on the way back less that on the way up, ascending, where both were held."""
    rising, falling = mean_by_level(up), mean_by_level(back)
    return {lam: falling[lam] - rising[lam] for lam in sorted(rising.keys() & falling.keys())}


def summarise_loops(records: Records) -> dict[str, Any] | None:
    """The loops of all seeds that collapsed and were swept back; None where no return sweep was made."""
    loops = [found for record in records if (found := loop(record)) is not None]
    if not loops:
        return None
    outcomes = Counter(each["outcome"] for each in loops)
    closed = [each for each in loops if each["outcome"] == "closed"]
    return {
        "n": len(loops),
        "outcomes": {kind: outcomes[kind] for kind in ("closed", "open", "diverged")},
        "trapped": sum(each["trapped"] for each in loops),
        "lambda_down": spread([each["lambda_down"] for each in closed]),
        "width": spread([each["width"] for each in closed]),
        **_median(loops),
        "thresholds": [
            parameter(records, "collapse_error", 0.40),
            parameter(records, "recovery_error", 0.20),
        ],
        "memory": spread([each["memory"] for each in loops if each["memory"] is not None]),
        "area": spread([each["area"] for each in loops if each["area"] is not None]),
        "seeds": loops,
    }


def _median(loops: list[dict[str, Any]]) -> dict[str, Any]:
    """Bounds of the median width over all loops, open ones too, and its interval from six loops on."""
    bounds = [Bounds.of(each) for each in loops if each["outcome"] != "diverged"]
    interval = median_interval([b.lower for b in bounds], [b.upper for b in bounds])
    return {"median": median_bounds(bounds).as_dict(), "interval": as_json(interval)}


def _differences(record: Record) -> dict[float, float]:
    return differences_at(entries(record, "trajectory", "sweep"), entries(record, "return_trajectory"))
