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
class GridCell(Cell):
    """One experiment at one combination of values, and its run.

    Attributes:
        directory: below the grid's directory.
        asked: the seeds asked for.
        found: None before it has begun.
    """

    directory: str = ""
    asked: tuple[int, ...] = ()
    found: Found | None = None


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
    if grid := _read_grid(base):
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


def _read_grid(base: Path) -> Grid | None:
    path = base / INDEX
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        axes = {str(name): tuple(values) for name, values in content["axes"].items()}
        fields = ("experiment", "directory", "values", "seeds", "run")
        asked = [tuple(cell[name] for name in fields) for cell in content["cells"]]
        if not asked or not axes or any(list(values) != list(axes) for _, _, values, *_ in asked):
            raise ValueError("cells must have a value of each crossed parameter")
        grid = Grid(base, name=str(content["grid"]), axes=axes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable index of a grid ({type(error).__name__}: {error})") from None
    there: dict[str, Collection] = {}
    for _, directory, *_ in asked:
        if directory not in there:
            with suppress(UserError):  # no directory yet, or nothing in it
                there[directory] = collect_runs(base / directory)
            there.setdefault(directory, Collection(base / directory))
            grid.damaged += there[directory].damaged
    for experiment, directory, values, seeds, run in asked:
        runs = there[directory].of(experiment)
        mine = [item for item in runs if item.manifest and run_of(item.manifest) == run]
        found = max(mine, key=lambda item: item.directory.name, default=None)
        measure, summary = get(experiment).measure, found.summary if found else get(experiment).summarise(())
        running, done = (len(found.heartbeats), len(found.records)) if found else (0, 0)
        planned = max(len(seeds), done + running)
        cell = (experiment, measure, values, summary, planned, running)
        grid.cells.append(GridCell(*cell, directory, tuple(seeds), found))
        grid.found += [found] if found else []
    taken = {(item.directory, item.experiment) for item in grid.found}
    others = {
        str(item.directory.relative_to(base))
        for runs in there.values()
        for item in runs.found
        if (item.directory, item.experiment) not in taken
    }
    strangers = {path.name for path in base.iterdir() if path.is_dir() and "=" in path.name}
    grid.left_out = sorted(others | (strangers - there.keys()))
    return grid


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
