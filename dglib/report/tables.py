"""A table of seeds for each experiment: what became of each, and on what it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.diagnostics import skipped_steps
from dglib.analysis.reading import number, parameter
from dglib.analysis.states import final_state
from dglib.analysis.thresholds import DIRECTIONS, DOWN, UP
from dglib.experiments.trapping.classes import by_epoch, last_early_epoch
from dglib.experiments.trapping.signs_groups import settled
from dglib.heartbeats import duration
from dglib.records import Record
from dglib.report.collect import Found

NONE = "–"
_OUTCOMES = {
    "init_failed": "init failed",
    "unfinished": "not finished",
    "trapped_90": "trapped",
    "partial_collapse": "partial collapse",
}


@dataclass(frozen=True)
class Table:
    """Column heads and rows of as many cells, all text; the seed comes first."""

    head: list[str]
    rows: list[list[str]]


def seed_table(found: Found, summary: Mapping[str, Any]) -> Table:
    """A row per record, and one for each seed that has begun and not ended.

    `summary` is what `dglib.experiments.findings.summarise` gave for the records.
    """
    make = _v3 if found.experiment == "V3" else _td1 if found.experiment == "Td1" else _sweep
    head, rows = make(found, summary)
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


def _sweep(found: Found, summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    direction = DIRECTIONS[found.experiment]
    limits = [parameter(found.records, each.limit, each.default_limit) for each in (DOWN, UP)]
    loops = {each["seed"]: each for each in (summary.get("loop") or {}).get("seeds", ())}
    head = ["Seed", "Init error", "Outcome", f"{direction.symbol} lies", "State at the end", "Final error"]
    head[5:5] = ["λ↓ on the way back"] if loops else []
    head[2:2] = [] if direction.rising else ["State at the start"]
    rows = []
    for seed, record in zip(summary["seeds"], found.records, strict=True):
        row = [
            _seed(seed),
            _error(seed["init_error"]),
            f"no {direction.noun}" if seed["outcome"] == "no_event" else _outcome(seed["outcome"]),
            cell(seed["lower"], seed["upper"]),
            final_state(record, *limits) or NONE,
            _error(seed["final_error"]),
        ]
        row[5:5] = [_way_back(loops.get(seed["seed"]))] if loops else []
        row[2:2] = [] if direction.rising else [seed["start"] or NONE]
        rows.append(row)
    return head, rows


def _way_back(loop: Mapping[str, Any] | None) -> str:
    if loop is None:
        return NONE
    if loop["outcome"] == "open":
        return cell(None, loop["below"])
    down = loop["lambda_down"]
    return loop["outcome"] if down is None else wording.level(down)


def _v3(found: Found, summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    at = wording.level(summary["gap_lambda"])
    inits = [f"{branch} init error" for branch in ("Ordered", "Collapse")]
    head = ["Seed", *inits, "Outcome", f"Gap at λ = {at}", "Collapse branch began"]
    rows = [
        [
            _seed(seed),
            _error(seed["ordered_init"]),
            _error(seed["collapse_init"]),
            _outcome(seed["outcome"]),
            _error(seed["gap"]),
            seed["start"] or NONE,
        ]
        for seed in summary["seeds"]
    ]
    return head, rows


def _td1(found: Found, summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    last = last_early_epoch(found.records)
    head = ["Seed", "Outcome", "Final error", "Outcome settled from epoch", f"Mean c_sv, epochs 0 to {last}"]
    rows = []
    for seed, record in zip(summary["seeds"], found.records, strict=True):
        since = settled(record)
        early = [value for epoch, value in by_epoch(record, "c_sv").items() if epoch <= last]
        rows.append(
            [
                _seed(seed),
                _outcome(seed["category"]),
                _error(seed["final_error"]),
                NONE if since is None else str(since),
                wording.decimal(fmean(early), 3) if early else NONE,
            ]
        )
    return head, rows


def cell(lower: float | None, upper: float | None) -> str:
    """Where a threshold lies: "0.55 to 0.60", "above 0.70", or a dash where nothing is known."""
    if lower is None and upper is None:
        return NONE
    return wording.interval(lower, upper).removeprefix("between ").replace(" and ", " to ")


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


def _seed(seed: Mapping[str, Any]) -> str:
    return NONE if seed["seed"] < 0 else str(seed["seed"])


def _error(value: float | None) -> str:
    return NONE if value is None else wording.decimal(value, 3)


def _outcome(name: str) -> str:
    return _OUTCOMES.get(name, name)
