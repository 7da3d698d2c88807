"""Controls of a sweep: whether its network moved at all, and whether it had settled at each level."""

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

from dglib.analysis.fields import Entry, Record, is_constant, is_finite, level_of, number, rounded

FROZEN_LR, FROZEN_ERRORS = 0.1 + 1e-9, 2.0
"""A branch is frozen if its error stays within so many binomial standard errors of the test set at an LR of
at most this share of the starting one: it may show where it began because nothing moves at all."""


def is_frozen(record: Record, sweep: Sequence[Entry]) -> bool:
    """Whether the error stays within the noise of the test set all through a sweep at a small LR.

    Where the record does not have the number of images, only if the error stays exactly the same; where it
    does not have the starting LR, only at 0. Never where it has no LR of the sweep, as published ones.
    """
    finite = [entry for entry in sweep if is_finite(entry)]
    start, constant = number(record, "lr") or 0.0, number(record, "sweep_lr")
    rates = [constant if (rate := number(entry, "lr")) is None else rate for entry in finite]
    if len(finite) < 2 or any(rate is None or rate > FROZEN_LR * start for rate in rates):
        return False
    errors = [float(entry["error"]) for entry in finite]
    images = sum(finite[-1].get("predicted") or ()) or number(record, "test_size")
    if max(errors) == min(errors) or not images:
        return max(errors) == min(errors)
    error = fmean(errors)
    return max(errors) - min(errors) < FROZEN_ERRORS * math.sqrt(error * (1 - error) / images)


def drift(sweep: Sequence[Entry]) -> float | None:
    """How far the error moves within a level: its mean in the later half less that in the earlier half.

    The mean over the levels with at least four evaluations; None without one. 0 where every level has
    settled, -1 to 1. Levels at which one class was predicted throughout are left out: a trapped network does
    not move, however long it waits.
    """
    moved = []
    for _, members in groupby((entry for entry in sweep if is_finite(entry)), key=level_of):
        level = list(members)
        errors = [] if all(map(is_constant, level)) else [float(entry["error"]) for entry in level]
        half = len(errors) // 2
        if half >= 2:
            moved.append(fmean(errors[-half:]) - fmean(errors[:half]))
    return rounded(fmean(moved)) if moved else None
