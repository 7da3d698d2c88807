"""The page over a grid: what varies, the map of it, a table of cells, and a short section for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.grid import (
    NAMES,
    UNUSUAL,
    median_text,
    phases_sentence,
    summarise_cell,
    symbol,
    value_text,
    values_text,
)
from dglib.analysis.grid_figures import draw_grid
from dglib.analysis.style import styled
from dglib.analysis.summary import Summary
from dglib.analysis.wording import NONE
from dglib.experiments import get, joints
from dglib.experiments.figures import save_figure
from dglib.files import write_atomically
from dglib.report.collect import Found, GridCell, GridCollection
from dglib.report.limits import limits
from dglib.report.page import DWELL_CAPTION, ENLARGED, LAG_READING, environment, overview
from dglib.report.parts import Table, link_to, picture, seed_table
from dglib.report.provenance import same_in_all

DWELL = "epochs_per_level"
MAX_DWELLS = 6
MAX_NAMED = 12  # cells in a sentence
RESULTS = "grid_results.csv"
_MAP_READING = (
    "In each cell, the median over its seeds, which its shade repeats, and how many seeds came to which end."
    " Of a threshold the median is known by its bounds: between two levels, or beyond one (> or <). Thick"
    " lines part cells in which half of the seeds came to different ends, or passed them. Values lie at"
    " equal distances, whatever they are."
)
_CURVE_READING = (
    "Above, each mark is a seed, and the broad line joins the medians. An arrowhead stands for a value of"
    " which only a bound is known: it lies beyond. Below, the share of the seeds that came to each end."
    " Values lie at equal distances, whatever they are."
)
_TOO_MANY = "More combinations than maps would hold: see the table."


def render_grid(collection: GridCollection, target: Path) -> str:
    """The page as one HTML document. Links are relative to `target`, where it will lie."""
    return environment().get_template("grid.html.j2").render(_content(collection, target), whole=True)


def write_figures(collection: GridCollection) -> list[Path]:
    """The table of cells as a CSV in the grid's directory, and each experiment's figure as PNG and PDF."""
    every, written = [], list[Path]()
    for experiment in collection.index.experiments:
        cells = [cell.cell for cell in collection.of(experiment)]
        every += [summarise_cell(cell) for cell in cells]
        if (figure := draw_grid(cells)) is not None:
            written += save_figure(figure, collection.base / "figures", f"grid_{experiment}")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(results(every))
    write_atomically(collection.base / RESULTS, text.getvalue().encode())
    return [collection.base / RESULTS, *written]


def results(cells: Sequence[Summary]) -> list[list[Any]]:
    """Head and rows of plain numbers, for a CSV: shares with both ends of their intervals."""
    names, parts = list(cells[0]["values"]), ("count", "share", "lower", "upper")
    kinds = list(dict.fromkeys(kind for item in cells for kind in get(item["experiment"]).measure.all_kinds))
    head = ["experiment", *names, "planned", "n", "running", "phase", "median_lower", "median_upper"]
    rows = [[*head, *(f"{kind}_{part}" for kind in kinds for part in parts)]]
    for item in cells:
        row = [item["experiment"], *(value_text(item["values"][name]) for name in names)]
        row += [item["planned"], item["n"], item["running"], item["phase"]]
        row += [item["median"]["lower"], item["median"]["upper"]]
        for kind in kinds:
            share = item["shares"].get(kind, {})
            row += [item["counts"].get(kind), *(share.get(part) for part in parts[1:])]
        rows.append(row)
    return rows


def cell_table(cells: Sequence[Summary]) -> Table:
    """A row per cell of one experiment, in the grid's order. Shares: count, and the 95 % interval."""
    measure = get(cells[0]["experiment"]).measure
    kinds, unusual = measure.all_kinds, (*UNUSUAL, *measure.unusual)
    shown = [kind for kind in kinds if kind not in unusual or any(item["counts"][kind] for item in cells)]
    head = [
        *(symbol(name) for name in cells[0]["values"]),
        "Seeds",
        *(kinds[kind].capitalize() for kind in shown),
        f"Median {measure.symbol}" + ("" if measure.field else " lies"),
    ]
    rows = [
        [
            *(value_text(value) for value in item["values"].values()),
            _seeds(item),
            *(_share(item, kind) for kind in shown),
            median_text(item) if item["n"] else NONE,
        ]
        for item in cells
    ]
    return Table(head, rows)


def _seeds(cell: Summary) -> str:
    text = f"{cell['n']} of {cell['planned']}" if cell["n"] < cell["planned"] else str(cell["n"])
    return f"{text}, {cell['running']} under way" if cell["running"] else text


def _share(cell: Summary, kind: str) -> str:
    """ "3 (0.19 to 0.99)": how many seeds, and the interval of their share."""
    if not cell["n"]:
        return NONE
    ends = " to ".join(wording.decimal(cell["shares"][kind][end]) for end in ("lower", "upper"))
    return f"{cell['counts'][kind]} ({ends})"


def _content(collection: GridCollection, target: Path) -> dict[str, Any]:
    index = collection.index
    cells = {name: [summarise_cell(cell.cell) for cell in collection.of(name)] for name in index.experiments}
    symbols = wording.listing([get(name).symbol for name in index.experiments])
    widths, dwells = _dwells(collection)
    phases = [phases_sentence(get(n).symbol, get(n).measure, item) for n, item in cells.items()]
    return {
        "title": f"{index.name}: {symbols} over {' × '.join(symbol(name) for name in index.axes)}",
        "overview": _overview(collection),
        "questions": [(get(name).symbol, get(name).grid_question) for name in index.experiments],
        "varies": [
            (f"{NAMES[name]} ({name})" if name in NAMES else name, ", ".join(map(value_text, values)))
            for name, values in index.axes.items()
        ],
        "same": same_in_all(collection),
        "answers": [*widths, *phases],
        "waiting": _waiting(collection),
        "figures": [*dwells, *_maps(collection)],
        "tables": [(get(name).symbol, cell_table(item)) for name, item in cells.items()],
        "cells": _sections(collection, target),
        "left_out": collection.left_out,
        "limits": limits(collection.found, collection.damaged, unit="cell"),
        "damaged": collection.damaged,
        "files": [link_to(path, target) for path in [collection.base / RESULTS] if path.is_file()],
        "ends_reading": "",
    }


def _overview(collection: GridCollection) -> str:
    cells = collection.cells
    done = sum(bool(cell.found and cell.found.records) for cell in cells)
    whole = sum(len(cell.found.records) >= len(cell.asked.seeds) for cell in cells if cell.found)
    state = "all finished" if whole == len(cells) else f"{done} with finished seeds, {whole} finished"
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return f"{count}, {state}. {overview(collection.found)}"


def _maps(collection: GridCollection) -> list[dict[str, Any]]:
    """Each experiment's map or curve, or why there is none; how to read them is below the last."""
    drawn = []
    *leading, last = collection.index.axes
    names = " and ".join(map(symbol, [*leading[-1:], last]))
    for experiment in collection.index.experiments:
        about = get(experiment)
        figure = draw_grid([cell.cell for cell in collection.of(experiment)])
        median = f"median {about.measure.symbol}"
        known = median if about.measure.field else f"bounds of the {median}"
        caption = f"{about.symbol}: {known} and ends of the seeds, by {names}"
        reading = _MAP_READING if leading else _CURVE_READING
        final = experiment == collection.index.experiments[-1]
        words = (reading if final else "") if figure else _TOO_MANY
        shown = picture(figure, caption) if figure else None
        drawn.append({"title": f"{about.symbol} by {names}", "picture": shown, "reading": words})
    return drawn


def _dwells(collection: GridCollection) -> tuple[list[str], list[dict[str, Any]]]:
    """Findings against dwell time in words and figures, for each combination of the other parameters."""
    axes = collection.index.axes
    others = {name: values for name, values in axes.items() if name != DWELL}
    groups = [dict(zip(others, group, strict=True)) for group in product(*others.values())]
    if DWELL not in axes or len(groups) > MAX_DWELLS:
        return [], []
    answers, drawn = list[str](), list[dict[str, Any]]()
    for joint, group in product(joints(), groups):
        records = [_records(collection.of(name), group) for name in joint.experiments]
        lag = joint.lag(*records)
        if lag is None:
            continue
        with styled():
            figure = joint.draw_lag(*records)
        words, where = joint.lag_words(lag), values_text(group)
        answers.append(f"At {where}: {words}" if where else words)
        title = f"Width against dwell time{f' at {where}' if where else ''}"
        shown = picture(figure, DWELL_CAPTION, ENLARGED)
        drawn.append({"title": title, "picture": shown, "reading": ""})
    if drawn:
        drawn[-1]["reading"] = LAG_READING
    return answers, drawn


def _records(cells: Sequence[GridCell], where: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        record
        for cell in cells
        if cell.found and all(cell.asked.values[name] == value for name, value in where.items())
        for record in cell.found.records
    ]


def _sections(collection: GridCollection, target: Path) -> list[dict[str, Any]]:
    """By directory, so that a width is with the two sweeps it is between."""
    sections = []
    for directory in dict.fromkeys(cell.asked.directory for cell in collection.cells):
        mine = [cell for cell in collection.cells if cell.asked.directory == directory]
        found = [cell.found for cell in mine if cell.found]
        answers = [get(item.experiment).words(item.summary).short for item in found if item.records]
        there = {item.experiment: item.records for item in reversed(found) if item.records}
        for joint in joints():
            if there.keys() >= set(joint.experiments):
                answers.append(joint.answer(*(there[name] for name in joint.experiments)))
        links = [link_to(path, target) for item in found for path in _files(item)]
        tables = [seed_table(item) for item in found]
        name = values_text(mine[0].asked.values)
        answers = answers or ["No seed has finished."]
        sections.append({"name": name, "answers": answers, "tables": tables, "links": links})
    return sections


def _files(found: Found) -> list[Path]:
    return [*found.results, *sorted((found.directory / "figures").glob("*.png"))]


def _waiting(collection: GridCollection) -> list[str]:
    begun, not_begun = [], []
    for cell in collection.cells:
        values = values_text(cell.asked.values)
        several = bool(get(cell.asked.experiment).sweeps)
        name = f"{cell.asked.experiment} at {values}" if several else values
        if cell.found is None:
            not_begun.append(name)
        elif len(cell.found.records) < len(cell.asked.seeds):
            asked = wording.seeds(len(cell.asked.seeds))
            begun.append(f"{name} ({len(cell.found.records)} of {asked} finished)")
    groups = (("Not finished", begun), ("Not begun", not_begun))
    return [f"{what}: {_some(names)}." for what, names in groups if names]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMED
    return "; ".join([*names[:MAX_NAMED], *([f"and {rest} more"] if rest > 0 else [])])
