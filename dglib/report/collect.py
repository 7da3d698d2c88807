"""The contents of a directory: runs with records and manifests, the cells of a grid, and damaged files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dglib.analysis.grid import Cell
from dglib.analysis.summary import Summary
from dglib.errors import UserError
from dglib.experiments import get, names
from dglib.protocol.records import Record
from dglib.report.grid_index import Index, IndexedCell, read_index, run_of
from dglib.runs.manifest import manifests, read_manifest
from dglib.runs.reading import read_run, runs_in


@dataclass(frozen=True)
class Found:
    """One experiment's records in one run directory.

    Attributes:
        manifest: what the run was made under; None where there is none, as in published folders.
        heartbeats: of seeds that have begun and have no record.
    """

    experiment: str
    directory: Path
    records: tuple[Record, ...]
    manifest: Mapping[str, Any] | None = None
    heartbeats: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def summary(self) -> Summary:
        return get(self.experiment).summarise(self.records)

    @property
    def parameters(self) -> dict[str, Any]:
        """As the manifest has them, else the first record that states any; empty for published files."""
        if self.manifest is not None:
            return dict(self.manifest["parameters"])
        return next((dict(r["parameters"]) for r in self.records if r.get("parameters")), {})

    @property
    def results(self) -> list[Path]:
        prefix = get(self.experiment).prefix
        paths = (self.directory / f"{prefix}_results.{kind}" for kind in ("json", "csv"))
        return [path for path in paths if path.is_file()]


@dataclass
class Collection:
    """All of a directory: `found` by experiment, the oldest run first; `damaged`: a line per file."""

    base: Path
    found: list[Found] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def of(self, experiment: str) -> list[Found]:
        return [item for item in self.found if item.experiment == experiment]


@dataclass(frozen=True)
class GridCell:
    """A cell as it was asked for, and its run; `found` is None before it has begun."""

    asked: IndexedCell
    found: Found | None

    @property
    def cell(self) -> Cell:
        experiment, found = get(self.asked.experiment), self.found
        return Cell(
            experiment.name,
            experiment.measure,
            self.asked.values,
            found.summary if found else experiment.summarise(()),
            planned=len(self.asked.seeds),
            running=len(found.heartbeats) if found else 0,
        )


@dataclass
class GridCollection:
    """A grid directory: its index, its cells in their order, damaged files, and runs left out by name."""

    base: Path
    index: Index
    cells: list[GridCell] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def of(self, experiment: str) -> list[GridCell]:
        return [cell for cell in self.cells if cell.asked.experiment == experiment]

    @property
    def found(self) -> list[Found]:
        return [cell.found for cell in self.cells if cell.found is not None]


def collect(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory; changes nothing.

    Raises:
        UserError: there is no such directory, or no run in it of which anything could be read.
    """
    collection = collect_whatever(base)
    if not collection.found:
        first, more = collection.damaged[:1], len(collection.damaged) - 1
        why = f"; {first[0]}" + (f" (and {more} more like it)" if more > 0 else "") if first else ""
        raise UserError(f"{base}: no records there{why}")
    return collection


def collect_whatever(base: Path) -> Collection:
    """As `collect`, also where no run could be read."""
    collection = Collection(base)
    for directory in runs_in(base):
        _collect_run(collection, directory)
    collection.found.sort(key=lambda item: (names().index(item.experiment), item.directory.name))
    return collection


def collect_grid(base: Path) -> GridCollection | None:
    """Read a grid directory; None where `base` is none. Changes nothing.

    A run in a cell's directory that was made under other parameters than the grid's is left out by name, as
    are directories that the grid does not name.

    Raises:
        UserError: the index is damaged.
    """
    index = read_index(base)
    if index is None:
        return None
    collection = GridCollection(base, index)
    there = {cell.directory: _cell_runs(base / cell.directory, collection.damaged) for cell in index.cells}
    taken: set[tuple[Path, str]] = set()
    for cell in index.cells:
        mine = [
            item
            for item in there[cell.directory].of(cell.experiment)
            if item.manifest is not None and run_of(item.manifest) == cell.run
        ]
        newest = max(mine, key=lambda item: item.directory.name, default=None)
        collection.cells.append(GridCell(cell, newest))
        taken |= {(newest.directory, cell.experiment)} if newest else set()
    others = {
        str(item.directory.relative_to(base))
        for runs in there.values()
        for item in runs.found
        if (item.directory, item.experiment) not in taken
    }
    strangers = {path.name for path in base.iterdir() if path.is_dir() and "=" in path.name} - there.keys()
    collection.left_out = sorted(others | strangers)
    return collection


def _cell_runs(directory: Path, damaged: list[str]) -> Collection:
    try:
        found = collect_whatever(directory)
    except UserError:  # no directory yet, or nothing in it
        return Collection(directory)
    damaged += [line for line in found.damaged if line not in damaged]
    return found


def _collect_run(collection: Collection, directory: Path) -> None:
    known: dict[str, Mapping[str, Any]] = {}
    for path in manifests(directory):
        try:
            made_under = read_manifest(path)
            known[made_under["experiment"]] = made_under
        except UserError as error:
            collection.damaged.append(str(error))
    run = read_run(directory)
    collection.damaged += run.damaged
    records: dict[str, list[Record]] = {}
    for source in sorted(run.sources, key=lambda source: source.seed):
        records.setdefault(source.experiment, []).append(dict(source.record))
    for name in names():
        mine, manifest = records.get(name, []), known.get(name)
        beats = _heartbeats(directory, name, {record.get("seed") for record in mine})
        if mine or manifest is not None:
            collection.found.append(Found(name, directory, tuple(mine), manifest, tuple(beats)))


def _heartbeats(directory: Path, experiment: str, finished: Iterable[Any]) -> list[Mapping[str, Any]]:
    beats = [_json(path) for path in sorted((directory / "heartbeats").glob("*.json"))]
    return [b for b in beats if b.get("experiment") == experiment and b.get("seed") not in set(finished)]


def _json(path: Path) -> dict[str, Any]:
    """A JSON object that is a hint only; empty where it is missing or torn."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
