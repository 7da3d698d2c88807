"""`python -m dglib campaign` and `run_all.py`: run the jobs, then write and print the results."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

from dglib.campaign import scheduler
from dglib.campaign.grid import write_index
from dglib.campaign.jobs import Job, jobs_of
from dglib.campaign.monitor import CampaignMonitor, only_failed
from dglib.campaign.planning import Campaign, plan_campaign
from dglib.control import require_posix
from dglib.errors import UserError
from dglib.experiments import joints
from dglib.report.collect import INDEX
from dglib.runs.progress import duration


def run(arguments: argparse.Namespace) -> int:
    """Run a campaign, or print its plan. Returns 0 if all jobs are done, 1 if one failed.

    Raises:
        UserError: bad input; nothing was written.
        KeyboardInterrupt: stopped; running jobs have saved their state.
    """
    campaign = plan_campaign(arguments)
    if arguments.dry_run:
        if arguments.only_failed:
            raise UserError("--only-failed: `status` lists the failed jobs; leave out --dry-run")
        from dglib.campaign.dry_run import print_plans

        elsewhere = arguments.cluster is not None
        print_plans(campaign.plans, campaign.at_once or 1, as_json=arguments.json, elsewhere=elsewhere)
        return 0
    require_posix("run_all.py", "use `python -m dglib run` for each experiment")
    started = time.monotonic()
    jobs = jobs_of(campaign.plans)
    out = sys.stderr if arguments.json else sys.stdout  # for people
    if arguments.only_failed:
        jobs = only_failed(jobs, campaign.location.local)
        if not jobs:
            print("No job of this command has failed.", file=out)
            return 0
    with CampaignMonitor(jobs, sys.stdout if arguments.json else None) as monitor:
        _train(campaign, jobs, monitor, out, arguments.fail_fast)
    print(f"\nDone in {duration(time.monotonic() - started)}.", file=out)
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


def _train(
    campaign: Campaign, jobs: Sequence[Job], monitor: CampaignMonitor, out: IO[str], fail_fast: bool
) -> None:
    def begin() -> None:
        names = ", ".join(dict.fromkeys(plan.experiment for plan in campaign.plans))
        count = min(campaign.at_once or 1, len(jobs))
        at_once = f", {count} at a time" if count > 1 else ""
        where = campaign.location.local.absolute()
        print(f"{names} into {where}: {len(jobs)} job{'s' * (len(jobs) != 1)}{at_once}", file=out, flush=True)
        if campaign.grid is not None:  # so that a page written meanwhile has all cells
            write_index(campaign.grid, campaign.location.local)

    over = threading.Event()

    def import_early() -> None:
        """Import what the results need, which takes seconds, while the last notebooks leave a core idle."""
        while not over.wait(0.5):
            if all(job.is_over for job in jobs if job.seed is not None):
                for name in ("dglib.campaign.summary_file", "dglib.report.grids"):
                    import_module(name)
                return

    try:
        threading.Thread(target=import_early, daemon=True).start()
        scheduler.run(jobs, campaign.backend, monitor, begin, fail_fast)
    except BrokenPipeError:
        reason = "nobody reads its output any more; the same command resumes"
        print(f"run_all: stopped: {reason}", file=sys.stderr)
        raise
    finally:
        over.set()


def write_results(campaign: Campaign, out: IO[str]) -> list[Path]:
    """Write summary and report, or a grid's report, print the answers and where they are. Returns the files.

    With a mirror the files are copied below the base directory.
    """
    files = (_of_experiments if campaign.grid is None else _of_grid)(campaign, out)
    campaign.location.copy_to_base(*files)
    return files


def _of_experiments(campaign: Campaign, out: IO[str]) -> list[Path]:
    from dglib.campaign.summary_file import write_summary

    base, plans = campaign.location.local, campaign.plans
    print("What was found:\n", file=out)
    for paragraph in write_summary(base, plans):
        print(paragraph, file=out)
    page = _write_page(base)
    if campaign.location.mirrored:
        print(f"\nAll of it is copied to {campaign.location.base}.", file=out)
    print("\nWhere it lies:", file=out)
    executed = []
    for plan in plans:
        if plan.jobs[-1].status == "done":
            executed.append(plan.executed)
            where = f"{plan.directory()} (records, figures/), notebook {plan.executed}"
            print(f"  {plan.experiment}: {where}", file=out)
    files = [base / "summary.md", base / "summary.json"]
    print(f"  summary: {', '.join(map(str, files))}", file=out)
    for path in page:
        print(f"  report: {path}", file=out)
    # Drawn with the summary, when the run directories' own mirrors have ended.
    directories = dict.fromkeys(found for plan in plans if (found := plan.directory()) is not None)
    patterns = [f"figures/{joint.key}.*" for joint in joints()]
    drawn = [path for directory in directories for name in patterns for path in sorted(directory.glob(name))]
    return [*files, *executed, *drawn, *page]


def _of_grid(campaign: Campaign, out: IO[str]) -> list[Path]:
    from dglib.report.grids import RESULTS

    assert campaign.grid is not None
    directory = write_index(campaign.grid, campaign.location.local)
    page = _write_page(directory)
    for path in page:
        print(f"What was found: {path}", file=out)
    tables = [directory / INDEX, *directory.glob(RESULTS)]
    return [*tables, *sorted(directory.glob("figures/grid_*")), *page]


def _write_page(base: Path) -> list[Path]:
    from dglib.report.page import write_report

    try:
        return [write_report(base)]
    except UserError as error:  # where no seed has left a run directory
        print(f"\nno report: {error}", file=sys.stderr)
        return []
