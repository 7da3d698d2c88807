"""Quantities on two sides, and their differences with intervals.

The sides count as independent, also where they share seeds: then the intervals are, if anything, too wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import Any

from dglib.analysis import wording
from dglib.analysis.intervals import CONFIDENCE, Interval, newcombe_difference, welch
from dglib.analysis.summary import Bounds, Summary, known_cell, median_bounds, median_interval

# A median's interval on either side at this level: their difference then has 95 % by Bonferroni's inequality.
_ONE_SIDE = 1 - (1 - CONFIDENCE) / 2
_SEEDS_FOR_MEDIANS = 7


@dataclass(frozen=True)
class Difference:
    """One quantity: its value on both sides and the difference A − B with its interval, in words."""

    name: str
    a: str
    b: str
    difference: str


def share_row(name: str, a: tuple[int, int], b: tuple[int, int]) -> Difference:
    """Of two counts (k, n): shares, and Newcombe's interval for their difference."""
    one, other = (f"{k} of {n}" for k, n in (a, b))
    if not a[1] or not b[1]:
        return Difference(name, one, other, "no difference: a side without seeds")
    return Difference(name, one, other, _with(a[0] / a[1] - b[0] / b[1], newcombe_difference(*a, *b), 2))


def mean_row(name: str, a: Sequence[float], b: Sequence[float], places: int = 3) -> Difference:
    """Of a value per seed: means ± SD (ddof 0, as in answers), and Welch's interval for their difference."""
    one, other = (_mean(values, places) for values in (a, b))
    if not a or not b:
        return Difference(name, one, other, "no difference: a side without values")
    return Difference(name, one, other, _with(fmean(a) - fmean(b), welch(a, b), places))


def median_row(name: str, a: Sequence[Bounds], b: Sequence[Bounds]) -> Difference:
    """Of a cell per seed, open where the sweep ended first: what is known of the medians and the difference.

    The difference's interval joins the two medians' (distribution-free, so censoring costs no coverage).
    """
    medians = [median_bounds(cells) for cells in (a, b)]
    one, other = (
        _bounds(median) if cells else wording.NONE for median, cells in zip(medians, (a, b), strict=True)
    )
    if not a or not b:
        return Difference(name, one, other, "no difference: a side without values")
    low, high = (median_interval(cells, _ONE_SIDE) for cells in (a, b))
    words = _bounds(medians[0] - medians[1])
    if low is None or high is None:
        return Difference(
            name, one, other, f"{words} (no 95 % interval below {_SEEDS_FOR_MEDIANS} seeds a side)"
        )
    joined = Bounds(low.lower - high.upper, low.upper - high.lower)
    return Difference(name, one, other, f"{words} (95 % interval {_bounds(joined)})")


def outcome_row(name: str, kind: str, a: Summary, b: Summary) -> Difference:
    counts = ((s["outcomes"].get(kind, 0), s["n"] - s["outcomes"]["unfinished"]) for s in (a, b))
    return share_row(name, *counts)


def field_row(name: str, field: str, a: Summary, b: Summary) -> Difference:
    one, other = ([s[field] for s in side["seeds"] if s.get(field) is not None] for side in (a, b))
    return mean_row(name, one, other)


def final_error_row(field: str, a: Summary, b: Summary, start: str = "") -> Difference:
    """The final errors of two sides; no difference where sweeps ended at different λ.

    Args:
        field: of a seed: λ at which its sweep ended.
        start: more of the row's name.
    """
    row = field_row(f"final error{start}", "final_error", a, b)
    seeds = [s for side in (a, b) for s in side["seeds"] if s.get("final_error") is not None]
    at = sorted({s[field] for s in seeds if s[field] is not None})
    if len(at) < 2:
        return replace(row, name=f"final error at λ = {wording.level(at[0])}{start}") if at else row
    ended = f"{wording.level(at[0])} to {wording.level(at[-1])}"
    return replace(row, difference=f"no difference: the sweeps ended at different λ, {ended}")


def only(summary: Summary, **wanted: Any) -> Summary:
    """The summary with those of its seeds whose fields have these values."""
    known = [s for s in summary["seeds"] if all(s[name] == value for name, value in wanted.items())]
    return {**summary, "seeds": known}


def cells(summary: Summary) -> list[Bounds]:
    """Of the seeds of whose threshold, or width, something is known."""
    return [cell for seed in summary["seeds"] if (cell := known_cell(seed))]


def _mean(values: Sequence[float], places: int) -> str:
    if not values:
        return wording.NONE
    mean = wording.decimal(fmean(values), places)
    return mean if len(values) == 1 else f"{mean} ± {wording.decimal(pstdev(values), places)} ({len(values)})"


def _with(difference: float, interval: Interval | None, places: int) -> str:
    words = wording.decimal(difference, places)
    if interval is None:
        return f"{words} (no interval: one seed, or no spread)"
    ends = (wording.decimal(end, places) for end in (interval.lower, interval.upper))
    return f"{words} (95 % interval {' to '.join(ends)})"


def _bounds(bounds: Bounds) -> str:
    return wording.interval(*bounds.as_dict().values())
