"""`python -m dglib campaign` and `run_all.py`: from the options to checked plans, jobs and results."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from dglib.campaign import scheduler
from dglib.campaign.grid import Grid, load_grid, write_index
from dglib.campaign.jobs import Plan, anchored, jobs_of
from dglib.campaign.local import LocalBackend, visible_gpus, worker_environments
from dglib.campaign.scheduler import Backend
from dglib.campaign.status import CampaignMonitor, only_failed
from dglib.control import require_posix
from dglib.errors import UserError
from dglib.experiments import build_spec, default_names, get
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import (
    by_experiment,
    option_layers,
    profile_layer,
    source,
    validate_layers,
)
from dglib.runs.identity import NUMERICS, TECHNIQUES, requested_numerics
from dglib.runs.location import RunLocation
from dglib.runs.progress import duration


@dataclass(frozen=True)
class Campaign:
    """All jobs of one command.

    Attributes:
        plans: of the experiments, or of a grid's cells.
        location: of the base directory.
        backend: not entered yet.
        grid: whose cells the plans are, or None.
    """

    plans: list[Plan]
    location: RunLocation
    backend: Backend
    grid: Grid | None = None


def run(arguments: argparse.Namespace) -> int:
    """Run a campaign, or print its plan. Returns 0 if all jobs are done, 1 if one failed.

    Raises:
        UserError: bad input; nothing was written.
        KeyboardInterrupt: stopped; running jobs have saved their state.
    """
    campaign = plan_campaign(arguments)
    at_once = campaign.backend.at_once
    if arguments.dry_run:
        if arguments.only_failed:
            raise UserError("--only-failed: `status` lists the failed jobs; leave out --dry-run")
        from dglib.campaign.dry_run import print_plans

        elsewhere = arguments.cluster is not None or (arguments.gpus is not None and not visible_gpus())
        print_plans(campaign.plans, at_once, as_json=arguments.json, elsewhere=elsewhere)
        return 0
    require_posix("run_all.py", "use `python -m dglib run` for each experiment")
    started = time.monotonic()
    jobs = jobs_of(campaign.plans)
    out = sys.stderr if arguments.json else sys.stdout  # for people
    local = campaign.location.local
    if arguments.only_failed:
        jobs = only_failed(jobs, local)
        if not jobs:
            print("No job of this command has failed.", file=out)
            return 0
    try:
        with (
            campaign.backend as backend,
            CampaignMonitor(jobs, sys.stdout if arguments.json else None) as monitor,
        ):
            named = ", ".join(dict.fromkeys(plan.experiment for plan in campaign.plans))
            number = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
            number += f", {count} at a time" if (count := min(at_once, len(jobs))) > 1 else ""
            print(f"{named} into {local.absolute()}: {number}", file=out, flush=True)
            if campaign.grid is not None:  # so that a page written meanwhile has all cells
                write_index(campaign.grid)
            scheduler.run(jobs, backend, monitor, arguments.fail_fast)
    except BrokenPipeError:
        reason = "nobody reads its output any more; the same command resumes"
        print(f"run_all: stopped: {reason}", file=sys.stderr)
        raise
    print(f"\nDone in {duration(time.monotonic() - started)}.", file=out)
    from dglib.campaign.results import write_results  # imports scipy and matplotlib, which take a second

    files = write_results(campaign.plans, campaign.location, campaign.grid, out)
    failed = 0
    for plan in campaign.plans:
        for reason, those in plan.failures().items():
            print(f"\n{plan.name} failed: {reason}\n  log: {those[0].log}", file=sys.stderr)
            failed += len(those)
    if waiting := sum(job.status == "waiting" for job in jobs):
        print(f"\n{waiting} not started after the first failure; the same command resumes", file=sys.stderr)
    seconds = round(time.monotonic() - started, 1)
    monitor.emit("all_done", jobs=len(jobs), failed=failed, seconds=seconds, files=[*map(str, files)])
    return 1 if failed else 0


def plan_campaign(arguments: argparse.Namespace) -> Campaign:
    """The campaign that the options ask for, its experiments in their order there, a grid's cells in order.

    Raises:
        UserError: one line on what is wrong.
    """
    grid = None
    if arguments.grid is None:
        plans, location = _experiments(arguments)
    else:
        for name, value in (("--only", arguments.only), ("--profile", arguments.profile)):
            if value is not None:
                raise UserError(f"{name}: is given by the grid's file; leave it out with --grid")
        grid = load_grid(arguments.grid, option_layers(arguments))
        plans, location = grid.plans, grid.location
    cluster = arguments.cluster
    checked: set[str] = set()
    for plan in plans:
        plan.command = list(arguments.typed)
        p = plan.parameters
        _check_machine(p if cluster is None else _for_cluster(p, cluster), checked)
    if cluster is None:
        environments = worker_environments(arguments.workers, arguments.gpus, plans, arguments.dry_run)
        return Campaign(plans, location, LocalBackend(environments), grid)
    for name, value in (("--gpus", arguments.gpus), ("--workers", arguments.workers)):
        if value is not None:
            raise UserError(f"{name} {value}: the cluster has its own number of workers; leave it out")
    if location.mirrored:
        raise UserError(f"--cluster {cluster}: needs a base directory that all machines see, no mirror")
    from dglib.campaign.cluster import ClusterBackend  # imports Dask where it is there

    return Campaign(plans, location, ClusterBackend(cluster), grid)


def _experiments(arguments: argparse.Namespace) -> tuple[list[Plan], RunLocation]:
    chosen: Sequence[str] = arguments.only or getattr(arguments, "own", ()) or default_names()
    for name in chosen:
        get(name)
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--only {' '.join(chosen)}: each experiment once")
    options, profile = option_layers(arguments), arguments.profile or "quick"
    given = by_experiment(options, chosen)
    plans, locations = [], []
    for name in chosen:
        layers = [profile_layer(name, profile), *given[name]]
        parameters = validate_layers(name, layers)
        location = RunLocation.of(parameters, source("base_dir", layers).where)
        locations.append(location)
        plans.append(Plan(anchored(parameters, location.base), location.local, profile=profile))
    if len({(item.base.absolute(), item.local.absolute()) for item in locations}) > 1:
        several = " and ".join(sorted({str(item.local.absolute()) for item in locations}))
        raise UserError(f"base_dir = {several}: must be one for all experiments")
    return plans, location


def _for_cluster(parameters: Parameters, cluster: str) -> Parameters:
    """The parameters as far as this machine can check them; the rest depends on the workers' machines."""
    device = parameters.device
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"--cluster {cluster}: device = {device!r}: must be auto, cpu or cuda: a worker sees one GPU"
        )
    free = dict.fromkeys(("device", *TECHNIQUES), "auto")
    return parameters.model_copy(update={**free, "exact": False})


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
