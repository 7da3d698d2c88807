"""Rows of T1's and T2's seeds: for a page, and for `dglib.load_records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dglib.analysis import cells, wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.fields import Record, Records
from dglib.analysis.loops import loop
from dglib.analysis.states import final_state
from dglib.analysis.thresholds import UP, Direction, limits, rule_of, threshold


def seed_table(
    direction: Direction, records: Records, summary: Mapping[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """What became of each seed, and where its threshold lies."""
    ends = limits(records)
    loops = {each["seed"]: each for each in (summary.get("loop") or {}).get("seeds", ())}
    head = ["Seed", "Init error", "Outcome", f"{direction.symbol} lies", "State at the end", "Final error"]
    head[5:5] = ["λ↓ on the way back"] if loops else []
    head[2:2] = [] if direction.rising else ["State at the start"]
    rows = []
    for seed, record in zip(summary["seeds"], records, strict=True):
        row = [
            cells.seed(seed),
            cells.error(seed["init_error"]),
            f"no {direction.noun}" if seed["outcome"] == "no_event" else cells.outcome(seed["outcome"]),
            cells.bounds(seed["lower"], seed["upper"]),
            final_state(record, *ends) or cells.NONE,
            cells.error(seed["final_error"]),
        ]
        row[5:5] = [_way_back(loops.get(seed["seed"]))] if loops else []
        row[2:2] = [] if direction.rising else [seed["start"] or cells.NONE]
        rows.append(row)
    return head, rows


def _way_back(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return cells.NONE
    if found["outcome"] == "open":
        return cells.bounds(None, found["below"])
    down = found["lambda_down"]
    return found["outcome"] if down is None else wording.level(down)


def columns(direction: Direction, record: Record, stated: Mapping[str, float]) -> dict[str, Any]:
    """The threshold under the seed's own rule, or under what is `stated` of it, and the way back."""
    rule = rule_of(direction, record)
    rule = replace(
        rule,
        limit=stated.get(direction.limit, rule.limit),
        consecutive=int(stated.get("consecutive", rule.consecutive)),
    )
    seed = threshold(direction, record, rule)
    return {
        "outcome": seed.outcome,
        "difference": seed.difference,
        "event_error": rule.limit,
        "consecutive": rule.consecutive,
        **{name: getattr(seed, name) for name in ("level", "fired", "recorded", "start")},
        **_ends(seed.bounds),
        "final_lambda": seed.last,
        "final_state": final_state(record, *limits([record])),
        **_loop_columns(direction, record),
    }


def _loop_columns(direction: Direction, record: Record) -> dict[str, Any]:
    found = loop(record) if direction is UP else None
    if found is None:
        return {}
    width = _ends(Bounds.of(found)) if found["outcome"] != "diverged" else {"lower": None, "upper": None}
    return {
        "return_level": found["lambda_down"],
        "width_lower": width["lower"],
        "width_upper": width["upper"],
        "memory": found["memory"],
        "area": found["area"],
    }


def _ends(bounds: Bounds | None) -> dict[str, float | None]:
    return (
        {"lower": None, "upper": None} if bounds is None else {"lower": bounds.lower, "upper": bounds.upper}
    )
