"""Bounds of a threshold from a sweep over discrete levels: an interval, open where nothing happened."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev
from typing import Any

from dglib.analysis.fields import rounded


@dataclass(frozen=True)
class Bounds:
    """A quantity known to lie between two values; ±inf where a side is open (censored)."""

    lower: float
    upper: float

    def __sub__(self, other: "Bounds") -> "Bounds":
        """Bounds of the difference of two quantities: [L - U', U - L']."""
        return Bounds(rounded(self.lower - other.upper), rounded(self.upper - other.lower))

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Bounds":
        """From `as_dict`, or anything with its two values."""
        lower, upper = plain["lower"], plain["upper"]
        return cls(-math.inf if lower is None else lower, math.inf if upper is None else upper)

    def as_dict(self) -> dict[str, float | None]:
        """`{"lower", "upper"}`, null where open: JSON has no infinity."""
        return {"lower": _closed(self.lower), "upper": _closed(self.upper)}


UNKNOWN = Bounds(-math.inf, math.inf)


def event_cell(level: float, visited: Sequence[float], start: float | None, rising: bool) -> Bounds:
    """The cell of a threshold that fired at `level`: it lies past the level visited before.

    `start` is the λ from which the sweep's first level was reached; None where it is not known. A first level
    at the start's own λ has no level before it: the cell is open there.
    """
    before = visited.index(level) if level in visited else 0
    previous = visited[before - 1] if before else start
    if previous == level:
        previous = None
    if rising:
        return Bounds(-math.inf if previous is None else previous, level)
    return Bounds(level, math.inf if previous is None else previous)


def censored_cell(last: float, rising: bool) -> Bounds:
    """The bounds of a threshold that was not met up to the level `last`."""
    return Bounds(last, math.inf) if rising else Bounds(-math.inf, last)


def median_bounds(bounds: Sequence[Bounds]) -> Bounds:
    """[median of the lowers, median of the uppers], which contains the sample median."""
    if not bounds:
        return UNKNOWN
    return Bounds(rounded(_median([b.lower for b in bounds])), rounded(_median([b.upper for b in bounds])))


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """`{"n", "mean", "std" (ddof 0), "min", "max"}` of the values; None where there are none."""
    if not values:
        return None
    return {
        "n": len(values),
        "mean": rounded(fmean(values)),
        "std": rounded(pstdev(values)),
        "min": min(values),
        "max": max(values),
    }


def _median(values: Sequence[float]) -> float:
    middle = median(values)
    # An even count whose middle pair is -inf and +inf has no median: open on both sides.
    return middle if not math.isnan(middle) else math.inf


def _closed(value: float) -> float | None:
    return value if math.isfinite(value) else None
