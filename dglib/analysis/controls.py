"""Controls of a sweep: whether its network moved at all, and whether it had settled at each level."""

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

from dglib.analysis.fields import Entry, Record, is_finite, level_of, number, rounded

FROZEN_LR, FROZEN_ERRORS = 0.1 + 1e-9, 2.0
"""A branch is frozen if its error stays within so many binomial standard errors of the test set at an LR of
at most this share of the starting one: it may show where it began because nothing moves at all."""


def is_frozen(record: Record, sweep: Sequence[Entry]) -> bool:
    """Whether the error stays within the noise of the test set all through a sweep at a small LR.

    Never where the record does not have the LR or the counts of predictions, as published ones.
    """
    finite = [entry for entry in sweep if is_finite(entry)]
    start = number(record, "lr")
    rates = [number(entry, "lr") for entry in finite]
    images = sum(finite[-1].get("predicted") or ()) if finite else 0
    if not start or not images or len(finite) < 2:
        return False
    if any(rate is None or rate > FROZEN_LR * start for rate in rates):
        return False
    errors = [float(entry["error"]) for entry in finite]
    error = fmean(errors)
    return max(errors) - min(errors) < FROZEN_ERRORS * math.sqrt(error * (1 - error) / images)


def drift(sweep: Sequence[Entry]) -> float | None:
    """How far the error moves within a level: its mean in the later half less that in the earlier half.

    The mean over the levels with at least four evaluations; None without one. 0 where every level has
    settled, -1 to 1.
    """
    moved = []
    for _, members in groupby((entry for entry in sweep if is_finite(entry)), key=level_of):
        errors = [float(entry["error"]) for entry in members]
        half = len(errors) // 2
        if half >= 2:
            moved.append(fmean(errors[-half:]) - fmean(errors[:half]))
    return rounded(fmean(moved)) if moved else None
