"""T1 and T2 on two sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.differences import (
    Row,
    cells,
    ended,
    mean_row,
    median_row,
    of_seeds,
    share_row,
    time_row,
)
from dglib.analysis.fields import Records
from dglib.analysis.threshold_summary import STARTS, planned_levels
from dglib.analysis.thresholds import Direction

Summary = Mapping[str, Any]
Side = tuple[Records, Summary]


def rows(direction: Direction, one: Side, other: Side) -> list[Row]:
    """The event's share, the threshold, the init and the loop."""
    a, b = one[1], other[1]
    found = [_fired_row(direction, one, other), median_row(f"median {direction.symbol}", cells(a), cells(b))]
    if not direction.rising:
        counts = [(s["start"]["trapped"], sum(s["start"][state] for state in STARTS)) for s in (a, b)]
        found.append(share_row("trapped at the start", *counts))
    for kind, name in (("init_failed", "init failed"), ("diverged", "diverged")):
        counts = [(s["outcomes"][kind], ended(s)) for s in (a, b)]
        found.append(share_row(name, *counts))
    for field, name in (("init_error", "init error"), ("final_error", "final error")):
        found.append(mean_row(name, of_seeds(a, field), of_seeds(b, field)))
    if a.get("loop") and b.get("loop"):
        name = "error on the way back less that on the way up"
        found.append(mean_row(name, of_seeds(a["loop"], "memory"), of_seeds(b["loop"], "memory")))
    return [*found, time_row(one[0], other[0])]


def _fired_row(direction: Direction, a: Side, b: Side) -> Row:
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
        for cell in cells(summary):
            low, high = (cell.lower, cell.upper) if direction.rising else (-cell.upper, -cell.lower)
            reached = limit if direction.rising else -limit
            fired += high <= reached
            not_fired += low >= reached
        counts.append((fired, fired + not_fired))
    return share_row(f"{direction.event} by λ = {wording.level(limit)}", *counts)


def width_rows(*sides: Summary) -> list[Row]:
    """The hysteresis width, from the summaries of two sides."""
    each = [[Bounds.of(seed) for seed in side["seeds"]] for side in sides]
    above = [(side["above_zero"], side["n"]) for side in sides]
    return [median_row("median width λ↑ − λ↓", *each), share_row("width above 0 for certain", *above)]
