"""The share of seeds that a sweep has not yet moved, at each level of λ, with intervals that are exact.

On a common grid that is a binomial at each level. Seeds whose sweep was cut short, or stepped on another
grid, may be undecided at a level; the intervals hold whatever their outcome.
"""

import math
from collections.abc import Sequence
from typing import Any

from dglib.analysis.bounds import Bounds
from dglib.analysis.intervals import clopper_pearson_undecided

_TOLERANCE, _MOST_STEPS = 1e-10, 10_000

Span = tuple[float, float]


def remaining(cells: Sequence[Bounds], levels: Sequence[float], rising: bool) -> dict[str, Any]:
    """The share of seeds that stayed beyond each of `levels`, from the cells of their thresholds.

    `{"method", "n", "steps"}`; each step, in the order swept, has the `level`, the numbers of seeds that
    `stayed`, `left` and are `undecided` there, and the `share` with its `lower` and `upper`.

    The share is the plain one where every seed is decided; Kaplan and Meier's where some sweeps were cut
    short, which assumes that they were so for unrelated reasons; Turnbull's where grids differ. Where a run
    of evaluations had begun as a sweep ended, that is not so, and the share at the last level is rather too
    high. The intervals (Clopper–Pearson, over all outcomes of the undecided) assume nothing.
    """
    sign = 1.0 if rising else -1.0
    # Turned so that every sweep rises: (low, high] holds the threshold.
    spans: list[Span] = [
        (min(sign * c.lower, sign * c.upper), max(sign * c.lower, sign * c.upper)) for c in cells
    ]
    reached = [
        x
        for x in sorted({sign * level for level in levels})
        if any(low >= x or high <= x for low, high in spans)
    ]
    undecided_at = [span for span in spans for x in reached if span[0] < x < span[1]]
    if not undecided_at:
        method, shares = "binomial", [sum(low >= x for low, _ in spans) / len(spans) for x in reached]
    elif all(math.isinf(high) for _, high in undecided_at):
        method, shares = "Kaplan–Meier", _kaplan_meier(spans, reached)
    else:
        method, shares = "Turnbull", _turnbull(spans, reached)
    steps = []
    for x, share in zip(reached, shares, strict=True):
        stayed, left = sum(low >= x for low, _ in spans), sum(high <= x for _, high in spans)
        undecided = len(spans) - stayed - left
        interval = clopper_pearson_undecided(stayed, undecided, len(spans))
        counts = {"level": sign * x, "stayed": stayed, "left": left, "undecided": undecided}
        ends = {"lower": round(interval.lower, 10), "upper": round(interval.upper, 10)}
        steps.append({**counts, "share": round(share, 10), **ends})
    return {"method": method, "n": len(spans), "steps": steps}


def _kaplan_meier(spans: Sequence[Span], levels: Sequence[float]) -> list[float]:
    from scipy import stats

    times = [low if math.isinf(high) else high for low, high in spans]
    sample = stats.CensoredData.right_censored(times, [math.isinf(high) for _, high in spans])
    return [float(share) for share in stats.ecdf(sample).sf.evaluate(levels)]


def _turnbull(spans: Sequence[Span], levels: Sequence[float]) -> list[float]:
    """The self-consistent estimate of Turnbull (J. R. Stat. Soc. B 38, 1976, 290), in closed grid cells.

    `scipy.stats` has none for intervals. Where the mass lies within a cell is undetermined; a level counts
    mass as gone once its cell's upper end is reached.
    """
    import numpy as np

    ends = sorted({end for span in spans for end in span if math.isfinite(end)} | set(levels))
    tops, bottoms = np.array([*ends, math.inf]), np.array([-math.inf, *ends])
    holds = np.array([(bottoms >= low) & (tops <= high) for low, high in spans], dtype=float)
    mass = np.full(len(tops), 1 / len(tops))
    for _ in range(_MOST_STEPS):
        shared = holds * mass
        new = (shared / shared.sum(axis=1, keepdims=True)).mean(axis=0)
        change, mass = np.abs(new - mass).max(), new
        if change < _TOLERANCE:
            break
    return [float(mass[tops > x].sum()) for x in levels]
