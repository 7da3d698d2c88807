"""Grid directories made of synthetic records, without training, for the tests of their report."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from report_cases import open_with

from dglib.campaign.grid import Cell, Grid, load_grid, write_index
from dglib.experiments import build_spec
from dglib.runs import identity
from dglib.runs.store import Store

Record = dict[str, Any]


def grid_of(directory: Path, text: str) -> Grid:
    """The grid that a file of this text asks for."""
    path = directory / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return load_grid(path)


def fill(grid: Grid, base: Path, records: Callable[[Cell], Sequence[Record] | None]) -> Path:
    """The grid's directory, each cell with these records; None: its run has not begun."""
    directory = write_index(grid, base)
    for cell in grid.cells:
        made = records(cell)
        if made is not None:
            store_of(cell, directory, made)
    return directory


def store_of(cell: Cell, directory: Path, records: Sequence[Record]) -> Store:
    """The run of a cell, holding these records."""
    spec = build_spec(cell.experiment, cell.parameters)
    described = identity.describe(spec, "d1" * 32, **identity.requested_numerics(cell.parameters))
    rated = [record | {"eta": cell.parameters.noise_rate} for record in records]
    return open_with(directory / cell.directory, spec, described, rated)


def begin(store: Store, seed: int) -> None:
    """A seed that is under way."""
    beat = {"experiment": store.spec.name, "seed": seed, "epochs_done": 3, "epochs_planned": 8}
    store.files(seed).heartbeat.write_text(json.dumps(beat))
