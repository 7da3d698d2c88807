"""Hysteresis widths: of one seed's loop (T1 with its return sweep) and between the sweeps of T1 and T2."""

from collections import Counter
from statistics import fmean
from typing import Any

from dglib.analysis.bounds import UNKNOWN, Bounds, censored_cell, event_cell, median_bounds, spread
from dglib.analysis.reading import (
    Record,
    Records,
    entries,
    is_finite,
    level_of,
    levels_of,
    mean_by_level,
    parameter,
    rounded,
)
from dglib.analysis.states import starts_trapped
from dglib.analysis.thresholds import DOWN, UP, Threshold, threshold


def return_bounds(record: Record, up: float) -> Bounds | None:
    """Bounds of λ↓ on the way back from the collapse at `up`; None where it was not measured."""
    way_back = entries(record, "return_trajectory")
    visited = levels_of(way_back)
    down = level_of(record, "return_lambda_down")
    if down is not None:
        return event_cell(down, visited, up, rising=False)
    if not visited or not all(is_finite(entry) for entry in way_back):
        return None
    return censored_cell(visited[-1], rising=False)


def loop(record: Record) -> dict[str, Any] | None:
    """One seed's way back down: λ↑, the return's λ↓, the width with its bounds; None without a return sweep.

    outcome: "closed" (recovered), "open" (not down to the last level), or "diverged" on the way back.
    """
    up = threshold(UP, record)
    way_back = entries(record, "return_trajectory")
    if up.level is None or up.bounds is None or not way_back:
        return None
    down = level_of(record, "return_lambda_down")
    back = return_bounds(record, up.level)
    width = up.bounds - back if back else UNKNOWN
    return {
        "seed": up.seed,
        "outcome": "diverged" if back is None else "open" if down is None else "closed",
        "lambda_up": up.level,
        "lambda_down": down,
        "last": levels_of(way_back)[-1],
        "width": None if down is None else rounded(up.level - down),
        "trapped": starts_trapped(way_back, fired=down is not None),
        "memory": memory(record),
        **width.as_dict(),
    }


def memory(record: Record) -> float | None:
    """How much higher the error was on the way back than on the way up, at the same λ; None without both.

    The mean over the levels held on both ways of the difference of their mean errors. λ↑ and λ↓ are crossings
    of two different thresholds, so a path retraced exactly would have a width all the same; this would be 0.
    """
    up = mean_by_level(entries(record, "trajectory", "sweep"))
    back = mean_by_level(entries(record, "return_trajectory"))
    shared = up.keys() & back.keys()
    return rounded(fmean(back[lam] - up[lam] for lam in shared)) if shared else None


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
        "thresholds": [
            parameter(records, "collapse_error", 0.40),
            parameter(records, "recovery_error", 0.20),
        ],
        "memory": spread([each["memory"] for each in loops if each["memory"] is not None]),
        "seeds": loops,
    }


def summarise_width(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """λ↑ - λ↓ between T1 and T2, by seed: bounds, which an absent event leaves open on one side.

    `lower` and `upper` bound the median over seeds; `trapped` counts seeds whose λ↓ is that of the trapped
    state; `mean_difference` (mean λ↑ less mean λ↓) is given only if every seed of both sweeps had its event.
    """
    ups = {each.seed: each for each in (threshold(UP, record) for record in t1_records)}
    downs = {each.seed: each for each in (threshold(DOWN, record) for record in t2_records)}
    pairs = [(up, downs[seed]) for seed, up in sorted(ups.items()) if seed in downs]
    seeds: list[dict[str, Any]] = []
    widths: list[Bounds] = []
    for up, down in pairs:
        if up.bounds and down.bounds:
            width = up.bounds - down.bounds
            widths.append(width)
            seeds.append({"seed": up.seed, "start": down.start, **width.as_dict()})
    return {
        "n": len(seeds),
        **median_bounds(widths).as_dict(),
        # The cells are open at these ends, so a lower bound of 0 is proof as well.
        "above_zero": sum(width.lower >= 0 for width in widths),
        "trapped": sum(each["start"] == "trapped" for each in seeds),
        "mean_difference": _mean_difference(list(ups.values()), list(downs.values())),
        "seeds": seeds,
        "left_out": sorted((ups.keys() | downs.keys()) - {each["seed"] for each in seeds}),
    }


def _mean_difference(ups: list[Threshold], downs: list[Threshold]) -> float | None:
    up, down = (spread([each.level for each in side if each.level is not None]) for side in (ups, downs))
    if not up or not down or up["n"] < len(ups) or down["n"] < len(downs):
        return None
    return rounded(up["mean"] - down["mean"])
