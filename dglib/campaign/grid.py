"""Grids: an experiment run at every combination of values, each combination in a directory of its own.

    experiment: Td1            # or experiments: [T1, T2]
    profile: quick             # default
    seeds: 0-3                 # default: the profile's
    set: {init_epochs: 12}     # single values that replace the profile's
    grid:                      # lists of values, crossed; the last name varies fastest
      noise_rate: [0.2, 0.4]
      init_lambda: [0.35, 0.50, 0.65]

Runs lie in ``<base>/<grid.directory_name>/<cell.directory>/``, as they would in a base directory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path

from dglib.campaign.jobs import anchored
from dglib.errors import StorageError, UserError
from dglib.experiments import build_spec, names, requested_numerics
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import (
    PARAMS,
    Layer,
    file_layer,
    meant_for,
    one_of,
    profile_layer,
    refuse_strays,
    validate_layers,
)
from dglib.files import to_json, write_atomically
from dglib.report.grid_index import NAME
from dglib.runs.identity import NUMERICS, describe, fingerprint, is_identity

MAX_CELLS = 1000
_KEYS = ("experiment", "experiments", "profile", "seeds", "set", "grid")
_LONGEST = 80  # characters of a directory's name, besides the digest that a cut one gets


@dataclass(frozen=True)
class Cell:
    """One experiment at one combination of values; `parameters` are valid, and say for which seeds it runs.

    Attributes:
        name: "noise_rate=0.2,init_lambda=0.5", the values that are crossed.
        directory: the same as a file name; cells of two experiments at the same values share it.
        values: the crossed parameters' values by name.
    """

    name: str
    directory: str
    parameters: Parameters
    values: Mapping[str, object]

    @property
    def experiment(self) -> str:
        return self.parameters.experiment


@dataclass(frozen=True)
class Grid:
    """What a grid file asks for.

    Attributes:
        name: the file's, without suffix.
        axes: the crossed parameters with their values, in the file's order.
        cells: every combination, the last axis varying fastest, of one experiment after the other in each.
    """

    name: str
    path: Path
    experiments: tuple[str, ...]
    axes: Mapping[str, tuple[object, ...]]
    cells: list[Cell]

    @property
    def directory_name(self) -> str:
        """Of the directory, below the base directory, that holds the cells'."""
        return f"grid_{_file_name(self.name)}"


def load_grid(path: str | Path, layers: Sequence[Layer] = ()) -> Grid:
    """Read a grid file, all of its cells checked; nothing is written.

    Args:
        path: the file, or the name of one in ``params/grids``.
        layers: options, which replace the values of the file. A name is that of every experiment that has it,
            or EXPERIMENT.name for one.

    Raises:
        UserError: one line that names the file (or option), the name, the value and the rule.
    """
    file = _found(Path(path))
    where, content, _ = file_layer(file)
    for key in content:
        if key not in _KEYS:
            raise UserError(f"{where}: {key} = {content[key]!r}: must be {one_of(_KEYS)}")
    experiments = _experiments(where, content)
    crossed = _crossed(where, content.get("grid"))
    cells = prod(len(values) for values in crossed.values()) * len(experiments)
    if cells > MAX_CELLS:
        sizes = " × ".join(str(len(values)) for values in (*crossed.values(), experiments))
        raise UserError(f"{where}: grid: {sizes} = {cells} cells: must be at most {MAX_CELLS}")
    fixed = [*_fixed(where, content), *layers]
    for experiment in experiments:
        refuse_strays([Layer(where, crossed)], [experiment])
    refuse_strays(fixed, experiments)
    for layer in fixed:
        for name, value in layer.values.items():
            if name.rpartition(".")[2] in crossed:
                raise UserError(f"{layer.where}: {name} = {value!r}: is crossed by the grid of {where}")
    profile = content.get("profile", "quick")
    if not isinstance(profile, str):
        raise UserError(f"{where}: profile = {profile!r}: must be text")
    try:
        below = {name: [profile_layer(name, profile), *meant_for(name, fixed)] for name in experiments}
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return _grid(file, where, experiments, crossed, below)


def _grid(
    file: Path,
    where: str,
    experiments: Sequence[str],
    crossed: Mapping[str, Sequence[object]],
    below: Mapping[str, Sequence[Layer]],
) -> Grid:
    axes: dict[str, dict[int, object]] = {name: {} for name in crossed}
    cells, known = [], dict[str, Cell]()
    for places in product(*(range(len(values)) for values in crossed.values())):
        asked = {name: crossed[name][place] for name, place in zip(crossed, places, strict=True)}
        for experiment in experiments:
            parameters = _validated(experiment, below[experiment], Layer(where, asked))
            values = {name: getattr(parameters, name) for name in crossed}
            for name, place in zip(crossed, places, strict=True):
                _add(where, axes[name], name, place, values[name])
            label = _label(values)
            cell = Cell(label, _file_name(label), parameters, values)
            if (twin := known.setdefault(_run(parameters), cell)) is not cell:
                raise UserError(f"{where}: grid: {cell.name} = the run of {twin.name}: each must be another")
            cells.append(cell)
    found = {name: tuple(values.values()) for name, values in axes.items()}
    return Grid(file.stem, file, tuple(experiments), found, cells)


def shown(value: object) -> str:
    """A value as a cell's name has it: 0.5, true, null, [16,26]."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    return str(value)


def _validated(experiment: str, below: Sequence[Layer], asked: Layer) -> Parameters:
    try:
        return validate_layers(experiment, [*below, asked])
    except UserError as error:
        if not str(error).startswith(f"{below[0].where}: "):
            raise
        # A profile's value is wrong with one of this cell's: name the cell.
        raise UserError(f"{asked.where}: grid: {_label(asked.values)}: {error}") from None


def _label(values: Mapping[str, object]) -> str:
    return ",".join(f"{name}={shown(value)}" for name, value in values.items())


def _add(where: str, known: dict[int, object], name: str, place: int, value: object) -> None:
    """Note an axis's value at its place; the same value at another place is a mistake."""
    for other, before in known.items():
        if other != place and before == value:
            raise UserError(f"{where}: grid.{name} = {shown(value)}: must be there once")
    known.setdefault(place, value)


def _run(parameters: Parameters) -> str:
    """What two cells have in common if they are the same run."""
    spec = build_spec(parameters.experiment, parameters)
    return fingerprint(describe(spec, "", **requested_numerics(parameters)))


def _found(path: Path) -> Path:
    if path.is_file() or path.suffix or path.name != str(path):
        return path
    grids = sorted(each.stem for each in (PARAMS / "grids").glob("*.yaml"))
    if path.name in grids:
        return PARAMS / "grids" / f"{path.name}.yaml"
    raise UserError(f"grid = {path.name!r}: must be {one_of([*grids, 'a path'])}")


def _experiments(where: str, content: Mapping[str, object]) -> list[str]:
    if ("experiment" in content) == ("experiments" in content):
        raise UserError(f"{where}: must have either experiment ({one_of(names())}) or a list of experiments")
    if "experiment" in content:
        chosen: object = [content["experiment"]]
    else:
        chosen = content["experiments"]
    if not isinstance(chosen, list) or not chosen:
        raise UserError(f"{where}: experiments = {chosen!r}: must be a list of {one_of(names())}")
    for name in chosen:
        if not isinstance(name, str) or name not in names():
            raise UserError(f"{where}: experiment = {name!r}: must be {one_of(names())}")
        if chosen.count(name) > 1:
            raise UserError(f"{where}: experiments = {chosen!r}: each must be there once")
    return chosen


def _crossed(where: str, grid: object) -> dict[str, Sequence[object]]:
    if not isinstance(grid, dict) or not grid:
        raise UserError(f"{where}: grid = {grid!r}: must hold lines of the form name: [value, value]")
    for name, values in grid.items():
        if not isinstance(name, str):
            raise UserError(f"{where}: grid.{name!r}: a parameter's name must be text")
        if not isinstance(values, list):
            rule = "must be a list of values; a single one stands under set"
            raise UserError(f"{where}: grid.{name} = {values!r}: {rule}")
        if not values:
            raise UserError(f"{where}: grid.{name} = []: must hold at least one value")
        if name == "seeds":
            raise UserError(f"{where}: grid.seeds = {values!r}: must stand beside grid: every cell has all")
        if not is_identity(name) and name not in NUMERICS:
            rule = "changes no run, so that its cells would be the same; must stand under set"
            raise UserError(f"{where}: grid.{name} = {values!r}: {rule}")
    return grid


def _fixed(where: str, content: Mapping[str, object]) -> list[Layer]:
    values = content.get("set")
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UserError(f"{where}: set = {values!r}: must hold lines of the form name: value")
    if "seeds" in values:
        raise UserError(f"{where}: set.seeds = {values['seeds']!r}: must stand beside set")
    seeds = [Layer(where, {"seeds": content["seeds"]})] if "seeds" in content else []
    return [Layer(where, values), *seeds]


def write_index(grid: Grid, base: Path) -> Path:
    """Write ``grid.json`` with all cells into the grid's directory below `base`. Returns that directory."""
    cells = [
        {
            "experiment": cell.experiment,
            "name": cell.name,
            "directory": cell.directory,
            "values": dict(cell.values),
            "seeds": cell.parameters.seeds,
            "run": _run(anchored(cell.parameters, base)),
        }
        for cell in grid.cells
    ]
    directory = base / grid.directory_name
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(directory, error) from error
    write_atomically(
        directory / NAME, to_json({"grid": grid.name, "axes": grid.axes, "cells": cells}, indent=1)
    )
    return directory


def _file_name(text: str) -> str:
    """The text as a file name that is safe anywhere; where that changes it, a digest keeps names apart."""
    safe = re.sub(r"[^a-z0-9_.,=+-]", "_", text.lower())[:_LONGEST].strip(".")
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
