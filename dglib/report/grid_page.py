"""The page over a grid: what varies, the map of it, a table of cells, and a short section for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.grid_wording import NAMES, phases_sentence, symbol, value_text
from dglib.analysis.phase_diagram import summarise_cell
from dglib.experiments import Joint, get, joints
from dglib.experiments.figures import draw_grid, draw_lag, save_figure
from dglib.files import write_atomically
from dglib.report import texts
from dglib.report.collect import Collection, Found
from dglib.report.grid_collect import GridCell, GridCollection
from dglib.report.grid_facts import same_in_all
from dglib.report.grid_tables import cell_table, results
from dglib.report.limits import limits
from dglib.report.page import Link, environment, link_to, overview
from dglib.report.pictures import Picture, picture
from dglib.report.tables import Table, seed_table

DWELL = "epochs_per_level"
MAX_DWELLS = 6
MAX_NAMED = 12  # cells in a sentence
RESULTS = "grid_results.csv"


@dataclass(frozen=True)
class Drawn:
    """A figure and how to read it; without a picture, why there is none."""

    title: str
    picture: Picture | None
    reading: str


@dataclass(frozen=True)
class CellSection:
    """One cell in short."""

    name: str
    answers: list[str]
    tables: list[Table]
    links: list[Link]


def render_grid(collection: GridCollection, target: Path) -> str:
    """The page as one HTML document. Links are relative to `target`, where it will lie."""
    return environment().get_template("grid.html.j2").render(_content(collection, target))


def write_figures(collection: GridCollection) -> list[Path]:
    """The table of cells as a CSV beside the index, and each experiment's figure as PNG and PDF."""
    every, written = [], list[Path]()
    for experiment in collection.index.experiments:
        cells = [cell.records for cell in collection.of(experiment)]
        every += [summarise_cell(cell) for cell in cells]
        if (figure := draw_grid(cells)) is not None:
            written += save_figure(figure, collection.base / "figures", f"grid_{experiment}")
    columns, rows = results(every)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_atomically(collection.base / RESULTS, text.getvalue().encode())
    return [collection.base / RESULTS, *written]


def _content(collection: GridCollection, target: Path) -> dict[str, Any]:
    index, told = collection.index, {}
    for experiment in index.experiments:
        told[experiment] = [summarise_cell(cell.records) for cell in collection.of(experiment)]
    symbols = wording.listing([get(name).symbol for name in index.experiments])
    read = [(each, get(each.experiment).summarise(each.records)) for each in collection.found]
    widths, dwells = _dwells(collection)
    under = Collection(collection.base, collection.found, collection.damaged)
    return {
        "title": f"{index.name}: {symbols} over {' × '.join(symbol(name) for name in index.axes)}",
        "overview": _overview(collection),
        "questions": [(get(name).symbol, get(name).grid_question) for name in index.experiments],
        "varies": [
            (_axis_name(name), ", ".join(map(value_text, values))) for name, values in index.axes.items()
        ],
        "same": same_in_all(collection),
        "answers": [
            *widths,
            *(phases_sentence(get(n).symbol, get(n).measure, each) for n, each in told.items()),
        ],
        "waiting": _waiting(collection),
        "figures": [*dwells, *_maps(collection)],
        "tables": [(get(name).symbol, cell_table(each)) for name, each in told.items()],
        "sections": _sections(collection, target),
        "left_out": collection.left_out,
        "limits": limits(under, read, unit="cell") if read else [],
        "damaged": collection.damaged,
        "files": [link_to(path, target) for path in [collection.base / RESULTS] if path.is_file()],
        "table_reading": texts.GRID_TABLE_READING,
        "columns": texts.COLUMNS,
    }


def _overview(collection: GridCollection) -> str:
    cells = collection.cells
    done = sum(bool(cell.found and cell.found.records) for cell in cells)
    whole = sum(len(cell.found.records) >= len(cell.asked.seeds) for cell in cells if cell.found)
    state = "all finished" if whole == len(cells) else f"{done} with finished seeds, {whole} finished"
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return f"{count}, {state}. {overview(collection.found)}"


def _axis_name(name: str) -> str:
    return f"{NAMES[name]} ({name})" if name in NAMES else name


def _maps(collection: GridCollection) -> list[Drawn]:
    """Each experiment's map or curve; how to read them stands below the last."""
    drawn = []
    for experiment in collection.index.experiments:
        figure = draw_grid([cell.records for cell in collection.of(experiment)])
        *leading, last = collection.index.axes
        names = " and ".join(map(symbol, [*leading[-1:], last]))
        title = f"{get(experiment).symbol} by {names}"
        measure = get(experiment).measure
        median = f"median {measure.symbol}"
        told = f"bounds of the {median}" if measure.bounded else median
        caption = f"{get(experiment).symbol}: {told} and ends of the seeds"
        shown = picture(figure, f"{caption}, by {names}") if figure else None
        words = texts.GRID_MAP_READING if leading else texts.GRID_CURVE_READING
        final = experiment == collection.index.experiments[-1]
        drawn.append(Drawn(title, shown, (words if final else "") if shown else texts.GRID_TOO_MANY))
    return drawn


def _dwells(collection: GridCollection) -> tuple[list[str], list[Drawn]]:
    """Findings against dwell time in words and figures, for each combination of the other parameters."""
    answers, drawn = list[str](), list[Drawn]()
    for joint in joints():
        for told, records in _dwell_groups(joint, collection):
            shown = picture(draw_lag(joint.key, *records), texts.DWELL_CAPTION, 1.45)
            words = joint.lag_answer(*records)
            answers.append(f"At {told}: {words}" if told else words)
            drawn.append(Drawn(f"Width against dwell time{f' at {told}' if told else ''}", shown, ""))
    if drawn:
        drawn[-1] = replace(drawn[-1], reading=texts.LAG_READING)
    return answers, drawn


def _dwell_groups(
    joint: Joint, collection: GridCollection
) -> Iterator[tuple[str, list[list[Mapping[str, Any]]]]]:
    """The records with several dwell times, by what else the grid crosses, in words."""
    axes = collection.index.axes
    others = [name for name in axes if name != DWELL]
    groups = list(product(*(axes[name] for name in others)))
    if DWELL not in axes or len(groups) > MAX_DWELLS:
        return
    for group in groups:
        where = dict(zip(others, group, strict=True))
        records = [_records(collection.of(name), where) for name in joint.experiments]
        if joint.lag_differs(*records) is not None:
            yield ", ".join(f"{symbol(name)} = {value_text(value)}" for name, value in where.items()), records


def _records(cells: Sequence[GridCell], where: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        record
        for cell in cells
        if cell.found and all(cell.asked.values[name] == value for name, value in where.items())
        for record in cell.found.records
    ]


def _sections(collection: GridCollection, target: Path) -> list[CellSection]:
    """By directory, so that a width stands with the two sweeps it is between."""
    sections = []
    for directory in dict.fromkeys(cell.asked.directory for cell in collection.cells):
        mine = [cell for cell in collection.cells if cell.asked.directory == directory]
        found = [cell.found for cell in mine if cell.found]
        answers = [_answer(each) for each in found if each.records]
        there = {each.experiment: each.records for each in reversed(found) if each.records}
        for joint in joints():
            if there.keys() >= set(joint.experiments):
                answers.append(joint.answer(*(there[name] for name in joint.experiments)))
        name = ", ".join(f"{symbol(n)} = {value_text(v)}" for n, v in mine[0].asked.values.items())
        tables = [seed_table(each, get(each.experiment).summarise(each.records)) for each in found]
        links = [link_to(path, target) for each in found for path in _files(each)]
        sections.append(CellSection(name, answers or [texts.GRID_NOTHING], tables, links))
    return sections


def _answer(found: Found) -> str:
    about = get(found.experiment)
    return about.cell_answer(about.answer(found.records))


def _waiting(collection: GridCollection) -> list[str]:
    """The cells that are not done, by name; those without any seed of their own last."""
    begun, not_begun = [], []
    for cell in collection.cells:
        name, done = _cell_name(cell), len(cell.found.records) if cell.found else 0
        if cell.found is None:
            not_begun.append(name)
        elif done < len(cell.asked.seeds):
            begun.append(f"{name} ({done} of {wording.seeds(len(cell.asked.seeds))} finished)")
    told = (("Not finished", begun), ("Not begun", not_begun))
    return [f"{what}: {_some(names)}." for what, names in told if names]


def _some(names: Sequence[str]) -> str:
    shown = list(names[:MAX_NAMED])
    rest = len(names) - len(shown)
    return "; ".join([*shown, *([f"and {rest} more"] if rest else [])])


def _cell_name(cell: GridCell) -> str:
    values = ", ".join(f"{symbol(name)} = {value_text(value)}" for name, value in cell.asked.values.items())
    several = bool(get(cell.asked.experiment).sweeps)
    return f"{cell.asked.experiment} at {values}" if several else values


def _files(found: Found) -> list[Path]:
    return [*found.results, *sorted((found.directory / "figures").glob("*.png"))]
