"""The table of a grid's cells: what varies, what became of the seeds with intervals, and medians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dglib.analysis import wording
from dglib.analysis.cells import NONE
from dglib.analysis.grid_wording import median_text, symbol, value_text
from dglib.analysis.phase_diagram import UNUSUAL
from dglib.experiments import get
from dglib.report.tables import Table

Summary = Mapping[str, Any]


def cell_table(told: Sequence[Summary]) -> Table:
    """A row per cell of one experiment, in the grid's order. Shares: count, and the 95 % interval."""
    measure = get(told[0]["experiment"]).measure
    kinds, unusual = measure.all_kinds, (*UNUSUAL, *measure.unusual)
    shown = [kind for kind in kinds if kind not in unusual or any(each["counts"][kind] for each in told)]
    head = [
        *(symbol(name) for name in told[0]["values"]),
        "Seeds",
        *(kinds[kind].capitalize() for kind in shown),
        f"Median {measure.symbol}" + (" lies" if measure.bounded else ""),
    ]
    rows = [
        [
            *(value_text(value) for value in each["values"].values()),
            _seeds(each),
            *(_share(each, kind) for kind in shown),
            median_text(each) if each["n"] else NONE,
        ]
        for each in told
    ]
    return Table(head, rows)


def results(told: Sequence[Summary]) -> tuple[list[str], list[list[Any]]]:
    """The same as columns and rows of plain numbers, for a CSV: shares with both ends of their intervals."""
    names = list(told[0]["values"])
    parts = ("count", "share", "lower", "upper")
    every = list(dict.fromkeys(kind for each in told for kind in get(each["experiment"]).measure.all_kinds))
    columns = ["experiment", *names, "planned", "n", "running", "phase", "median_lower", "median_upper"]
    columns += [f"{kind}_{part}" for kind in every for part in parts]
    rows = []
    for each in told:
        ends = [each["median"]["lower"], each["median"]["upper"]]
        row = [each["experiment"], *(value_text(each["values"][name]) for name in names)]
        row += [each["planned"], each["n"], each["running"], each["phase"], *ends]
        for kind in every:
            share = each["shares"].get(kind, {})
            row += [each["counts"].get(kind), *(share.get(part) for part in parts[1:])]
        rows.append(row)
    return columns, rows


def _seeds(told: Summary) -> str:
    text = f"{told['n']} of {told['planned']}" if told["n"] < told["planned"] else str(told["n"])
    return f"{text}, {told['running']} under way" if told["running"] else text


def _share(told: Summary, kind: str) -> str:
    """ "3 (0.19 to 0.99)": how many seeds, and the interval of their share."""
    if not told["n"]:
        return NONE
    share = told["shares"][kind]
    ends = " to ".join(wording.decimal(share[end]) for end in ("lower", "upper"))
    return f"{told['counts'][kind]} ({ends})"
