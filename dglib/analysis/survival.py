"""The share of seeds that a sweep has not yet moved, at each level of λ, with intervals that are exact.

On a common grid that is a binomial at each level. Seeds whose sweep was cut short, or stepped on another
grid, may be undecided at a level; the intervals hold whichever way those would have gone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dglib.analysis.bounds import Bounds
from dglib.analysis.intervals import Interval, clopper_pearson_undecided

Method = Literal["binomial", "Kaplan–Meier", "Turnbull"]
_TOLERANCE, _MOST_STEPS = 1e-10, 10_000


@dataclass(frozen=True)
class Step:
    """What is known after a level: of the seeds, `stayed` still in their state, `left`, `undecided`."""

    level: float
    stayed: int
    left: int
    undecided: int
    share: float
    interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        counts = {"level": self.level, "stayed": self.stayed, "left": self.left, "undecided": self.undecided}
        ends = {"lower": round(self.interval.lower, 10), "upper": round(self.interval.upper, 10)}
        return {**counts, "share": round(self.share, 10), **ends}


@dataclass(frozen=True)
class Remaining:
    """The steps in the order swept, of `n` seeds; `method` is what estimates the share."""

    method: Method
    n: int
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"method": self.method, "n": self.n, "steps": [step.as_dict() for step in self.steps]}


def remaining(cells: Sequence[Bounds], levels: Sequence[float], rising: bool) -> Remaining:
    """The share of seeds that stayed beyond each of `levels`, from the cells of their thresholds.

    The share is the plain one where every seed is decided; Kaplan and Meier's where some were cut short,
    which takes it that they were cut short for reasons of their own; Turnbull's where grids differ. Where a
    run of evaluations had begun as a whole sweep ended, that is not so: such a seed is the likelier to leave,
    and the share at the last level rather too high. The intervals (Clopper–Pearson, over all ways of deciding
    the undecided) take nothing.
    """
    sign = 1.0 if rising else -1.0
    # Turned so that every sweep rises: (low, high] holds the threshold.
    spans = [tuple(sorted((sign * each.lower, sign * each.upper))) for each in cells]
    ordered = sorted({sign * level for level in levels})
    reached = [x for x in ordered if any(low >= x or high <= x for low, high in spans)]
    decided = all(low >= x or high <= x for low, high in spans for x in reached)
    closed = all(low >= x or high <= x or math.isinf(high) for low, high in spans for x in reached)
    method: Method = "binomial" if decided else "Kaplan–Meier" if closed else "Turnbull"
    shares = {"binomial": _plain, "Kaplan–Meier": _kaplan_meier, "Turnbull": _turnbull}[method](
        spans, reached
    )
    steps = []
    for x, share in zip(reached, shares, strict=True):
        stayed = sum(low >= x for low, _ in spans)
        left = sum(high <= x for _, high in spans)
        undecided = len(spans) - stayed - left
        interval = clopper_pearson_undecided(stayed, undecided, len(spans))
        steps.append(Step(sign * x, stayed, left, undecided, share, interval))
    return Remaining(method, len(spans), tuple(steps))


def _plain(spans: Sequence[tuple[float, ...]], levels: Sequence[float]) -> list[float]:
    return [sum(low >= x for low, _ in spans) / len(spans) for x in levels]


def _kaplan_meier(spans: Sequence[tuple[float, ...]], levels: Sequence[float]) -> list[float]:
    """The product-limit estimate (J. Am. Stat. Assoc. 53, 1958, 457); a span that holds a level is open."""
    shares, share = [], 1.0
    for x in levels:
        at_risk = [high for low, high in spans if high >= x and (low >= x or math.isfinite(high))]
        share *= 1 - sum(high == x for high in at_risk) / len(at_risk) if at_risk else 1.0
        shares.append(share)
    return shares


def _turnbull(spans: Sequence[tuple[float, ...]], levels: Sequence[float]) -> list[float]:
    """The self-consistent estimate of Turnbull (J. R. Stat. Soc. B 38, 1976, 290), in closed grid cells.

    Where the mass lies within a cell between neighbouring ends is undetermined; the share at a level
    counts mass as gone once its cell's upper end is at or below the level.
    """
    ends = sorted({end for span in spans for end in span if math.isfinite(end)} | set(levels))
    tops = np.array([*ends, math.inf])
    bottoms = np.array([-math.inf, *ends])
    holds = np.array([(bottoms >= low) & (tops <= high) for low, high in spans], dtype=float)
    mass = np.full(len(tops), 1 / len(tops))
    for _ in range(_MOST_STEPS):
        shared = holds * mass
        new = (shared / shared.sum(axis=1, keepdims=True)).mean(axis=0)
        change, mass = np.abs(new - mass).max(), new
        if change < _TOLERANCE:
            break
    return [float(mass[tops > x].sum()) for x in levels]
