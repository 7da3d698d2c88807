"""`python -m dglib campaign` and `run_all.py`: run the jobs, then write and print the results."""

from __future__ import annotations

import argparse
import sys
import time

from dglib.campaign import scheduler
from dglib.campaign.grid import write_index
from dglib.campaign.jobs import jobs_of
from dglib.campaign.local import LocalBackend
from dglib.campaign.monitor import CampaignMonitor
from dglib.campaign.planning import Campaign, plan_campaign, visible_gpus
from dglib.campaign.scheduler import Backend
from dglib.campaign.status import only_failed
from dglib.control import require_posix
from dglib.errors import UserError
from dglib.runs.progress import duration


def run(arguments: argparse.Namespace) -> int:
    """Run a campaign, or print its plan. Returns 0 if all jobs are done, 1 if one failed.

    Raises:
        UserError: bad input; nothing was written.
        KeyboardInterrupt: stopped; running jobs have saved their state.
    """
    campaign = plan_campaign(arguments)
    backend = _backend(arguments, campaign)
    at_once = backend.at_once or 1
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
    events = sys.stdout if arguments.json else None
    try:
        with backend, CampaignMonitor(jobs, events) as monitor:
            named = ", ".join(dict.fromkeys(plan.experiment for plan in campaign.plans))
            number = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
            number += f", {count} at a time" if (count := min(at_once, len(jobs))) > 1 else ""
            print(f"{named} into {local.absolute()}: {number}", file=out, flush=True)
            if campaign.grid is not None:  # so that a page written meanwhile has all cells
                write_index(campaign.grid, local)
            scheduler.run(jobs, backend, monitor, arguments.fail_fast)
    except BrokenPipeError:
        reason = "nobody reads its output any more; the same command resumes"
        print(f"run_all: stopped: {reason}", file=sys.stderr)
        raise
    print(f"\nDone in {duration(time.monotonic() - started)}.", file=out)
    from dglib.campaign.results import write_results  # imports scipy and matplotlib, which take a second

    files = write_results(campaign, out)
    failed = 0
    for plan in campaign.plans:
        for reason, those in plan.failures():
            print(f"\n{plan.name} failed: {reason}\n  log: {those[0].log}", file=sys.stderr)
            failed += len(those)
    if waiting := sum(job.status == "waiting" for job in jobs):
        print(f"\n{waiting} not started after the first failure; the same command resumes", file=sys.stderr)
    seconds = round(time.monotonic() - started, 1)
    monitor.emit("all_done", jobs=len(jobs), failed=failed, seconds=seconds, files=[*map(str, files)])
    return 1 if failed else 0


def _backend(arguments: argparse.Namespace, campaign: Campaign) -> Backend:
    if campaign.environments is not None:
        return LocalBackend(campaign.environments)
    from dglib.campaign.cluster import ClusterBackend  # imports Dask where it is there

    return ClusterBackend(arguments.cluster)
