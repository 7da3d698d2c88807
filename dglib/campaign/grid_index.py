"""The index of a grid, ``grid.json``, as it is written: the cells still to be run are known from it."""

from __future__ import annotations

from pathlib import Path

from dglib.campaign.grid import Grid
from dglib.campaign.jobs import anchored
from dglib.errors import StorageError
from dglib.experiments import build_spec, requested_numerics
from dglib.experiments.parameters import Parameters
from dglib.files import to_json, write_atomically
from dglib.report.grid_index import NAME
from dglib.runs.identity import describe, fingerprint


def write_index(grid: Grid, base: Path) -> Path:
    """Write what `grid` asks for into its directory below `base`, and return that directory."""
    directory = base / grid.directory_name
    cells = [
        {
            "experiment": cell.experiment,
            "name": cell.name,
            "directory": cell.directory,
            "values": dict(cell.values),
            "seeds": cell.parameters.seeds,
            "run": _run_asked_for(anchored(cell.parameters, base)),
        }
        for cell in grid.cells
    ]
    content = to_json({"grid": grid.name, "axes": grid.axes, "cells": cells}, indent=1)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(directory, error) from error
    write_atomically(directory / NAME, content)
    return directory


def _run_asked_for(parameters: Parameters) -> str:
    spec = build_spec(parameters.experiment, parameters)
    return fingerprint(describe(spec, "", **requested_numerics(parameters)))
