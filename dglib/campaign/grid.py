"""Grids: an experiment run at every combination of values, each combination in a directory of its own.

    experiment: Td1            # or experiments: [T1, T2]
    profile: quick             # default
    seeds: 0-3                 # default: the profile's
    set: {init_epochs: 12}     # single values that replace the profile's
    grid:                      # lists of values, crossed; the last name varies fastest
      noise_rate: [0.2, 0.4]
      init_lambda: [0.35, 0.50, 0.65]

Run directories are in ``<base>/grid_<name of the file>/<cell>/``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dglib.campaign.jobs import Plan, anchored
from dglib.errors import UserError
from dglib.experiments import build_spec, names
from dglib.experiments.parameters import Parameters, Text
from dglib.experiments.profiles import (
    PARAMS,
    Layer,
    by_experiment,
    file_layer,
    one_of,
    profile_layer,
    source,
    validate_layers,
    validate_model,
)
from dglib.files import make_directory, to_json, write_atomically
from dglib.runs.directories import INDEX
from dglib.runs.identity import NUMERICS, describe, fingerprint, is_identity, requested_numerics
from dglib.runs.location import RunLocation

MAX_CELLS = 1000
_LONGEST = 80  # characters of a directory's name, without the digest that a cut one gets


@dataclass(frozen=True)
class Grid:
    """A grid file's content.

    Attributes:
        name: the file's, without suffix.
        axes: the crossed parameters with their values, in the file's order.
        location: of the base directory.
        plans: one for each cell: every combination, the last axis varying fastest, of each experiment.
    """

    name: str
    axes: Mapping[str, tuple[object, ...]]
    location: RunLocation
    plans: list[Plan]

    @property
    def directory(self) -> Path:
        """Holds the cells' directories; those of two experiments at the same values share one."""
        return self.location.local / _directory_name(self.name)


class GridFile(BaseModel):
    """The fields of a grid file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    experiment: Text | None = None
    experiments: Annotated[list[Text], Field(min_length=1)] | None = None
    profile: Text = "quick"
    seeds: Any = None
    set: dict[str, Any] | None = None
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    """Lists of values by name."""


def load_grid(path: str | Path, layers: Sequence[Layer] = ()) -> Grid:
    """Read a grid file and check all of its cells; nothing is written.

    Args:
        path: the file, or the name of one in ``params/grids``.
        layers: options, which replace the values of the file. A name is that of every experiment that has it,
            or EXPERIMENT.name for one.

    Raises:
        UserError: one line that names the file (or option), the name, the value and the rule.
    """
    path = Path(path)
    if not (path.is_file() or path.suffix or path.name != str(path)):
        grids = sorted(file.stem for file in (PARAMS / "grids").glob("*.yaml"))
        if path.name not in grids:
            raise UserError(f"grid = {path.name!r}: must be {one_of([*grids, 'a path'])}")
        path = PARAMS / "grids" / f"{path.name}.yaml"
    try:
        return _load(path, layers)
    except UserError as error:  # of a profile, or of an unknown experiment
        named = str(error).startswith((str(path), *(layer.where for layer in layers)))
        raise UserError(str(error) if named else f"{path}: {error}") from None


def _load(path: Path, layers: Sequence[Layer]) -> Grid:
    layer = file_layer(path)
    where, file = layer.where, validate_model(GridFile, [layer])
    if (file.experiment is None) == (file.experiments is None):
        raise UserError(f"{where}: must have either experiment ({one_of(names())}) or a list of experiments")
    experiments = file.experiments or [str(file.experiment)]
    if len(set(experiments)) < len(experiments):
        raise UserError(f"{where}: experiments = {experiments!r}: each once")
    sizes = [len(values) for values in (*file.grid.values(), experiments)]
    if (count := prod(sizes)) > MAX_CELLS:
        factors = " × ".join(map(str, sizes))
        raise UserError(f"{where}: grid: {factors} = {count} cells: must be at most {MAX_CELLS}")
    for experiment in experiments:
        by_experiment([Layer(where, file.grid)], [experiment])  # refuses a name that it does not have
    for name, value in file.grid.items():
        if not all(is_identity(name, one) for one in experiments) and name not in NUMERICS:
            rule = "changes no run, so that its cells would be the same; give it in set"
            raise UserError(f"{where}: grid.{name} = {value!r}: {rule}")
    seeds = {} if file.seeds is None else {"seeds": file.seeds}
    given = [Layer(where, {**(file.set or {}), **seeds}), *layers]
    below = by_experiment(given, experiments)
    for experiment in experiments:
        below[experiment].insert(0, profile_layer(experiment, file.profile))
    for option in given:
        for name, value in option.values.items():
            if name.rpartition(".")[2] in file.grid:
                raise UserError(f"{option.where}: {name} = {value!r}: is crossed by the grid of {where}")

    runs, checked = dict[str, str](), list[tuple[str, Parameters, dict[str, object]]]()
    for combination in product(*file.grid.values()):
        asked = Layer(where, dict(zip(file.grid, combination, strict=True)))
        for experiment in experiments:
            parameters = validate_layers(experiment, [*below[experiment], asked])
            values = {name: getattr(parameters, name) for name in file.grid}  # 1e-4 may have been text
            cell = ",".join(f"{name}={_shown(value)}" for name, value in values.items())
            if (run := _run(parameters)) in runs:
                raise UserError(f"{where}: grid: {cell} is the same run as {runs[run]}")
            runs[run] = cell
            checked.append((cell, parameters, values))
    location = RunLocation.of(checked[0][1], source("base_dir", given).where)
    plans = []
    for cell, parameters, values in checked:
        folder = Path(_directory_name(path.stem), _file_name(cell))
        paths = {"base_dir": str(location.base / folder), "work_dir": str(location.local / folder)}
        parameters = anchored(parameters.model_copy(update=paths), location.base / folder)
        plans.append(Plan(parameters, location.local / folder, home=location.local, cell=cell, values=values))
    axes = {name: {_shown(plan.values[name]): plan.values[name] for plan in plans} for name in file.grid}
    return Grid(path.stem, {name: tuple(values.values()) for name, values in axes.items()}, location, plans)


def _run(parameters: Parameters) -> str:
    """Fingerprint of the run, the same for two cells that are the same run."""
    spec = build_spec(parameters.experiment, parameters)
    return fingerprint(describe(spec, "", **requested_numerics(parameters)))


def _shown(value: object) -> str:
    """A value in a cell's name: 0.5, true, null, [16,26]."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return str(value)


def write_index(grid: Grid) -> Path:
    """Write ``grid.json`` with all cells into the grid's directory. Returns that directory."""
    cells = [
        {
            "experiment": plan.experiment,
            "name": plan.cell,
            "directory": plan.base.name,
            "values": dict(plan.values),
            "seeds": plan.parameters.seeds,
            "run": _run(plan.parameters),
        }
        for plan in grid.plans
    ]
    make_directory(grid.directory, parents=True)
    content = {"grid": grid.name, "axes": grid.axes, "cells": cells}
    write_atomically(grid.directory / INDEX, to_json(content, indent=1))
    return grid.directory


def _directory_name(name: str) -> str:
    return f"grid_{_file_name(name)}"


def _file_name(text: str) -> str:
    """The text as a file name that is safe anywhere; where that changes it, a digest keeps names apart."""
    safe = re.sub(r"[^a-z0-9_.,=+-]", "_", text.lower())[:_LONGEST].strip(".")
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
