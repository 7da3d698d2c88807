"""From the words of `run_all.py` to plans that are checked, before anything is written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dglib.base_dir import base_directory
from dglib.campaign.grid import Grid, load_grid
from dglib.campaign.jobs import Plan, anchored
from dglib.errors import UserError
from dglib.experiments import default_names, load, requested_numerics
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import override_layer, profile_layer
from dglib.experiments.validation import Layer, model_of, source, validate_layers
from dglib.runs.identity import TECHNIQUES
from dglib.runs.location import RunLocation

OPTIONS = ("seeds", "base_dir", "device", "mirror")  # that are parameters of every experiment


@dataclass(frozen=True)
class Campaign:
    """All that one command asks for.

    Attributes:
        plans: of the experiments, or of a grid's cells.
        place: of the base directory.
        grid: whose cells the plans are, or None.
    """

    plans: list[Plan]
    place: RunLocation
    grid: Grid | None = None


def campaign(arguments: argparse.Namespace, command: Sequence[str] = ()) -> Campaign:
    """The campaign that the arguments ask for, its experiments as they stand there, a grid's cells in order.

    Args:
        command: what was typed, for the runs' manifests.

    Raises:
        UserError: one line on what is wrong.
    """
    own = [name for source in arguments.experiment_file for name in load(source)]
    found = _experiments(arguments, own) if arguments.grid is None else _cells(arguments)
    for plan in found.plans:
        plan.command = list(command)
        given = plan.parameters
        _check_machine(given if arguments.cluster is None else _for_workers(given, arguments.cluster))
    return found


def _experiments(arguments: argparse.Namespace, own: Sequence[str]) -> Campaign:
    chosen: Sequence[str] = arguments.only or own or default_names()
    for name in chosen:
        model_of(name)
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--only {' '.join(chosen)}: each experiment once")
    _refuse_homeless(arguments.set, chosen)
    plans, places = [], []
    for name in chosen:
        layers = [profile_layer(name, arguments.profile or "quick"), *_overrides(name, arguments.set)]
        layers += _options(arguments)
        parameters = validate_layers(name, layers)
        place = RunLocation.of(parameters, source("base_dir", layers).where)
        places.append(place)
        plans.append(Plan(anchored(parameters, place.base), place.work))
    for bases in ({each.base.absolute() for each in places}, {each.work.absolute() for each in places}):
        if len(bases) > 1:
            raise UserError(
                f"base_dir = {' and '.join(sorted(map(str, bases)))}: must be one for all experiments"
            )
    return Campaign(plans, place)


def _cells(arguments: argparse.Namespace) -> Campaign:
    for name, given in (("--only", arguments.only), ("--profile", arguments.profile)):
        if given is not None:
            raise UserError(f"{name}: is said by the grid's file; leave it out beside --grid")
    overrides = [override_layer(text)._replace(where=f"--set {text}") for text in arguments.set]
    layers = [*overrides, *_options(arguments)]
    grid = load_grid(arguments.grid, layers)
    first = grid.cells[0].parameters
    base = base_directory(first.base_dir, where=source("base_dir", layers).where if layers else "")
    place = RunLocation.of(first)
    plans = []
    for cell in grid.cells:
        below = Path(grid.directory_name, cell.directory)
        places = {"base_dir": str(base / below), "work_dir": str(place.work / below)}
        parameters = anchored(cell.parameters.model_copy(update=places), base / below)
        work = RunLocation.of(parameters).work
        plans.append(Plan(parameters, work, home=place.work, cell=cell.name))
    return Campaign(plans, place, grid)


def _options(arguments: argparse.Namespace) -> list[Layer]:
    given = {name: getattr(arguments, name) for name in OPTIONS}
    return [
        Layer(f"--{name.replace('_', '-')}", {name: value})
        for name, value in given.items()
        if value is not None
    ]


def _overrides(experiment: str, settings: Sequence[str]) -> list[Layer]:
    """The --set values meant for an experiment: `EXPERIMENT.name=value`, or a name that it has."""
    layers = []
    for text in settings:
        (name, value), where = next(iter(override_layer(text).values.items())), f"--set {text}"
        owner, dot, field = name.rpartition(".")
        if (dot and owner == experiment) or (not dot and field in model_of(experiment).model_fields):
            layers.append(Layer(where, {field: value}))
    return layers


def _refuse_homeless(settings: Sequence[str], chosen: Sequence[str]) -> None:
    """A name that none of the chosen experiments has is a mistake; validation tells it best."""
    for text in settings:
        name = next(iter(override_layer(text).values))
        owner, dot, _ = name.rpartition(".")
        if dot and owner not in chosen:
            raise UserError(f"--set {text}: {owner!r} is not among the experiments {', '.join(chosen)}")
        if not dot and not any(name in model_of(each).model_fields for each in chosen):
            validate_layers(chosen[0], [profile_layer(chosen[0], "quick"), override_layer(text)])


def _check_machine(parameters: Parameters) -> None:
    """Device, data set, network and noise; torch is imported only for what is not surely there."""
    here = parameters.device in ("auto", "cpu") and parameters.dataset == "digits"
    usual = requested_numerics(parameters).keys() <= {"device", "threads", "exact"}
    known = parameters.network in ("small_cnn", "vgg11_bn") and parameters.noise == "symmetric"
    if here and usual and known:
        return
    from dglib.experiments.running import check

    check(parameters)


def _for_workers(parameters: Parameters, cluster: str) -> Parameters:
    """The parameters without what only another machine can tell whether it has it."""
    device = parameters.device
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"--cluster {cluster}: device = {device!r}: must be auto, cpu or cuda: a worker sees one GPU"
        )
    if parameters.seeds_at_once > 1:
        raise UserError(
            f"--cluster {cluster}: seeds_at_once = {parameters.seeds_at_once}: a worker does one job at a"
            " time; ask for more workers"
        )
    if cluster.startswith("local:"):
        return parameters
    free = dict.fromkeys(("device", *TECHNIQUES), "auto")
    return parameters.model_copy(update={**free, "exact": False})
