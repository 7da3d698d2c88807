"""A quantity over seeds as five plain values, whatever is censored, and shares with exact intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.fields import Record, Records, rounded
from dglib.analysis.intervals import clopper_pearson, clopper_pearson_undecided, median_interval

Plain = dict[str, Any]
FEWEST_FOR_MEDIANS = 6  # below, no 95 % interval for a median exists; see `intervals.median_interval`


def cell_of(seed: Mapping[str, Any]) -> Bounds | None:
    """The cell of a seed's threshold from `Threshold.as_dict`; None where nothing was measured."""
    known = any(seed[end] is not None for end in ("lower", "upper", "level"))
    return Bounds.of(seed) if known else None


def point_of(seed: Mapping[str, Any]) -> Bounds:
    """The level that fired as both ends; of a seed without event all that is known, its cell."""
    level = seed["level"]
    return Bounds.of(seed) if level is None else Bounds(level, level)


def quantity(cells: Sequence[Bounds], points: Sequence[Bounds]) -> Plain | None:
    """`{"estimate", "lower", "upper", "ci95", "censored"}` of a quantity's median; None if nothing is known.

    Args:
        cells: where each seed's value lies, from its neighbouring levels; open where nothing happened.
        points: the value by which each seed counts, both ends equal, or its cell where it has none.

    `lower` and `upper` bound the sample's median, null where open. `estimate` is the median of the points
    if they decide it and both ends are closed. `ci95` is the pair that encloses the population's median
    (order statistics; an open end is null), null below six seeds. `censored` is "right" where only `lower` is
    known, "left" where only `upper`, "interval" where both are and differ, null where the median is known.
    """
    if not cells:
        return None
    median, counted = median_bounds(cells), median_bounds(points)
    interval = median_interval([cell.lower for cell in cells], [cell.upper for cell in cells])
    ci95 = None if interval is None else [_closed(interval.lower), _closed(interval.upper)]
    ends = median.as_dict()
    if set(ends.values()) == {None} and (ci95 is None or ci95 == [None, None]):
        return None
    decided = None not in ends.values() and counted.lower == counted.upper
    return {
        "estimate": rounded(counted.lower) if decided else None,
        **ends,
        "ci95": None if ci95 == [None, None] else ci95,
        "censored": _censored(median),
    }


def in_every_seed(cells: Sequence[Bounds]) -> Plain | None:
    """The bounds that hold in each of n seeds, and the share of all such seeds in which they would hold.

    `{"lower", "upper", "n", "share_ci95"}`. Where one end is open the share is Clopper and Pearson's for n of
    n. It stays so if the limit is the most extreme seed's own value, and each further limit costs a seed
    (Wilks, Ann. Math. Stat. 12 (1941) 91), so with two it is that for n - 1 of n.
    """
    if not cells:
        return None
    lower, upper = min(cell.lower for cell in cells), max(cell.upper for cell in cells)
    limits, n = sum(map(math.isfinite, (lower, upper))), len(cells)
    if not limits:
        return None
    least = clopper_pearson(n + 1 - limits, n).lower
    return {"lower": _closed(lower), "upper": _closed(upper), "n": n, "share_ci95": [rounded(least), 1.0]}


def share(count: int, of: int, undecided: int = 0) -> Plain | None:
    """`{"count", "of", "estimate", "ci95"}` with the exact interval; None of no seeds.

    With `undecided` seeds the interval holds whichever way they would have gone, and there is no estimate.
    """
    if not of:
        return None
    found = clopper_pearson_undecided(count, undecided, of)
    return {
        "count": count,
        "of": of,
        "estimate": None if undecided else rounded(count / of),
        "ci95": [rounded(found.lower), rounded(found.upper)],
    }


def _censored(median: Bounds) -> str | None:
    below, above = math.isfinite(median.lower), math.isfinite(median.upper)
    if below and above:
        return None if median.lower == median.upper else "interval"
    return "right" if below else "left" if above else None


def _closed(value: float) -> float | None:
    return rounded(value) if math.isfinite(value) else None


def few(n: int) -> list[str]:
    """Why there is no interval, where there is none."""
    if n >= FEWEST_FOR_MEDIANS or not n:
        return []
    why = "from one seed" if n == 1 else f"below {FEWEST_FOR_MEDIANS} seeds"
    return [f"n = {n}: no 95 % interval for a median {why}"]


def undecided(widths: Sequence[Bounds]) -> int:
    """How many widths may lie on either side of 0."""
    return sum(width.lower < 0 < width.upper for width in widths)


def by_seed(records: Records, found: Sequence[Plain]) -> list[tuple[Record, Plain]]:
    """Each record with what was found of its seed."""
    seeds = {each["seed"]: each for each in found}
    return [(record, seeds[record["seed"]]) for record in records if record["seed"] in seeds]


def exact(value: float) -> tuple[Bounds, Bounds]:
    """A value that is known: its cell and its point."""
    return Bounds(value, value), Bounds(value, value)


def group(members: Sequence[tuple[Bounds, Bounds]], name: str) -> Plain:
    """How many there are, and their quantity."""
    return {"n": len(members), name: quantity(*columns(members))}


def columns(pairs: Sequence[tuple[Bounds, Bounds]]) -> tuple[list[Bounds], list[Bounds]]:
    """Cells and points of pairs of these."""
    return [cell for cell, _ in pairs], [point for _, point in pairs]
