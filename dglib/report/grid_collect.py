"""What lies in a grid directory: of each cell, the runs that the grid asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dglib.analysis.phase_diagram import CellRecords
from dglib.errors import UserError
from dglib.experiments import get
from dglib.report.collect import Collection, Found, collect_whatever
from dglib.report.grid_index import Index, IndexedCell, read_index, run_of


@dataclass(frozen=True)
class GridCell:
    """A cell as it was asked for, and what is there of it; `found` is None before its first run."""

    asked: IndexedCell
    found: Found | None

    @property
    def records(self) -> CellRecords:
        """For the analysis."""
        found = self.found
        return CellRecords(
            self.asked.experiment,
            get(self.asked.experiment).measure,
            self.asked.values,
            found.records if found else (),
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
        """The cells of one experiment."""
        return [cell for cell in self.cells if cell.asked.experiment == experiment]

    @property
    def found(self) -> list[Found]:
        """All runs that belong to the grid."""
        return [cell.found for cell in self.cells if cell.found is not None]


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
        mine = [each for each in there[cell.directory].found if _is_of(each, cell)]
        newest = max(mine, key=lambda each: each.directory.name, default=None)
        collection.cells.append(GridCell(cell, newest))
        taken |= {(newest.directory, cell.experiment)} if newest else set()
    others = {
        str(each.directory.relative_to(base))
        for runs in there.values()
        for each in runs.found
        if (each.directory, each.experiment) not in taken
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


def _is_of(found: Found, cell: IndexedCell) -> bool:
    return (
        found.experiment == cell.experiment
        and found.manifest is not None
        and run_of(found.manifest) == cell.run
    )
