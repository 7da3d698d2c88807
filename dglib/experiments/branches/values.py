"""V3's findings for machines, and what a grid's cells are told by."""

from __future__ import annotations

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.fields import Record, Records, parameter, rounded
from dglib.analysis.phase_diagram import DIVERGED_WORD, TRAPPED_WORD, Measure
from dglib.analysis.quantities import Plain, columns, exact, group, quantity
from dglib.analysis.threshold_summary import STARTS
from dglib.experiments.branches.gaps import GAP_ERROR, gap_interval, summarise_branches


def branch_values(records: Records) -> Plain:
    """The gap over seeds that began the collapse branch collapsed, with `gap_mean` and its t interval."""
    summary = summarise_branches(records)
    groups = {
        state: [exact(s["gap"]) for s in summary["seeds"] if s["start"] == state and s["gap"] is not None]
        for state in STARTS
    }
    apart = groups["collapsed"]
    interval = gap_interval([cell.lower for cell, _ in apart])
    mean = summary["gap_collapsed"]
    left_out = len(groups["trapped"])
    notes = [f"{wording.seeds(left_out)} began the collapse branch trapped, and not in the gap"] * bool(
        left_out
    )
    return {
        **{name: summary[name] for name in ("failed_inits", "diverged", "outcomes")},
        "gap": quantity(*columns(apart)),
        "measured": len(apart),
        "gap_lambda": summary["gap_lambda"],
        "gap_mean": mean
        and {
            "estimate": mean["mean"],
            "ci95": interval and [rounded(interval.lower), rounded(interval.upper)],
        },
        "two_branches": summary["two_branches"],
        "by_start": {state: group(members, "gap") for state, members in groups.items()},
        "notes": notes,
        "seeds": summary["seeds"],
    }


def _end(record: Record) -> tuple[str, Bounds | None]:
    (seed,) = summarise_branches([record])["seeds"]
    kind, gap = seed["outcome"], seed["gap"]
    if gap is None:
        return "no_gap" if kind == "complete" else kind, None
    apart = gap > parameter([record], "gap_error", GAP_ERROR)
    trapped = next(iter(TRAPPED_WORD))
    kind = trapped if seed["start"] == "trapped" else "two_branches" if apart else "one_branch"
    return kind, Bounds(gap, gap)


MEASURE = Measure(
    "gap",
    {
        "one_branch": "one branch",
        "two_branches": "two branches",
        **TRAPPED_WORD,
        "no_gap": "gap not measured",
        **DIVERGED_WORD,
    },
    _end,
    in_unit_interval=True,
    unusual=("no_gap",),
    glyphs={"no_gap": "–"},
)
