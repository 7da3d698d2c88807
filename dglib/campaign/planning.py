"""From the options of `dglib campaign` to checked plans, before anything is written."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dglib.base_dir import base_directory
from dglib.campaign.grid import Grid, load_grid
from dglib.campaign.jobs import Plan, anchored
from dglib.errors import UserError
from dglib.experiments import build_spec, default_names
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
from dglib.runs.identity import NUMERICS, TECHNIQUES, requested_numerics
from dglib.runs.location import RunLocation


@dataclass(frozen=True)
class Campaign:
    """All jobs of one command.

    Attributes:
        plans: of the experiments, or of a grid's cells.
        location: of the base directory.
        environments: variables of each worker process of this machine; None: the workers are a cluster's.
        grid: whose cells the plans are, or None.
    """

    plans: list[Plan]
    location: RunLocation
    environments: list[dict[str, str]] | None
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
        p = plan.parameters
        _check_machine(p if arguments.cluster is None else _for_cluster(p, arguments.cluster), checked)
    if arguments.cluster is not None:
        _check_cluster(arguments, location)
        return Campaign(plans, location, None, grid)
    environments = worker_environments(arguments.workers, arguments.gpus, plans, arguments.dry_run)
    return Campaign(plans, location, environments, grid)


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
        plans.append(Plan(anchored(parameters, location.base), location.local, profile=profile))
    for directories in (
        {each.base.absolute() for each in locations},
        {each.local.absolute() for each in locations},
    ):
        if len(directories) > 1:
            several = " and ".join(sorted(map(str, directories)))
            raise UserError(f"base_dir = {several}: must be one for all experiments")
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
        paths = {"base_dir": str(base / below), "work_dir": str(location.local / below)}
        parameters = anchored(cell.parameters.model_copy(update=paths), base / below)
        work = RunLocation.of(parameters).local
        plans.append(Plan(parameters, work, home=location.local, cell=cell.name))
    return plans, location, grid


def _check_machine(p: Parameters, checked: set[str]) -> None:
    """Check device, data set, network, noise and rules, once for all plans that have them in common.

    What needs no check is answered without torch, whose import takes seconds.
    """
    resnet = p.network in ("resnet18", "resnet34") and p.network_width == 1 and find_spec("torchvision")
    network = p.network in ("small_cnn", "vgg11_bn") or bool(resnet)
    usual = requested_numerics(p).keys() <= {"device", "threads", "exact"} and p.device in ("auto", "cpu")
    rules = (p.noise, p.mix, p.value, p.metrics) == ("symmetric", "normalised", "clean", [])
    if network and usual and rules and p.dataset in ("digits", "cifar10") and not p.tensorboard:
        return
    names = "dataset data_dir network network_width noise batch_size mix value metrics two_pass_statistics"
    same = repr([getattr(p, name, None) for name in (*names.split(), "tensorboard", *NUMERICS)])
    if same not in checked:
        from dglib.campaign.run import check

        check(build_spec(p.experiment, p), p)
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


def _check_cluster(arguments: argparse.Namespace, location: RunLocation) -> None:
    for name, value in (("--gpus", arguments.gpus), ("--workers", arguments.workers)):
        if value is not None:
            raise UserError(f"{name} {value}: the cluster has its own number of workers; leave it out")
    if location.mirrored:
        raise UserError(
            f"--cluster {arguments.cluster}: needs a base directory that all machines see, no mirror"
        )


def worker_environments(
    workers: int | None, gpus: str | None, plans: Sequence[Plan], dry_run: bool = False
) -> list[dict[str, str]]:
    """The environment variables of each worker process of this machine, such as the GPU that it sees.

    By default `seeds_at_once` workers for each GPU that torch would use. On CPUs one for each core that a
    run's threads leave, or `seeds_at_once` where that is more than one.

    Args:
        workers: how many were asked for, or None.
        gpus: those named by --gpus, as "0,1", with `seeds_at_once` workers each, or None.
        dry_run: report a GPU that is not there on stderr, and plan with it.

    Raises:
        UserError: a GPU that is not there, a device that does not go with --gpus, or two numbers of jobs.
    """
    counts = {plan.parameters.seeds_at_once: plan.experiment for plan in plans}
    if len(counts) > 1:
        several = ", ".join(f"{value} for {name}" for value, name in counts.items())
        raise UserError(f"seeds_at_once = {several}: must be one for all experiments of a command")
    (at_once,) = counts
    if gpus is not None:
        if workers is not None:
            raise UserError(f"--gpus {gpus}: one worker for each GPU; leave out --workers")
        return [_environment(name) for name in _named_gpus(gpus, plans, dry_run)] * at_once
    if workers is not None:
        if at_once > 1:
            raise UserError(
                f"--workers {workers}: seeds_at_once = {at_once}: both are the number of jobs at a time;"
                " leave one out"
            )
        return [{}] * workers
    devices = {plan.parameters.device for plan in plans}
    if devices != {"cpu"} and (names := visible_gpus()):
        # One of several may be named as the device: then each process sees all.
        return ([_environment(name) for name in names] if devices <= {"auto", "cuda"} else [{}]) * at_once
    return [{}] * (at_once if at_once > 1 else max(1, _cores() // max(p.parameters.threads for p in plans)))


def _named_gpus(gpus: str, plans: Sequence[Plan], dry_run: bool) -> list[str]:
    for plan in plans:
        if (device := plan.parameters.device) not in ("auto", "cuda"):
            raise UserError(f"--gpus {gpus}: device = {device!r}: must be auto or cuda with --gpus")
    visible, names, missing = visible_gpus(), list[str](), list[str]()
    for text in gpus.split(","):
        name = text.strip()
        if not (name.isascii() and name.isdigit()):
            raise UserError(
                f"--gpus {gpus}: {text!r}: must be numbers of GPUs with commas between them, as 0,1"
            )
        if int(name) >= len(visible):
            have = f"{len(visible)} CUDA device(s)" if visible else "no CUDA device"
            missing.append(f"--gpus {gpus}: {name}: is not there: torch sees {have} here")
        names.append(visible[int(name)] if int(name) < len(visible) else name)
    if missing and not dry_run:
        raise UserError(missing[0])
    for line in missing:
        print(line, file=sys.stderr)
    return names


def visible_gpus() -> list[str]:
    """The GPUs that torch would use here, as CUDA_VISIBLE_DEVICES names them."""
    # Without a driver (the second path is that of WSL) torch need not be imported, which takes seconds.
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return []
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if given is None else given.split(",")
    return [name.strip() for name in names[:count]]


def _environment(name: str) -> dict[str, str]:
    """The variables of a process that sees one GPU alone."""
    # In the order of nvidia-smi, from which people read the numbers; names of an environment are kept.
    order = {} if "CUDA_VISIBLE_DEVICES" in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {"CUDA_VISIBLE_DEVICES": name, **order}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
