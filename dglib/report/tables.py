"""A table of seeds for each experiment: what became of each, and on what it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dglib.analysis.cells import NONE
from dglib.analysis.diagnostics import skipped_steps
from dglib.analysis.fields import number
from dglib.experiments import get
from dglib.protocol.records import Record
from dglib.report.collect import Found
from dglib.runs.progress import duration


@dataclass(frozen=True)
class Table:
    """Column heads and rows of as many cells, all text; the seed comes first."""

    head: list[str]
    rows: list[list[str]]


def seed_table(found: Found, summary: Mapping[str, Any]) -> Table:
    """A row per record, and one for each seed that has begun and not ended.

    `summary` is what the experiment's `summarise` gave for the records.
    """
    head, rows = get(found.experiment).seed_table(found.records, summary)
    told = _told(found.records)
    tail = [*told, "Time", "Computed on", "Bit for bit"]
    rows = [
        [*row, *(column[index] for column in told.values()), *_made(found.records[index])]
        for index, row in enumerate(rows)
    ]
    outcome = head.index("Outcome")
    for beat in found.heartbeats:
        row = [NONE] * (len(head) + len(tail))
        row[0] = str(beat.get("seed", NONE))
        row[outcome] = (
            f"not finished: epoch {beat.get('epochs_done', '?')} of {beat.get('epochs_planned', '?')}"
        )
        rows.append(row)
    return Table([*head, *tail], rows)


def _told(records: Sequence[Record]) -> dict[str, list[str]]:
    """Columns that most runs do not need: skipped steps and why a seed diverged, where any seed has them."""
    columns = {}
    counts = [skipped_steps(record) for record in records]
    if any(counts):
        columns["Skipped steps"] = [NONE if count is None else str(count) for count in counts]
    reasons = [record.get("reason") for record in records]
    if any(reasons):
        columns["Reason"] = [str(reason) if reason else NONE for reason in reasons]
    return columns


def _made(record: Record) -> list[str]:
    time, stretches = number(record, "time"), record.get("numerics") or ()
    on = [f"{s.get('device_name', s.get('device', '?'))}, {s.get('precision', '?')}" for s in stretches]
    bits = {True: "yes", False: "no", None: NONE}[record.get("bitwise")]
    return [NONE if time is None else duration(time), "; then ".join(dict.fromkeys(on)) or NONE, bits]
