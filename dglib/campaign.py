"""All experiments with one command: what `run_all.py` runs.

python run_all.py --profile quick --only T1 T2 --seeds 0-9 --workers 2 --set epochs_per_level=8
python run_all.py report --base-dir runs
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from dglib.base_dir import base_directory
from dglib.cli import BAD_INPUT, INTERRUPTED, Parser
from dglib.errors import UserError
from dglib.experiments import EXPERIMENTS, requested_numerics
from dglib.jobs import Job, anchored, run_jobs
from dglib.params import Parameters
from dglib.profiles import override_layer, profile_layer
from dglib.validation import Layer, model_of, one_of, source, validate_layers
from dglib.workplace import Workplace

SHOW_SECONDS = 1.0  # heartbeats come no faster


def main(argv: Sequence[str] | None = None) -> int:
    """Run the notebooks that `argv` asks for. Returns the exit status.

    0: all done; 1: an experiment failed; 2: bad input, nothing written; 130: stopped, to be gone on with.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if words[:1] == ["report"]:
            return _report(words[1:])
        arguments = _parser().parse_args(words)
        jobs = _plan(arguments)
        if arguments.dry_run:
            _print_plan(jobs, arguments.workers)
            return 0
        return _run(jobs, arguments.workers)
    except UserError as error:
        print("run_all: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("run_all: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="run_all.py",
        description="Run the experiments' notebooks headless, side by side, and say what was found.",
        epilog="`run_all.py report` runs nothing: it writes the page over what is there; see its --help.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--profile", default="quick", help="quick (default): minutes on a laptop; paper: CIFAR-10 on a GPU")
    add("--only", nargs="+", metavar="EXPERIMENT", default=list(EXPERIMENTS), help=one_of(EXPERIMENTS))
    add("--seeds", help="3, [0, 3], 0-9 or 0-3,7, for every experiment; default: the profile's")
    add("--base-dir", metavar="DIR", help="where run directories, executed notebooks and the summary go")
    add("--device", help="auto, cpu, cuda or cuda:N")
    add("--mirror", action="store_const", const=True, help="work locally and copy to the base directory")
    add("--workers", type=_workers, default=_cores(), help="notebooks at a time; default: the CPU's cores")
    about = "a parameter for every experiment that has it, or EXPERIMENT.NAME=VALUE for one"
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=about)
    add("--dry-run", action="store_true", help="print the jobs, their parameters and an estimate of the time")
    return parser


def _report(words: Sequence[str]) -> int:
    """Write the page over all runs of a base directory, and say where it lies."""
    about = "Write one page over all runs in a base directory, and run nothing."
    parser = Parser(prog="run_all.py report", description=about, allow_abbrev=False)
    about = "where the run directories lie; default: the Drive folder on Colab, elsewhere runs"
    parser.add_argument("--base-dir", metavar="DIR", help=about)
    base = base_directory(parser.parse_args(words).base_dir, where="--base-dir")
    from dglib.report import write_report  # matplotlib: not needed to answer bad input

    print(write_report(base))
    return 0


def _workers(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1")
    return int(text)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan(arguments: argparse.Namespace) -> list[Job]:
    """The jobs, checked; the longest first, so that none is left running alone at the end."""
    for name in arguments.only:
        model_of(name)
    if len(set(arguments.only)) < len(arguments.only):
        raise UserError(f"--only {' '.join(arguments.only)}: each experiment once")
    _refuse_homeless(arguments.set, arguments.only)
    jobs = []
    for name in arguments.only:
        layers = [profile_layer(name, arguments.profile), *_overrides(name, arguments.set)]
        for field in ("seeds", "base_dir", "device", "mirror"):
            value = getattr(arguments, field)
            if value is not None:
                layers.append(Layer(f"--{field.replace('_', '-')}", {field: value}))
        parameters = validate_layers(name, layers)
        place = Workplace.of(parameters, source("base_dir", layers).where)
        jobs.append(Job(anchored(parameters, place.base), place.work))
        _check_machine(parameters)
    bases = sorted({str(job.base.absolute()) for job in jobs})
    if len(bases) > 1:
        raise UserError(f"base_dir = {' and '.join(bases)}: must be one for all experiments")
    return sorted(jobs, key=lambda job: job.planned, reverse=True)


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
    from dglib.api import check

    check(parameters)


def _print_plan(jobs: Sequence[Job], workers: int) -> None:
    from dglib.api import check
    from dglib.estimate import estimate_seconds

    total = 0.0
    for job in jobs:
        p = job.parameters
        spec, numerics = check(p)
        seconds = estimate_seconds(spec, numerics) * len(p.seeds)
        total += seconds
        print(f"{p.experiment}: {job.notebook.name}, {len(p.seeds)} seeds, {job.planned} epochs", end="")
        print(f" at most, about {_duration(seconds)} on {numerics.device}")
        print("  " + ", ".join(f"{name}={value}" for name, value in p.model_dump().items()))
    workers = min(workers, len(jobs))
    print(f"{len(jobs)} jobs: {_duration(total)} one after the other", end="")
    print(f", about {_duration(total / workers)} with {workers} at a time")


def _run(jobs: Sequence[Job], workers: int) -> int:
    from dglib.report import write_report  # matplotlib: not needed to answer bad input
    from dglib.summary_file import write_summary

    began = time.monotonic()
    base = jobs[0].base
    names = ", ".join(job.experiment for job in jobs)
    print(f"{names} into {base}, {min(workers, len(jobs))} at a time", flush=True)
    with _Watch(jobs) as watch:
        run_jobs(jobs, workers, watch)
    print(f"\nDone in {_duration(time.monotonic() - began)}. What was found:\n")
    for paragraph in write_summary(base, jobs):
        print(paragraph)
    page: Path | None = None
    try:
        page = write_report(base)
    except UserError as error:  # where no seed has come far enough to leave a run directory
        print(f"\nno report: {error}", file=sys.stderr)
    place = Workplace.of(jobs[0].parameters)
    files = [base / "summary.md", base / "summary.json", *(base / "executed").glob("*.ipynb")]
    place.lay(*files, *([page] if page else []))
    if place.mirrored:
        print(f"\nAll of it is copied to {place.base}.")
    failed = [job for job in jobs if job.status != "done"]
    print("\nWhere it lies:")
    for job in jobs:
        if job.status == "done":
            print(f"  {job.experiment}: {job.directory()} (records, figures/), notebook {job.executed}")
    print(f"  summary: {base / 'summary.md'}, {base / 'summary.json'}")
    if page:
        print(f"  report: {page}")
    for job in failed:
        print(f"\n{job.experiment} {job.status}: {job.error}\n  log: {job.log}", file=sys.stderr)
    return 1 if failed else 0


class _Watch:
    """One bar over all jobs, in epochs; a line for each seed that ends."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        interval = 0.5 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            total=sum(job.planned for job in jobs),
            unit="epoch",
            mininterval=interval,
            maxinterval=interval,
            bar_format="{percentage:3.0f}%|{bar:20}| {n}/{total} epochs {elapsed}<{remaining} {postfix}",
        )
        self._told: set[tuple[str, int]] = set()
        self._looked = 0.0

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, jobs: Sequence[Job]) -> None:
        if time.monotonic() - self._looked < SHOW_SECONDS:
            return
        self._looked = time.monotonic()
        epochs, running = 0, []
        for job in jobs:
            for beat in job.heartbeats():
                ended = "outcome" in beat
                epochs += beat["epochs_planned"] if ended else beat["epochs_done"]
                where = f"{job.experiment} seed {beat['seed']}"
                if ended and (job.experiment, beat["seed"]) not in self._told:
                    self._told.add((job.experiment, beat["seed"]))
                    tqdm.write(f"{where}: {beat['outcome'].replace('_', ' ')}", file=sys.stderr)
                elif not ended and job.status == "running":
                    error = beat.get("error")
                    shown = "" if error is None else f" error {error:.2f}"
                    running.append(f"{where} {beat['phase']} λ {beat['lambda']:g}{shown}")
        self._bar.set_postfix_str("; ".join(running), refresh=False)
        self._bar.update(max(0, epochs - self._bar.n))


def _duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 5 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
