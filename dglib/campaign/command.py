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
from typing import NamedTuple

from dglib.base_dir import base_directory
from dglib.campaign import planning, scheduler
from dglib.campaign import results as campaign_results
from dglib.campaign.gpus import worker_environments
from dglib.campaign.jobs import jobs_of
from dglib.campaign.local import LocalBackend
from dglib.campaign.monitor import CampaignMonitor
from dglib.campaign.planning import Campaign
from dglib.campaign.scheduler import Backend
from dglib.control import require_posix
from dglib.errors import UserError
from dglib.experiments import default_names, load, names
from dglib.experiments.validation import one_of
from dglib.output import BAD_INPUT, INTERRUPTED, Parser, ends_with_its_reader
from dglib.runs.progress import duration


class Workers(NamedTuple):
    """What runs a campaign's jobs.

    Attributes:
        backend: the workers, started when it is entered.
        at_once: how many jobs at a time, from 1; None where only a cluster's scheduler knows.
        sharing: whether several at a time share a GPU, if they use one.
        elsewhere: whether on other machines.
    """

    backend: Backend
    at_once: int | None
    sharing: bool = False
    elsewhere: bool = False


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Run the jobs that `argv` asks for. Returns the exit status.

    0: all done; 1: a job failed; 2: bad input, nothing written; 130: stopped, to be gone on with; 141: the
    same, since nobody reads the output any more.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    typed = sys.orig_argv if argv is None else ["run_all.py", *argv]
    try:
        if words[:1] == ["report"]:
            return _report(words[1:])
        if words[:1] == ["status"]:
            return _status(words[1:])
        arguments = _parser().parse_args(words)
        campaign = planning.campaign(arguments, typed)
        if not arguments.dry_run:
            require_posix("run_all.py", "use `python -m dglib run` for each experiment")
        workers = _workers(arguments, campaign)
        if arguments.dry_run:
            from dglib.campaign.dry_run import print_plan

            print_plan(
                campaign.plans,
                workers.at_once,
                as_json=arguments.json,
                sharing=workers.sharing,
                elsewhere=workers.elsewhere,
            )
            return 0
        return _run(campaign, workers, arguments.json)
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
    add, usual = parser.add_argument, " ".join(default_names())
    add("--profile", help="quick (default): minutes on a laptop; paper: CIFAR-10 on a GPU")
    add(
        "--only",
        nargs="+",
        metavar="EXPERIMENT",
        help=f"{one_of(names())}; default: {usual}",
    )
    _add_file(add)
    about = "a file as in params/grids, or the name of one: its experiment at every combination of values"
    add("--grid", metavar="FILE", help=about)
    add("--seeds", help="3, [0, 3], 0-9 or 0-3,7, for every experiment; default: the profile's")
    add("--base-dir", metavar="DIR", help="where run directories, executed notebooks and the summary go")
    add("--device", help="auto, cpu, cuda or cuda:N")
    add("--mirror", action="store_const", const=True, help="work locally and copy to the base directory")
    about = "jobs at a time; default: seeds_at_once (1) on each GPU, or one for each CPU core"
    add("--workers", type=_count, metavar="N", help=about)
    about = "seeds_at_once (1) jobs at a time on each of these; twice the same for twice as many there"
    add("--gpus", metavar="0,1", help=about)
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
    _add_file(parser.add_argument)
    arguments = parser.parse_args(words)
    _load(arguments)
    base = base_directory(arguments.base_dir, where="--base-dir")
    from dglib.report import write_report  # matplotlib: not needed to answer bad input

    print(write_report(base))
    return 0


def _status(words: Sequence[str]) -> int:
    """Say where the jobs of a base directory stand."""
    about = "Say where the jobs in a base directory stand, and change nothing."
    parser = Parser(prog="run_all.py status", description=about, allow_abbrev=False)
    _add_base(parser)
    parser.add_argument("--json", action="store_true", help="one JSON line per job, on stdout")
    _add_file(parser.add_argument)
    arguments = parser.parse_args(words)
    _load(arguments)
    from dglib.campaign.status import read_status, text

    jobs = read_status(base_directory(arguments.base_dir, where="--base-dir"))
    print("\n".join(json.dumps(job) for job in jobs) if arguments.json else text(jobs))
    return 0


def _add_file(add: Callable[..., object]) -> None:
    about = "files or modules that register experiments of your own; without --only those alone are run"
    add("--experiment-file", nargs="+", action="extend", default=[], metavar="FILE.py", help=about)


def _load(arguments: argparse.Namespace) -> None:
    for source in arguments.experiment_file:
        load(source)


def _add_base(parser: argparse.ArgumentParser) -> None:
    about = "where the run directories lie; default: the Drive folder on Colab, elsewhere runs in the project"
    parser.add_argument("--base-dir", metavar="DIR", help=about)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1")
    return int(text)


def _workers(arguments: argparse.Namespace, campaign: Campaign) -> Workers:
    """This machine's workers, or a cluster's."""
    if arguments.cluster is None:
        environments = worker_environments(arguments, campaign.plans)
        sharing = any(environments.count(each) > 1 for each in environments)
        return Workers(LocalBackend(environments), len(environments), sharing)
    for name, given in (("--gpus", arguments.gpus), ("--workers", arguments.workers)):
        if given is not None:
            raise UserError(f"{name} {given}: the cluster says what there is; leave it out beside --cluster")
    if campaign.place.mirrored:
        raise UserError(
            f"--cluster {arguments.cluster}: needs a base directory that all machines see, no mirror"
        )
    from dglib.campaign.cluster import ClusterBackend
    from dglib.campaign.cluster_kinds import cluster_of

    on_gpus = any(plan.parameters.device != "cpu" for plan in campaign.plans)
    cluster = cluster_of(arguments.cluster, on_gpus=on_gpus)
    backend = ClusterBackend(cluster, sorted({plan.home for plan in campaign.plans}))
    return Workers(backend, cluster.workers, elsewhere=not arguments.cluster.startswith("local:"))


def _run(campaign: Campaign, workers: Workers, as_json: bool) -> int:
    began = time.monotonic()
    jobs, plans = jobs_of(campaign.plans), campaign.plans
    out = sys.stderr if as_json else sys.stdout  # for people
    names = ", ".join(dict.fromkeys(plan.experiment for plan in plans))
    at_once = min(workers.at_once or 1, len(jobs))
    at_a_time = f", {at_once} at a time" if at_once > 1 else ""

    def begin() -> None:
        where = campaign.place.work.absolute()
        print(f"{names} into {where}: {len(jobs)} jobs{at_a_time}", file=out, flush=True)
        if campaign.grid is not None:
            campaign_results.write_index(campaign)

    with CampaignMonitor(jobs, sys.stdout if as_json else None) as monitor:
        try:
            with campaign_results.readied(jobs):
                scheduler.run(jobs, workers.backend, monitor, begin)
        except BrokenPipeError:
            words = "nobody reads its output any more; the same command goes on from here"
            print(f"run_all: stopped: {words}", file=sys.stderr)
            raise
    print(f"\nDone in {duration(time.monotonic() - began)}.", file=out)
    files = campaign_results.tell(campaign, out, sys.stderr)
    failed = [(plan, told, those) for plan in plans for told, those in plan.failures()]
    for plan, told, those in failed:
        print(f"\n{plan.name} failed: {told}\n  log: {those[0].log}", file=sys.stderr)
    count = sum(len(those) for _, _, those in failed)
    seconds = round(time.monotonic() - began, 1)
    written = [str(path) for path in files]
    monitor.emit("all_done", jobs=len(jobs), failed=count, seconds=seconds, files=written)
    return 1 if failed else 0
