"""Tδ1's findings for machines, and what a grid's cells are told by."""

from __future__ import annotations

from dglib.analysis.bounds import Bounds
from dglib.analysis.fields import Record, Records, entries, number, parameter
from dglib.analysis.phase_diagram import DIVERGED_WORD, TRAPPED_WORD, Measure
from dglib.analysis.quantities import Plain, share
from dglib.experiments.trapping.classes import (
    CLASSES,
    DIVERGED,
    ORDERED,
    PARTIAL,
    PARTIAL_ERROR,
    TRAPPED_ERROR,
    category,
    summarise_trapping,
)


def class_values(records: Records) -> Plain:
    """The `shares` of the classes under the runs' own limits."""
    limits = {
        "trapped_error": parameter(records, "trapped_error", TRAPPED_ERROR),
        "partial_error": parameter(records, "partial_error", PARTIAL_ERROR),
    }
    # By the final error, whatever a published label says.
    summary = summarise_trapping([_last_error(record) for record in records])
    ended = sum(summary["outcomes"][name] for name in CLASSES)
    return {
        **{name: summary[name] for name in ("failed_inits", "diverged", "outcomes")},
        "measured": ended,
        "limits": limits,
        "shares": {name: share(summary["outcomes"][name], ended) for name in CLASSES},
        "seeds": [
            {
                "seed": seed["seed"],
                "outcome": seed["category"],
                "recorded": written if isinstance(written := seed["recorded_category"], str) else None,
                "final_error": seed["final_error"],
            }
            for seed in summary["seeds"]
        ],
    }


def _last_error(record: Record) -> Record:
    errors = entries(record, "error_trajectory")
    final = number(errors[-1], "error") if errors else number(record, "final_error")
    return {**record, "final_error": final}


def _end(record: Record) -> tuple[str, Bounds | None]:
    error, kind = number(record, "final_error"), category(record)
    return kind, None if error is None or kind == DIVERGED else Bounds(error, error)


MEASURE = Measure(
    "final error",
    {ORDERED: "ordered", PARTIAL: "partial collapse", **TRAPPED_WORD, **DIVERGED_WORD},
    _end,
    in_unit_interval=True,
    has_init=False,
)
