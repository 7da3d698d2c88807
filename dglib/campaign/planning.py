"""From the options of `dglib campaign` to checked plans and a backend, before anything is written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dglib.base_dir import base_directory
from dglib.campaign.gpus import worker_environments
from dglib.campaign.grid import Grid, load_grid
from dglib.campaign.jobs import Plan, anchored
from dglib.campaign.local import LocalBackend
from dglib.campaign.scheduler import Backend
from dglib.errors import UserError
from dglib.experiments import default_names, get, requested_numerics
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import (
    meant_for,
    model_of,
    option_layers,
    profile_layer,
    refuse_strays,
    source,
    validate_layers,
)
from dglib.runs.identity import NUMERICS, TECHNIQUES
from dglib.runs.location import RunLocation


@dataclass(frozen=True)
class Campaign:
    """All jobs of one command.

    Attributes:
        plans: of the experiments, or of a grid's cells.
        location: of the base directory.
        backend: runs the jobs, started when it is entered.
        at_once: how many jobs at a time, from 1; None where only a cluster's scheduler has the number.
        sharing: whether several at a time share a GPU, if they use one.
        grid: whose cells the plans are, or None.
    """

    plans: list[Plan]
    location: RunLocation
    backend: Backend
    at_once: int | None
    sharing: bool = False
    grid: Grid | None = None


def plan_campaign(arguments: argparse.Namespace) -> Campaign:
    """The campaign that the options ask for, its experiments in their order there, a grid's cells in order.

    Raises:
        UserError: one line on what is wrong.
    """
    grid = None
    if arguments.grid is None:
        plans, location = _experiments(arguments)
    else:
        plans, location, grid = _cells(arguments)
    checked: set[str] = set()
    for plan in plans:
        plan.command = list(arguments.typed)
        given = plan.parameters
        _check_machine(
            given if arguments.cluster is None else _for_cluster(given, arguments.cluster), checked
        )
    return Campaign(plans, location, *_backend(arguments, plans, location), grid)


def _experiments(arguments: argparse.Namespace) -> tuple[list[Plan], RunLocation]:
    chosen: Sequence[str] = arguments.only or getattr(arguments, "own", ()) or default_names()
    for name in chosen:
        model_of(name)
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--only {' '.join(chosen)}: each experiment once")
    options, profile = option_layers(arguments), arguments.profile or "quick"
    refuse_strays(options, chosen)
    plans, locations = [], []
    for name in chosen:
        layers = [profile_layer(name, profile), *meant_for(name, options)]
        parameters = validate_layers(name, layers)
        location = RunLocation.of(parameters, source("base_dir", layers).where)
        locations.append(location)
        plans.append(Plan(anchored(parameters, location.base), location.work, profile=profile))
    for bases in ({each.base.absolute() for each in locations}, {each.work.absolute() for each in locations}):
        if len(bases) > 1:
            found = " and ".join(sorted(map(str, bases)))
            raise UserError(f"base_dir = {found}: must be one for all experiments")
    return plans, location


def _cells(arguments: argparse.Namespace) -> tuple[list[Plan], RunLocation, Grid]:
    for name, given in (("--only", arguments.only), ("--profile", arguments.profile)):
        if given is not None:
            raise UserError(f"{name}: is given by the grid's file; leave it out with --grid")
    layers = option_layers(arguments)
    grid = load_grid(arguments.grid, layers)
    first = grid.cells[0].parameters
    base = base_directory(first.base_dir, where=source("base_dir", layers).where if layers else "")
    location = RunLocation.of(first)
    plans = []
    for cell in grid.cells:
        below = Path(grid.directory_name, cell.directory)
        paths = {"base_dir": str(base / below), "work_dir": str(location.work / below)}
        parameters = anchored(cell.parameters.model_copy(update=paths), base / below)
        work = RunLocation.of(parameters).work
        plans.append(Plan(parameters, work, home=location.work, cell=cell.name))
    return plans, location, grid


def _check_machine(parameters: Parameters, checked: set[str]) -> None:
    """Device, data set, network, noise and rules; what another plan has in common is checked once.

    torch is imported only for what is not surely there.
    """
    p = parameters
    resnet = p.network in ("resnet18", "resnet34") and p.network_width == 1 and find_spec("torchvision")
    network = p.network in ("small_cnn", "vgg11_bn") or bool(resnet)
    usual = requested_numerics(p).keys() <= {"device", "threads", "exact"} and p.device in ("auto", "cpu")
    rules = (p.noise, p.mix, p.value, p.metrics) == ("symmetric", "normalised", "clean", [])
    if network and usual and rules and p.dataset in ("digits", "cifar10"):
        return
    names = "dataset data_dir network network_width noise batch_size mix value metrics two_pass_statistics"
    same = repr([getattr(p, name, None) for name in (*names.split(), *NUMERICS)])
    if same not in checked:
        from dglib.experiments.checks import check

        check(get(p.experiment).spec(p), p)
        checked.add(same)


def _for_cluster(parameters: Parameters, cluster: str) -> Parameters:
    """The parameters without what only another machine can check."""
    device = parameters.device
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"--cluster {cluster}: device = {device!r}: must be auto, cpu or cuda: a worker sees one GPU"
        )
    if parameters.seeds_at_once > 1:
        raise UserError(
            f"--cluster {cluster}: seeds_at_once = {parameters.seeds_at_once}: a worker runs one job at a"
            " time; ask for more workers"
        )
    free = dict.fromkeys(("device", *TECHNIQUES), "auto")
    return parameters.model_copy(update={**free, "exact": False})


def _backend(
    arguments: argparse.Namespace, plans: Sequence[Plan], location: RunLocation
) -> tuple[Any, int | None, bool]:
    """The backend, how many jobs it runs at a time, and whether several share a GPU."""
    if arguments.cluster is None:
        environments = worker_environments(arguments.workers, arguments.gpus, plans)
        sharing = any(environments.count(each) > 1 for each in environments)
        return LocalBackend(environments), len(environments), sharing
    for name, given in (("--gpus", arguments.gpus), ("--workers", arguments.workers)):
        if given is not None:
            raise UserError(f"{name} {given}: the cluster has its own number of workers; leave it out")
    if location.mirrored:
        raise UserError(
            f"--cluster {arguments.cluster}: needs a base directory that all machines see, no mirror"
        )
    from dglib.campaign.cluster import ClusterBackend, cluster_of

    cluster = cluster_of(arguments.cluster)
    return ClusterBackend(cluster, sorted({plan.home for plan in plans})), cluster.workers, False
