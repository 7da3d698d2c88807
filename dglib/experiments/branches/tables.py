"""V3's seeds as rows of a table, and its quantities on two sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dglib.analysis import cells, wording
from dglib.analysis.differences import Row, ended, mean_row, of_seeds, share_row
from dglib.analysis.fields import Record
from dglib.experiments.branches import gaps

Summary = Mapping[str, Any]


def seed_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The two inits and the gap of each seed."""
    at = wording.level(summary["gap_lambda"])
    inits = [f"{branch} init error" for branch in ("Ordered", "Collapse")]
    head = ["Seed", *inits, "Outcome", f"Gap at λ = {at}", "Collapse branch began"]
    rows = [
        [
            cells.seed(seed),
            cells.error(seed["ordered_init"]),
            cells.error(seed["collapse_init"]),
            cells.outcome(seed["outcome"]),
            cells.error(seed["gap"]),
            seed["start"] or cells.NONE,
        ]
        for seed in summary["seeds"]
    ]
    return head, rows


def columns(record: Record) -> dict[str, Any]:
    """The gap, and the state in which the collapse branch began."""
    (seed,) = gaps.summarise_branches([record])["seeds"]
    return {
        "outcome": seed["outcome"],
        "init_lambda": None,  # two of them
        "start": gaps.start_state(record),
        "gap": seed["gap"],
    }


def rows(a: Summary, b: Summary) -> list[Row]:
    """The gap and the inits on two sides."""
    at = wording.level(a["gap_lambda"])
    names = {
        "gap": f"gap at λ = {at}",
        "ordered_init": "ordered init error",
        "collapse_init": "collapse init error",
    }
    found = [mean_row(name, of_seeds(a, field), of_seeds(b, field)) for field, name in names.items()]
    counts = [(s["outcomes"]["init_failed"], ended(s)) for s in (a, b)]
    return [*found, share_row("init failed", *counts)]


def lines(found: Summary) -> list[str]:
    """The mean gap with its t interval, and whether it makes two branches."""
    if not found.get("gap_mean"):
        return []
    mean, ci95 = found["gap_mean"]["estimate"], found["gap_mean"]["ci95"]
    within = f"t interval {wording.pair(ci95)}" if ci95 else "no interval (n = 1)"
    return [f"mean gap {mean:.3f} ({within}): two branches: {found['two_branches']}"]
