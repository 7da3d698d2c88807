"""Tδ1's seeds as rows of a table, and its quantities on two sides."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from dglib.analysis import cells, wording
from dglib.analysis.differences import Row, ended, mean_row, of_seeds, share_row, time_row
from dglib.analysis.fields import Record, Records, entries, number
from dglib.experiments.trapping.classes import CLASS_NAMES, by_epoch, category, last_early_epoch
from dglib.experiments.trapping.signs_groups import settled

Summary = Mapping[str, Any]


def seed_table(records: Records, summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Where each seed ended, since when, and its early cosine."""
    last = last_early_epoch(records)
    head = ["Seed", "Outcome", "Final error", "Outcome settled from epoch", f"Mean c_sv, epochs 0 to {last}"]
    rows = []
    for seed, record in zip(summary["seeds"], records, strict=True):
        since = settled(record)
        early = [value for epoch, value in by_epoch(record, "c_sv").items() if epoch <= last]
        rows.append(
            [
                cells.seed(seed),
                cells.outcome(seed["category"], CLASS_NAMES),
                cells.error(seed["final_error"]),
                cells.NONE if since is None else str(since),
                wording.decimal(fmean(early), 3) if early else cells.NONE,
            ]
        )
    return head, rows


def columns(record: Record, stated: Mapping[str, float]) -> dict[str, Any]:
    """The class by the final error, under the seed's own limits or under those that are `stated`."""
    recorded = given if isinstance(given := record.get("category"), str) else None
    errors = entries(record, "error_trajectory")
    final = number(errors[-1], "error") if errors else number(record, "final_error")
    parameters = {**(record.get("parameters") or {}), **stated}
    name = category({**record, "parameters": parameters, "final_error": final})
    differs = recorded is not None and recorded != name
    return {
        "outcome": name,
        "recorded_outcome": recorded,
        "difference": f"category {recorded} on record, {name} by final error" if differs else None,
    }


def rows(one: tuple[Records, Summary], other: tuple[Records, Summary]) -> list[Row]:
    """The classes, the final error and the early cosine on two sides."""
    a, b = one[1], other[1]
    found = []
    for kind, name in CLASS_NAMES.items():
        counts = [(s["outcomes"][kind], ended(s)) for s in (a, b)]
        found.append(share_row(name, *counts))
    found.append(mean_row("final error", of_seeds(a, "final_error"), of_seeds(b, "final_error")))
    last = last_early_epoch(one[0])
    name = f"mean c_sv, epochs 0 to {last}"
    found.append(mean_row(name, _early(one[0], last), _early(other[0], last)))
    return [*found, time_row(one[0], other[0])]


def _early(records: Records, last: int) -> list[float]:
    """The mean c_sv up to an epoch of each seed that was logged."""
    early = [[v for epoch, v in by_epoch(record, "c_sv").items() if epoch <= last] for record in records]
    return [fmean(values) for values in early if values]
