"""Fits with profile intervals: a logistic distribution of thresholds, and width against sweep rate.

Both are evaluated on grids, so that a flat or one-sided likelihood gives an open interval in place of a
number that depends on where an optimizer began. Intervals end at the grid's next value outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.analysis.intervals import CONFIDENCE, Bounds, rounded

Values = NDArray[np.float64]
LEAST_RATES = 3  # different ones, below which the exponent says nothing
_TIE = 1e-6  # of a log-likelihood, within which values are equally likely


def logistic(cells: Sequence[Bounds]) -> dict[str, Any] | None:
    """The logistic distribution of thresholds of which only cells are known, open ones too.

    Of doses at which something happened or not, the cell of one that happened ends there and of one that did
    not begins there: then it is a dose-response curve.

    Returns:
        `{"n", "centre", "scale"}`, the last two `{"estimate", "ci95"}`: the level at which half have had
        their event, and the distribution's scale (a quarter lies beyond 1.1 scales on each side). The
        estimate is the middle of the most likely values. `ci95` by profile likelihood, an end null where the
        cells do not bound it. None without two cells, or with no end at all.
    """
    from scipy import stats
    from scipy.special import expit

    edges = sorted({end for cell in cells for end in (cell.lower, cell.upper) if math.isfinite(end)})
    if len(cells) < 2 or not edges:
        return None
    span = max(edges[-1] - edges[0], 0.05)
    centres = np.linspace(edges[0] - 2 * span, edges[-1] + 2 * span, 301)
    scales = np.geomspace(span / 100, 5 * span, 61)
    likelihood = np.zeros((len(centres), len(scales)))
    for cell in cells:
        below, above = (expit((end - centres[:, None]) / scales[None, :]) for end in (cell.lower, cell.upper))
        likelihood += np.log(np.maximum(above - below, 1e-300))
    drop = stats.chi2.ppf(CONFIDENCE, 1) / 2
    centre, scale = (
        _profile(values, likelihood.max(axis=axis), drop) for values, axis in ((centres, 1), (scales, 0))
    )
    if None in centre["ci95"]:  # a wider scale goes with a centre beyond the grid
        scale["ci95"][1] = None
    return {"n": len(cells), "centre": centre, "scale": scale}


def width_at_rate(rates: Sequence[float], widths: Sequence[float]) -> dict[str, Any] | None:
    """Least squares of width = still + factor · rate^exponent, 0.1 to 3 for the exponent.

    Returns:
        `{"n", "still", "factor", "exponent"}`, each of them `{"estimate", "ci95"}`: `still` is the width of a
        sweep that waits for ever. `ci95` by the profile of the residual sum (F), an end null where the rates
        do not bound it. None below `LEAST_RATES` different rates or four widths.
    """
    from scipy import stats

    x, y = np.asarray(rates, dtype=float), np.asarray(widths, dtype=float)
    n = len(x)
    if len(set(rates)) < LEAST_RATES or n < 4:
        return None
    exponents = np.linspace(0.1, 3.0, 59)
    powers = x[None, :] ** exponents[:, None]  # (exponents, n)
    spread = max(float(np.ptp(y)), 0.01)
    stills = np.linspace(y.min() - 6 * spread, y.max() + 2 * spread, 241)
    largest = 12 * spread / float(np.ptp(x))
    factors = np.linspace(-largest, largest, 241)

    # For a fixed exponent and one fixed coefficient, the other one is a ratio of sums.
    rest = y[None, None, :] - stills[:, None, None]
    best = (rest * powers).sum(-1) / (powers**2).sum(-1)
    by_still = ((rest - best[..., None] * powers) ** 2).sum(-1)  # (stills, exponents)
    scaled = y[None, None, :] - factors[:, None, None] * powers
    by_factor = ((scaled - scaled.mean(-1, keepdims=True)) ** 2).sum(-1)
    centred = powers - powers.mean(-1, keepdims=True)
    slope = (centred * y).sum(-1) / (centred**2).sum(-1)
    by_exponent = ((y - y.mean() - slope[:, None] * centred) ** 2).sum(-1)

    least = max(float(by_exponent.min()), 1e-12)
    free = max(n - 3, 1)
    drop = free / 2 * math.log1p(stats.f.ppf(CONFIDENCE, 1, free) / free)
    profiles = {"still": (stills, by_still.min(1)), "factor": (factors, by_factor.min(1))}
    profiles["exponent"] = (exponents, by_exponent)
    return {"n": n} | {
        name: _profile(values, -free / 2 * np.log(np.maximum(sums, least) / least), drop)
        for name, (values, sums) in profiles.items()
    }


def _profile(values: Values, likelihood: Values, drop: float) -> dict[str, Any]:
    """The middle of the most likely values, and where the profile lies within `drop` of its maximum."""
    best = values[likelihood >= likelihood.max() - _TIE]
    inside = np.flatnonzero(likelihood >= likelihood.max() - drop)
    first, last = int(inside[0]) - 1, int(inside[-1]) + 1
    low = None if first < 0 else rounded(float(values[first]))
    high = None if last == len(values) else rounded(float(values[last]))
    known = best[0] != values[0] and best[-1] != values[-1]
    estimate = rounded(float(best[0] + best[-1]) / 2) if known else None
    return {"estimate": estimate, "ci95": [low, high]}
