"""A grid's cells with their runs, and the page over them: the map, a table of cells, each in short.

A grid's directory has an index, ``grid.json``: the crossed parameters and every cell with its directory,
seeds and the fingerprint of its runs. From it, cells that have not begun are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer
from dglib.analysis.grid import (
    NAMES,
    UNUSUAL,
    Cell,
    parameter_name,
    phases_line,
    symbol,
    value_text,
    values_text,
)
from dglib.analysis.grid_figures import draw_grid
from dglib.analysis.wording import NONE
from dglib.errors import UserError
from dglib.experiments import get, joints
from dglib.experiments.figures import save_figure
from dglib.files import to_csv, write_atomically
from dglib.report.facts import caveats, same_in_all
from dglib.report.parts import (
    LAG_READING,
    Block,
    Table,
    lag_shown,
    link_to,
    overview,
    picture,
    seed_table,
)
from dglib.report.runs import Collection, ExperimentRun, collect_runs
from dglib.runs.directories import INDEX
from dglib.runs.identity import asked, fingerprint

RESULTS = "grid_results.csv"
_DWELL = "epochs_per_level"
_MAX_DWELLS = 6
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
_TABLE_READING = (
    "For each end: how many seeds came to it and, in brackets, the 95 % interval of their share among such"
    " seeds (Clopper and Pearson)."
)


@dataclass(frozen=True)
class GridCell(Cell):
    """One experiment at one combination of values, and its run.

    Attributes:
        directory: below the grid's directory.
        asked: the seeds asked for.
        run: None before it has begun.
    """

    directory: str = ""
    asked: tuple[int, ...] = ()
    run: ExperimentRun | None = None


@dataclass
class Grid(Collection):
    """A grid's directory as it was last run.

    Attributes:
        axes: the crossed parameters with their values.
        cells: in their order; `runs` are theirs.
        left_out: runs and directories that are not the grid's, by name.
    """

    name: str = ""
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    cells: list[GridCell] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(cell.experiment for cell in self.cells))

    def cells_of(self, experiment: str) -> list[GridCell]:
        return [cell for cell in self.cells if cell.experiment == experiment]


def read_grid(base: Path) -> Grid | None:
    """The grid of a directory; None where it is none's.

    A run in a cell's directory that was made under other parameters than the grid's is left out by name, as
    are directories that the grid does not name.

    Raises:
        UserError: the index is damaged.
    """
    path = base / INDEX
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        axes = {str(name): tuple(values) for name, values in content["axes"].items()}
        fields = ("experiment", "directory", "values", "seeds", "run")
        wanted = [tuple(cell[name] for name in fields) for cell in content["cells"]]
        if not wanted or not axes or any(list(values) != list(axes) for _, _, values, *_ in wanted):
            raise ValueError("cells must have a value of each crossed parameter")
        grid = Grid(base, name=str(content["grid"]), axes=axes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable index of a grid ({type(error).__name__}: {error})") from None
    there: dict[str, Collection] = {}
    for _, directory, *_ in wanted:
        if directory not in there:
            with suppress(UserError):  # no directory yet, or nothing in it
                there[directory] = collect_runs(base / directory)
            there.setdefault(directory, Collection(base / directory))
            grid.damaged += there[directory].damaged
    for experiment, directory, values, seeds, digest in wanted:
        runs = there[directory].of(experiment)
        # What identifies a run but for its data, which only a run itself has read.
        candidates = [item for item in runs if item.manifest and fingerprint(asked(item.manifest)) == digest]
        run = max(candidates, key=lambda item: item.directory.name, default=None)
        measure, summary = get(experiment).measure, run.summary if run else get(experiment).summarise(())
        running, done = (len(run.heartbeats), len(run.records)) if run else (0, 0)
        planned = max(len(seeds), done + running)
        cell = (experiment, measure, values, summary, planned, running)
        grid.cells.append(GridCell(*cell, directory, tuple(seeds), run))
        grid.runs += [run] if run else []
    taken = {(item.directory, item.experiment) for item in grid.runs}
    others = {
        str(item.directory.relative_to(base))
        for collection in there.values()
        for item in collection.runs
        if (item.directory, item.experiment) not in taken
    }
    strangers = {path.name for path in base.iterdir() if path.is_dir() and "=" in path.name}
    grid.left_out = sorted(others | (strangers - there.keys()))
    return grid


# ── the page ──


def _results(cells: Sequence[Cell]) -> str:
    """A CSV of plain numbers: shares with both ends of their intervals."""
    rows = []
    for cell in cells:
        lower, upper = cell.median.pair
        row: dict[str, Any] = {"experiment": cell.experiment}
        row |= {name: value_text(value) for name, value in cell.values.items()}
        row |= {"planned": cell.planned, "n": cell.n, "running": cell.running, "phase": cell.phase}
        row |= {"median_lower": lower, "median_upper": upper}
        for kind, count in cell.counts.items():
            share = (count / cell.n, *cell.interval(kind).pair) if cell.n else (None, None, None)
            parts = zip(("count", "share", "lower", "upper"), (count, *share), strict=True)
            row |= {f"{kind}_{part}": number for part, number in parts}
        rows.append(row)
    return to_csv(rows, dict.fromkeys(name for row in rows for name in row))


def content(grid: Grid, target: Path, write: bool = False) -> dict[str, Any]:
    """The sections of the page; links are relative to `target`.

    Args:
        write: whether the table of cells is written as a CSV into the grid's directory, and the figures too.
    """
    cells = {name: grid.cells_of(name) for name in grid.experiments}
    if write:
        every = [cell for members in cells.values() for cell in members]
        write_atomically(grid.base / RESULTS, _results(every).encode())
    several = len(cells) > 1
    dwells, dwell_figures = _dwells(grid)
    phases = {name: phases_line(get(name).symbol, get(name).measure, own) for name, own in cells.items()}
    answers = (*dwells, *map(Answer, phases.values()))
    came: list[Block] = [("answer", ("", answer.html())) for answer in answers]
    figures = [*dwell_figures, *_maps(grid, phases, cells, write)]
    for title, *blocks in figures:
        came += [*([title] if len(figures) > 1 else []), *blocks]

    tables: list[Block] = []
    for name, members in cells.items():
        tables += [*([("h3", get(name).symbol)] if several else []), ("table", _cell_table(members))]
    tables.append(("soft", _TABLE_READING))
    if (results := grid.base / RESULTS).is_file():
        tables.append(("links", ("The same as numbers: ", [link_to(results, target)])))

    varies = [
        (f"{parameter_name(name)} ({name})" if name in NAMES else name, ", ".join(map(value_text, values)))
        for name, values in grid.axes.items()
    ]
    questions = [(f"{get(name).symbol}.", get(name).grid_question) for name in cells]
    about: list[Block] = [("list", questions), ("facts", varies), ("h4", "The same in every cell")]
    about.append(("facts", same_in_all(grid)))
    if grid.left_out:
        about.append(("p", f"Not of this grid as it was last run, and left out: {', '.join(grid.left_out)}."))
    symbols = wording.listing([get(name).symbol for name in cells])
    return {
        "title": f"{grid.name}: {symbols} over {' × '.join(map(symbol, grid.axes))}",
        "overview": _overview(grid),
        "damaged": grid.damaged,
        "sections": [
            ("What came out", came),
            ("The cells", tables),
            ("What varies, and what does not", about),
            ("Each cell in short", _in_short(grid, target)),
        ],
        "limits": caveats(grid.runs, grid.damaged, unit="cell"),
    }


def _cell_table(cells: Sequence[Cell]) -> Table:
    """A row per cell of one experiment, in the grid's order. Shares: count, and the 95 % interval."""
    measure = cells[0].measure
    kinds, unusual = measure.all_kinds, (*UNUSUAL, *measure.unusual)
    shown = [kind for kind in kinds if kind not in unusual or any(cell.counts[kind] for cell in cells)]
    head = [
        *(symbol(name) for name in cells[0].values),
        "Seeds",
        *(kinds[kind].capitalize() for kind in shown),
        f"Median {measure.symbol}" + ("" if measure.field else " lies"),
    ]
    rows = []
    for cell in cells:
        seeds = f"{cell.n} of {cell.planned}" if cell.n < cell.planned else str(cell.n)
        seeds += f", {cell.running} under way" if cell.running else ""
        row = [*map(value_text, cell.values.values()), seeds, *(_share(cell, kind) for kind in shown)]
        rows.append([*row, cell.median_text if cell.n else NONE])
    return head, rows


def _share(cell: Cell, kind: str) -> str:
    """ "3 (0.19 to 0.99)": how many seeds, and the interval of their share."""
    if not cell.n:
        return NONE
    interval = cell.interval(kind)
    limits = f"{wording.decimal(interval.lower)} to {wording.decimal(interval.upper)}"
    return f"{cell.counts[kind]} ({limits})"


def _overview(grid: Grid) -> str:
    counts = [(len(cell.run.records) if cell.run else 0, len(cell.asked)) for cell in grid.cells]
    done, whole = sum(n > 0 for n, _ in counts), sum(n >= planned for n, planned in counts)
    state = "all finished" if whole == len(grid.cells) else f"{done} with finished seeds, {whole} finished"
    count = "1 cell" if len(grid.cells) == 1 else f"{len(grid.cells)} cells"
    return f"{count}, {state}. {overview(grid.runs)}"


def _maps(
    grid: Grid, phases: Mapping[str, str], cells: Mapping[str, Sequence[Cell]], write: bool
) -> list[list[Block]]:
    """Each experiment's map or curve, or why there is none; how to read them is below the last."""
    drawn = list[list[Block]]()
    *leading, last = grid.axes
    by = " and ".join(map(symbol, [*leading[-1:], last]))
    for experiment, members in cells.items():
        about, figure, name = get(experiment), draw_grid(members), f"grid_{experiment}"
        blocks: list[Block] = [("h3", f"{about.symbol} by {by}")]
        if figure is None:
            blocks.append(("soft", _TOO_MANY))
        else:
            if write:
                save_figure(figure, grid.base / "figures", name)
            median = f"median {about.measure.symbol}"
            known = median if about.measure.field else f"bounds of the {median}"
            caption = f"{about.symbol}: {known} and ends of the seeds, by {by}"
            shown = picture(name, figure, caption, phases[experiment], _results(members))
            blocks.append(("figure", shown))
            if experiment == grid.experiments[-1]:
                blocks.append(("soft", _MAP_READING if leading else _CURVE_READING))
        drawn.append(blocks)
    return drawn


def _dwells(grid: Grid) -> tuple[list[Answer], list[list[Block]]]:
    """Findings against dwell time in words and figures, for each combination of the other parameters."""
    others = {name: values for name, values in grid.axes.items() if name != _DWELL}
    groups = [dict(zip(others, group, strict=True)) for group in product(*others.values())]
    if _DWELL not in grid.axes or len(groups) > _MAX_DWELLS:
        return [], []
    answers, drawn = list[Answer](), list[list[Block]]()
    for joint, group in product(joints(), groups):
        runs = [_runs(grid, name, group) for name in joint.experiments]
        records = [[record for run in members for record in run.records] for members in runs]
        lag = joint.lag(*records)
        if lag is None:
            continue
        (answer, shown), where = lag_shown(joint, lag, runs), values_text(group)
        at = f" at {where}" if where else ""
        answers.append(replace(answer, title=f"{answer.title}{at}"))
        drawn.append([("h3", f"Width against dwell time{at}"), ("figure", shown)])
    if drawn:
        drawn[-1].append(("soft", LAG_READING))
    return answers, drawn


def _runs(grid: Grid, experiment: str, where: Mapping[str, Any]) -> list[ExperimentRun]:
    return [
        cell.run
        for cell in grid.cells_of(experiment)
        if cell.run and all(cell.values[name] == value for name, value in where.items())
    ]


def _in_short(grid: Grid, target: Path) -> list[Block]:
    """By directory, so that a width is with the two sweeps it is between."""
    sections = list[Block]()
    for directory in dict.fromkeys(cell.directory for cell in grid.cells):
        members = [cell for cell in grid.cells if cell.directory == directory]
        runs = [cell.run for cell in members if cell.run]
        answers = [item.answer for item in runs if item.records]
        there = {item.experiment: item.records for item in reversed(runs) if item.records}
        for joint in joints():
            if there.keys() >= set(joint.experiments):
                answers.append(joint.answer(*(there[name] for name in joint.experiments)))
        blocks: list[Block] = [("answer", ("", answer.html())) for answer in answers]
        blocks = blocks or [("p", "No seed has finished.")]
        blocks += [("table", table) for item in runs if (table := seed_table(item))[1]]
        files = [
            link_to(path, target)
            for item in runs
            for path in (*item.results, *sorted((item.directory / "figures").glob("*.png")))
        ]
        blocks += [("links", ("", files))] if files else []
        sections.append(("details", (values_text(members[0].values), blocks)))
    return sections
