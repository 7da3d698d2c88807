"""The quantities of an experiment on two sides, and their differences with intervals.

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
from dglib.analysis.intervals import CONFIDENCE, Interval, median_interval, newcombe_difference
from dglib.analysis.reading import Records, number
from dglib.analysis.threshold_summary import STARTS, planned_levels
from dglib.analysis.thresholds import DIRECTIONS, Direction
from dglib.experiments import READING
from dglib.experiments.findings import summarise, width
from dglib.experiments.trapping.classes import by_epoch, last_early_epoch

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


def rows(experiment: str, a: Records, b: Records) -> list[Row]:
    """Every quantity of an experiment ("T1", "T2", "V3" or "Td1") on two sides, both read as A is."""
    make = {"T1": _spinodal, "T2": _spinodal, "V3": _branches, "Td1": _trapping}[experiment]
    b = _read_as(a, b)
    one, other = summarise(experiment, a), summarise(experiment, b)
    found = make(one, other)
    if experiment in DIRECTIONS:
        found.insert(0, _fired_row(DIRECTIONS[experiment], (a, one), (b, other)))
    if experiment == "Td1":
        last = last_early_epoch(a)
        found.append(mean_row(f"mean c_sv, epochs 0 to {last}", _early(a, last), _early(b, last)))
    return [*found, mean_row("training time a seed (s)", _values(a, "time"), _values(b, "time"), 1)]


def _read_as(a: Records, b: Records) -> Records:
    one = (a[0].get("parameters") if a else None) or {}
    reading = {name: value for name, value in one.items() if name in READING}
    others = [{k: v for k, v in (record.get("parameters") or {}).items() if k not in READING} for record in b]
    return [{**record, "parameters": own | reading} for record, own in zip(b, others, strict=True)]


def width_rows(a: tuple[Records, Records], b: tuple[Records, Records]) -> list[Row]:
    """The hysteresis width of two sides, each given as T1's and T2's records."""
    sides = [width(*side) for side in (a, b)]
    cells = [[Bounds.of(seed) for seed in side["seeds"]] for side in sides]
    above = [(side["above_zero"], side["n"]) for side in sides]
    return [median_row("median width λ↑ − λ↓", *cells), share_row("width above 0 for certain", *above)]


def _spinodal(a: Summary, b: Summary) -> list[Row]:
    symbol = DIRECTIONS[a["experiment"]].symbol
    found = [median_row(f"median {symbol}", _cells(a), _cells(b))]
    if a["experiment"] == "T2":
        one, other = ((s["start"]["trapped"], sum(s["start"][state] for state in STARTS)) for s in (a, b))
        found.append(share_row("trapped at the start", one, other))
    for kind, name in (("init_failed", "init failed"), ("diverged", "diverged")):
        one, other = ((s["outcomes"][kind], _ended(s)) for s in (a, b))
        found.append(share_row(name, one, other))
    for field, name in (("init_error", "init error"), ("final_error", "final error")):
        found.append(mean_row(name, _of_seeds(a, field), _of_seeds(b, field)))
    if a.get("loop") and b.get("loop"):
        name = "error on the way back less that on the way up"
        found.append(mean_row(name, _of_seeds(a["loop"], "memory"), _of_seeds(b["loop"], "memory")))
    return found


def _fired_row(direction: Direction, a: tuple[Records, Summary], b: tuple[Records, Summary]) -> Row:
    """The share that had its event by the last λ that both sweeps have: shares by different λ do not compare.

    Seeds of which it is not known are left out: failed inits, diverged ones, and those cut short before.
    """
    shared = set(planned_levels(a[0])) & set(planned_levels(b[0]))
    if not shared:
        return Row(f"{direction.event} by the same λ", "–", "–", "no difference: no λ in both sweeps")
    limit = max(shared) if direction.rising else min(shared)
    counts = []
    for _, summary in (a, b):
        fired, not_fired = 0, 0
        for cell in _cells(summary):
            low, high = (cell.lower, cell.upper) if direction.rising else (-cell.upper, -cell.lower)
            reached = limit if direction.rising else -limit
            fired += high <= reached
            not_fired += low >= reached
        counts.append((fired, fired + not_fired))
    return share_row(f"{direction.event} by λ = {wording.level(limit)}", *counts)


def _branches(a: Summary, b: Summary) -> list[Row]:
    at = wording.level(a["gap_lambda"])
    names = {
        "gap": f"gap at λ = {at}",
        "ordered_init": "ordered init error",
        "collapse_init": "collapse init error",
    }
    found = [mean_row(name, _of_seeds(a, field), _of_seeds(b, field)) for field, name in names.items()]
    one, other = ((s["outcomes"]["init_failed"], _ended(s)) for s in (a, b))
    return [*found, share_row("init failed", one, other)]


def _trapping(a: Summary, b: Summary) -> list[Row]:
    names = {"trapped_90": "trapped", "partial_collapse": "partial collapse"}
    found = []
    for kind, name in (*names.items(), ("ordered", "ordered"), ("diverged", "diverged")):
        one, other = ((s["outcomes"][kind], _ended(s)) for s in (a, b))
        found.append(share_row(name, one, other))
    return [*found, mean_row("final error", _of_seeds(a, "final_error"), _of_seeds(b, "final_error"))]


def _ended(summary: Summary) -> int:
    return int(summary["n"] - summary["outcomes"]["unfinished"])


def _cells(summary: Summary) -> list[Bounds]:
    """Of the seeds of whose threshold something is known."""
    known = [s for s in summary["seeds"] if s["lower"] is not None or s["upper"] is not None]
    return [Bounds.of(seed) for seed in known]


def _of_seeds(summary: Summary, field: str) -> list[float]:
    return [seed[field] for seed in summary["seeds"] if seed[field] is not None]


def _values(records: Records, field: str) -> list[float]:
    return [value for record in records if (value := number(record, field)) is not None]


def _early(records: Records, last: int) -> list[float]:
    """The mean c_sv up to an epoch of each seed that was logged."""
    early = [[v for epoch, v in by_epoch(record, "c_sv").items() if epoch <= last] for record in records]
    return [fmean(values) for values in early if values]


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
