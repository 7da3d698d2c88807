"""All experiments with one command: what `run_all.py` runs.

python run_all.py --profile quick --only T1 T2 --seeds 0-9 --workers 2 --set epochs_per_level=8
python run_all.py --grid params/grids/phase_diagram.yaml --gpus 0,1
python run_all.py status --base-dir runs
python run_all.py report --base-dir runs
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from dglib import planning
from dglib.base_dir import base_directory
from dglib.cli import BAD_INPUT, INTERRUPTED, Parser
from dglib.errors import StorageError, UserError
from dglib.experiments import EXPERIMENTS
from dglib.heartbeats import duration
from dglib.jobs import Job, jobs_of
from dglib.planning import Campaign
from dglib.pool import run as run_here
from dglib.schedule import Watch
from dglib.validation import one_of
from dglib.watching import Watching

Doer = Callable[[Sequence[Job], Watch, Callable[[], None]], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the jobs that `argv` asks for. Returns the exit status.

    0: all done; 1: a job failed; 2: bad input, nothing written; 130: stopped, to be gone on with.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if words[:1] == ["report"]:
            return _report(words[1:])
        if words[:1] == ["status"]:
            return _status(words[1:])
        arguments = _parser().parse_args(words)
        campaign = planning.campaign(arguments)
        do, at_once = _doer(arguments, campaign)
        if arguments.dry_run:
            from dglib.dry_run import print_plan

            print_plan(campaign.plans, at_once, as_json=arguments.json)
            return 0
        return _run(campaign, do, at_once, arguments.json)
    except UserError as error:
        print("run_all: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("run_all: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="run_all.py",
        description="Train the experiments' seeds side by side, execute their notebooks, say what was found.",
        epilog="`run_all.py status` tells where the jobs stand, also from another terminal or machine;"
        " `run_all.py report` writes the page over what is there. See their --help.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--profile", help="quick (default): minutes on a laptop; paper: CIFAR-10 on a GPU")
    add("--only", nargs="+", metavar="EXPERIMENT", help=f"{one_of(EXPERIMENTS)}; default: all")
    about = "a file as in params/grids, or the name of one: its experiment at every combination of values"
    add("--grid", metavar="FILE", help=about)
    add("--seeds", help="3, [0, 3], 0-9 or 0-3,7, for every experiment; default: the profile's")
    add("--base-dir", metavar="DIR", help="where run directories, executed notebooks and the summary go")
    add("--device", help="auto, cpu, cuda or cuda:N")
    add("--mirror", action="store_const", const=True, help="work locally and copy to the base directory")
    about = "jobs at a time; default: one for each GPU, or for each CPU core"
    add("--workers", type=_workers, metavar="N", help=about)
    add("--gpus", metavar="0,1", help="one job at a time on each of these; twice the same for two there")
    about = "jobs on a cluster through Dask: local:2, tcp://host:8786 or slurm:FILE.yaml"
    add("--cluster", metavar="WHERE", help=about)
    about = "a parameter for every experiment that has it, or EXPERIMENT.NAME=VALUE for one"
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=about)
    add("--dry-run", action="store_true", help="print the jobs, their parameters and an estimate of the time")
    add("--json", action="store_true", help="one JSON line per event, or per job of a dry run, on stdout")
    return parser


def _report(words: Sequence[str]) -> int:
    """Write the page over all runs of a base directory, and say where it lies."""
    about = "Write one page over all runs in a base directory, and run nothing."
    parser = Parser(prog="run_all.py report", description=about, allow_abbrev=False)
    _add_base(parser)
    base = base_directory(parser.parse_args(words).base_dir, where="--base-dir")
    from dglib.report import write_report  # matplotlib: not needed to answer bad input

    print(write_report(base))
    return 0


def _status(words: Sequence[str]) -> int:
    """Say where the jobs of a base directory stand."""
    about = "Say where the jobs in a base directory stand, and change nothing."
    parser = Parser(prog="run_all.py status", description=about, allow_abbrev=False)
    _add_base(parser)
    parser.add_argument("--json", action="store_true", help="one JSON line per job, on stdout")
    arguments = parser.parse_args(words)
    from dglib.status import read_status, text

    jobs = read_status(base_directory(arguments.base_dir, where="--base-dir"))
    print("\n".join(json.dumps(job, ensure_ascii=False) for job in jobs) if arguments.json else text(jobs))
    return 0


def _add_base(parser: argparse.ArgumentParser) -> None:
    about = "where the run directories lie; default: the Drive folder on Colab, elsewhere runs"
    parser.add_argument("--base-dir", metavar="DIR", help=about)


def _workers(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1")
    return int(text)


def _doer(arguments: argparse.Namespace, campaign: Campaign) -> tuple[Doer, int]:
    """What does the jobs, once it has called its last argument, and how many at a time; 1 for a cluster."""
    if arguments.cluster is None:
        slots = planning.slots(arguments, campaign.plans)

        def do(jobs: Sequence[Job], watch: Watch, begin: Callable[[], None]) -> None:
            begin()
            run_here(jobs, slots, watch)

        return do, len(slots)
    for name, given in (("--gpus", arguments.gpus), ("--workers", arguments.workers)):
        if given is not None:
            raise UserError(f"{name} {given}: the cluster says what there is; leave it out beside --cluster")
    if campaign.place.mirrored:
        raise UserError(
            f"--cluster {arguments.cluster}: needs a base directory that all machines see, no mirror"
        )
    from dglib import cluster
    from dglib.cluster_places import place

    there = place(arguments.cluster, on_gpus=any(p.parameters.device != "cpu" for p in campaign.plans))
    return lambda jobs, watch, begin: cluster.run(jobs, there, watch, begin), 1


def _run(campaign: Campaign, do: Doer, at_once: int, as_json: bool) -> int:
    began = time.monotonic()
    jobs, plans = jobs_of(campaign.plans), campaign.plans
    out = sys.stderr if as_json else sys.stdout  # for people
    names = ", ".join(dict.fromkeys(plan.experiment for plan in plans))
    at_a_time = f", {min(at_once, len(jobs))} at a time" if at_once > 1 else ""

    def begin() -> None:
        print(f"{names} into {campaign.place.work}: {len(jobs)} jobs{at_a_time}", file=out, flush=True)
        if campaign.grid is not None:
            _write_index(campaign)  # so that a page written meanwhile knows of cells still to be run

    with Watching(jobs, sys.stdout if as_json else None) as watch:
        do(jobs, watch, begin)
    print(f"\nDone in {duration(time.monotonic() - began)}.", file=out)
    files = _results(campaign, out) if campaign.grid is None else _grid_results(campaign, out)
    campaign.place.lay(*files)
    failed = [(plan, told, those) for plan in plans for told, those in plan.failures()]
    for plan, told, those in failed:
        print(f"\n{plan.name} failed: {told}\n  log: {those[0].log}", file=sys.stderr)
    count = sum(len(those) for _, _, those in failed)
    seconds = round(time.monotonic() - began, 1)
    watch.emit("all_done", jobs=len(jobs), failed=count, seconds=seconds, files=[str(path) for path in files])
    return 1 if failed else 0


def _results(campaign: Campaign, out: IO[str]) -> list[Path]:
    """Write summary and report, say what was found and where it lies; the files."""
    from dglib.summary_file import write_summary  # matplotlib: not needed to answer bad input

    base, plans = campaign.place.work, campaign.plans
    print("What was found:\n", file=out)
    for paragraph in write_summary(base, plans):
        print(paragraph, file=out)
    executed = [plan.executed for plan in plans if plan.jobs[-1].status == "done"]
    page = _write_page(base)
    if campaign.place.mirrored:
        print(f"\nAll of it is copied to {campaign.place.base}.", file=out)
    print("\nWhere it lies:", file=out)
    for plan in plans:
        if plan.executed in executed:
            where = f"{plan.directory()} (records, figures/), notebook {plan.executed}"
            print(f"  {plan.experiment}: {where}", file=out)
    files = [base / "summary.md", base / "summary.json"]
    print(f"  summary: {', '.join(map(str, files))}", file=out)
    for path in page:
        print(f"  report: {path}", file=out)
    return [*files, *executed, *page]


def _grid_results(campaign: Campaign, out: IO[str]) -> list[Path]:
    """Write the grid's report and say where it lies; the files."""
    index = _write_index(campaign)
    page = _write_page(index.parent)
    for path in page:
        print(f"What was found: {path}", file=out)
    return [index, *page]


def _write_index(campaign: Campaign) -> Path:
    from dglib.grid_index import NAME, write_index

    assert campaign.grid is not None
    try:
        campaign.place.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(campaign.place.work, error) from error
    return write_index(campaign.grid, campaign.place.work) / NAME


def _write_page(base: Path) -> list[Path]:
    from dglib.report import write_report

    try:
        return [write_report(base)]
    except UserError as error:  # where no seed has come far enough to leave a run directory
        print(f"\nno report: {error}", file=sys.stderr)
        return []
