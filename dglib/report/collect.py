"""The contents of a directory: runs with records and manifests, the cells of a grid, and damaged files.

A grid's directory has an index, ``grid.json``: the crossed parameters and every cell with its directory,
seeds and the fingerprint of its runs. From it, cells that have not begun are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dglib.analysis.answer import Answer
from dglib.analysis.grid import Cell
from dglib.analysis.summary import Summary
from dglib.errors import UserError
from dglib.experiments import Experiment, get, names
from dglib.files import to_json
from dglib.protocol.records import Record
from dglib.runs.directories import INDEX, runs_in, unread_below
from dglib.runs.identity import asked, fingerprint, manifests, read_manifest
from dglib.runs.reading import Source, read_run


@dataclass(frozen=True)
class Found:
    """One experiment's records in one run directory.

    Attributes:
        manifest: what the run was made under; empty where there is none, as in published folders.
        heartbeats: of seeds that have begun and have no record.
    """

    experiment: str
    directory: Path
    records: tuple[Record, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    heartbeats: tuple[Mapping[str, Any], ...] = ()
    group: str = ""  # of another program's records, see `dglib.runs.directories.Translated`

    @property
    def name(self) -> str:
        """The run directory, with the group."""
        name = self.directory.absolute().name
        return f"{name}, {self.group}" if self.group else name

    @property
    def about(self) -> Experiment:
        return get(self.experiment)

    @cached_property
    def summary(self) -> Summary:
        return self.about.summarise(self.records)

    @cached_property
    def answer(self) -> Answer:
        return self.about.answer_of(self.summary)

    @property
    def parameters(self) -> dict[str, Any]:
        """As the manifest has them, else the first record that states any; empty for published files."""
        if self.manifest:
            return dict(self.manifest["parameters"])
        return next((dict(r["parameters"]) for r in self.records if r.get("parameters")), {})

    @property
    def results(self) -> list[Path]:
        paths = (self.directory / f"{self.about.prefix}_results.{kind}" for kind in ("json", "csv"))
        return [path for path in paths if path.is_file()]


@dataclass(frozen=True)
class GridCell:
    """One experiment at one combination of values, and its run.

    Attributes:
        directory: below the grid's directory.
        run: what `run_of` gives for its manifests.
        found: None before it has begun.
    """

    experiment: str
    name: str
    directory: str
    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    run: str
    found: Found | None = None

    @property
    def records(self) -> Sequence[Record]:
        return self.found.records if self.found else ()

    @property
    def cell(self) -> Cell:
        experiment, found = get(self.experiment), self.found
        summary = found.summary if found else experiment.summarise(())
        running = len(found.heartbeats) if found else 0
        planned = max(len(self.seeds), len(self.records) + running)
        return Cell(self.experiment, experiment.measure, self.values, summary, planned, running)


@dataclass
class Collection:
    """All of a directory.

    Attributes:
        found: by experiment, the oldest run first.
        damaged: a line per file that could not be read.
        skipped: a line for each file or directory that was left aside.
    """

    base: Path
    found: list[Found] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def of(self, experiment: str) -> list[Found]:
        return [item for item in self.found if item.experiment == experiment]


@dataclass
class Grid(Collection):
    """A grid's directory as it was last run.

    Attributes:
        axes: the crossed parameters with their values.
        cells: in their order; `found` are their runs.
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


def collect(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory, or a grid's directory; changes nothing.

    A run in a cell's directory that was made under other parameters than the grid's is left out by name, as
    are directories that the grid does not name.

    Raises:
        UserError: there is no such directory, no run in it of which anything could be read, or a grid's index
            is damaged.
    """
    if (grid := _read_index(base)) is not None:
        _collect_cells(grid)
        return grid
    try:
        collection = collect_runs(base)
    except UserError as error:
        grids = sorted(path.parent.name for path in base.glob(f"*/{INDEX}"))
        if not grids:
            raise
        raise UserError(f"{error}; grids lie in {', '.join(grids)} there: name one's directory") from None
    if not collection.found:
        unread = [*collection.damaged, *collection.skipped]
        first, more = unread[:1], len(unread) - 1
        why = f"; {first[0]}" + (f" (and {more} more like it)" if more > 0 else "") if first else ""
        raise UserError(f"{base}: no records there{why}")
    return collection


def collect_runs(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory, also where none could be read.

    Raises:
        UserError: there is no such directory, or no run in it.
    """
    collection = Collection(base)
    runs = runs_in(base)
    for directory in runs:
        run = read_run(directory)
        collection.damaged += run.damaged
        collection.skipped += run.strangers
        collection.found += runs_of(directory, run.sources, collection.damaged, collection.skipped)
    collection.skipped += unread_below(base, runs)
    collection.found.sort(key=lambda item: (names().index(item.experiment), item.directory.name, item.group))
    return collection


def run_of(manifest: Mapping[str, Any]) -> str:
    """What identifies a manifest's run but for its data, which only a run itself has read."""
    return fingerprint(asked(manifest))


def _read_index(base: Path) -> Grid | None:
    path = base / INDEX
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        cells = [GridCell(**{**cell, "seeds": tuple(cell["seeds"])}) for cell in content["cells"]]
        axes = {str(name): tuple(values) for name, values in content["axes"].items()}
        if not cells or not axes or any(list(cell.values) != list(axes) for cell in cells):
            raise ValueError("cells must have a value of each crossed parameter")
        return Grid(base, name=str(content["grid"]), axes=axes, cells=cells)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable index of a grid ({type(error).__name__}: {error})") from None


def _collect_cells(grid: Grid) -> None:
    there: dict[str, Collection] = {}
    for directory in dict.fromkeys(cell.directory for cell in grid.cells):
        try:
            there[directory] = collect_runs(grid.base / directory)
        except UserError:  # no directory yet, or nothing in it
            there[directory] = Collection(grid.base / directory)
        grid.damaged += [line for line in there[directory].damaged if line not in grid.damaged]
    cells, grid.cells = grid.cells, []
    for cell in cells:
        runs = there[cell.directory].of(cell.experiment)
        mine = [item for item in runs if item.manifest and run_of(item.manifest) == cell.run]
        newest = max(mine, key=lambda item: item.directory.name, default=None)
        grid.cells.append(replace(cell, found=newest))
        grid.found += [newest] if newest else []
    taken = {(item.directory, item.experiment) for item in grid.found}
    others = {
        str(item.directory.relative_to(grid.base))
        for runs in there.values()
        for item in runs.found
        if (item.directory, item.experiment) not in taken
    }
    strangers = {path.name for path in grid.base.iterdir() if path.is_dir() and "=" in path.name}
    grid.left_out = sorted(others | (strangers - there.keys()))


def runs_of(
    directory: Path, sources: Sequence[Source], damaged: list[str], left_out: list[str]
) -> list[Found]:
    """The runs in a directory, from its records; those without any have a manifest.

    Args:
        damaged: gets a line for each manifest and record that cannot be used.
        left_out: gets a line for each experiment that cannot be.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for path in manifests(directory):
        try:
            made_under = read_manifest(path)
            known[made_under["experiment"]] = made_under
        except UserError as error:
            damaged.append(str(error))
    records: dict[tuple[str, str], list[Record]] = {(name, ""): [] for name in names() if name in known}
    for source in sorted(sources, key=lambda source: source.seed):
        records.setdefault((source.experiment, source.group), []).append(dict(source.record))
    found = []
    for (name, group), mine in records.items():
        run = Found(name, directory, tuple(mine), group=group)
        if not group:
            beats = _heartbeats(directory, name, {record["seed"] for record in mine})
            run = replace(run, manifest=known.get(name, {}), heartbeats=tuple(beats))
        found += _usable(run, damaged, left_out)
    return found


def _usable(run: Found, damaged: list[str], left_out: list[str]) -> list[Found]:
    """The run without records that cannot be computed with; nothing where none can."""
    if not _fault(run):
        return [run]
    faults = [_fault(replace(run, records=(record,))) for record in run.records]
    rest = replace(run, records=tuple(r for r, why in zip(run.records, faults, strict=True) if not why))
    if fault := ("" if rest.records else next(filter(None, faults), "")) or _fault(rest):
        left_out.append(f"{run.directory}: {run.experiment} is left out: {fault}")
        return []
    named = zip(run.records, faults, strict=True)
    where = f"{run.directory}: {run.experiment}"
    damaged += [f"{where} seed {record['seed']} not read: {why}" for record, why in named if why]
    return [rest]


def _fault(run: Found) -> str:
    """Why a run's records cannot be computed with; empty if they can."""
    try:
        to_json(dict(run.summary))
        run.answer.text()
    except UserError as error:  # of a user's own experiment
        return str(error)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        return f"its fields are not those of a record ({type(error).__name__}: {error})"
    return ""


def _heartbeats(directory: Path, experiment: str, finished: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Of unfinished seeds. A file that is missing or torn is left out: they are hints only."""
    found = list[Mapping[str, Any]]()
    for path in sorted((directory / "heartbeats").glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            beat = dict(json.loads(path.read_bytes()))
            if beat.get("experiment") == experiment and beat.get("seed") not in set(finished):
                found.append(beat)
    return found
