"""The command line.

    python -m dglib run T1 --profile quick --seeds 0-3 --base-dir runs --set sweep_lr=0.01 epochs_per_level=8
    python -m dglib campaign --only T1 T2 --seeds 0-9 --workers 2      # the same as python run_all.py …
    python -m dglib status --base-dir runs
    python -m dglib parameters T1
    python -m dglib --help

Exit status: 0: done; 1: a job failed, or `verify` found something wrong; 2: bad input, one line on stderr,
nothing written; 3: `analyse` did not read all; 130: interrupted, the same command resumes; 141: nobody reads
the output any more.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dglib.base_dir import base_directory
from dglib.errors import UserError
from dglib.experiments import default_names, load, names
from dglib.experiments.notebook import listing
from dglib.experiments.profiles import one_of, option_layers, profile_layer, resolve
from dglib.output import Parser, exits_when_unread
from dglib.runs.directories import runs_in

WRONG, BAD_INPUT, UNREAD_RECORDS, INTERRUPTED = 1, 2, 3, 130  # exit statuses, see above

# Where a command imports something inside its function, that takes seconds, and bad input is answered before.


@exits_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's own) and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    return _main(words, "dglib", sys.orig_argv if argv is None else ["dglib", *words])


@exits_when_unread
def run_all(argv: Sequence[str] | None = None) -> int:
    """As `main`, for `run_all.py`: `campaign`, or `status` and `report` by their names."""
    words = sys.argv[1:] if argv is None else list(argv)
    command = words if words[:1] in (["status"], ["report"]) else ["campaign", *words]
    return _main(command, "run_all", sys.orig_argv if argv is None else ["run_all.py", *words])


def _main(words: Sequence[str], program: str, typed: Sequence[str]) -> int:
    try:
        if words[:1] == ["fork"]:
            new = "`python -m dglib run EXPERIMENT --start-from DIR --seeds N --set NAME=VALUE`"
            raise UserError(f"fork: a seed starts from a saved state by {new}")
        arguments = parser(program).parse_args(words)
        for source in arguments.experiment_file:
            arguments.own = [*getattr(arguments, "own", ()), *load(source)]
        arguments.typed = list(typed)
        return int(arguments.action(arguments) or 0)
    except UserError as error:
        print(f"{program}: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{program}: stopped; the same command resumes", file=sys.stderr)
        return INTERRUPTED


Add = Callable[..., Any]
Action = Callable[[argparse.Namespace], int | None]


def parser(program: str) -> argparse.ArgumentParser:
    """The options of python -m dglib ("dglib"), or of run_all.py ("run_all")."""
    parser = Parser(prog=program, description="Hysteresis in learning with noisy labels", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, action: Callable[[argparse.Namespace], int | None], about: str, more: str
    ) -> Callable[..., Any]:
        prog = None if program == "dglib" else f"{program}.py {name}".removesuffix(" campaign")
        description = f"{about[0].upper()}{about[1:]}. {more}".strip()
        made = commands.add_parser(name, prog=prog, help=about, description=description, allow_abbrev=False)
        made.set_defaults(action=action)
        about = "files or modules that register experiments of your own"
        made.add_argument(
            "--experiment-file", nargs="+", action="extend", default=[], metavar="FILE.py", help=about
        )
        return made.add_argument

    add = command("run", _run, "run one experiment, or resume it, and print the answer", "")
    about = f"{one_of(names())}; a file (my_loop.py) or a module that registers one of your own"
    add("experiment", metavar="EXPERIMENT", help=about)
    about = "a run directory from whose saved states seeds start where the first epochs are the same"
    add("--start-from", type=Path, metavar="DIR", help=about)
    _add_parameters(add)

    more = "`status` shows its jobs, from any terminal or machine; `report` writes the page over its runs."
    about = "train seeds of several experiments in parallel, execute their notebooks, write the report"
    add = command("campaign", _campaign, about, more)
    _add_parameters(add)
    usual = " ".join(default_names())
    about = f"{one_of(names())}; default: those of --experiment-file, else {usual}"
    add("--only", nargs="+", metavar="EXPERIMENT", help=about)
    about = "a file as in params/grids, or the name of one: its experiment at every combination of values"
    add("--grid", metavar="FILE", help=about)
    about = (
        "jobs at a time, on the GPUs in turn; default: seeds_at_once (1) on each, or one for each CPU core"
    )
    add("--workers", type=_count, metavar="N", help=about)
    add("--gpus", metavar="0,1", help="the GPUs to use; default: all that torch would use")
    about = "jobs on a cluster: the address of its Dask scheduler, tcp://host:8786"
    add("--cluster", metavar="WHERE", help=about)
    add("--fail-fast", action="store_true", help="start no job after one has failed; exit status 1 as always")
    add("--only-failed", action="store_true", help="only the jobs of this command whose last attempt failed")
    add("--resume", action="store_true", help="changes nothing: a campaign always resumes")
    add("--dry-run", action="store_true", help="print the jobs, their parameters and an estimate of the time")
    add("--json", action="store_true", help="one JSON line per event, or per job of a dry run, on stdout")

    about = "records as one long table or as TensorBoard's event files"
    add = command("export", _export, about, "")
    add("path", type=Path, metavar="PATH", help="a results file, a run directory, or a folder of several")
    about = "a .csv or .parquet file, or a directory for event files"
    add("target", type=Path, metavar="TARGET", help=about)

    where = "default: the Drive folder on Colab, elsewhere runs in the project"
    for name, action, about, more in (
        ("list", _list, "the runs in a base directory, a row for each", "Changes nothing."),
        ("report", _report, "write one page over all runs in a base directory", "Runs nothing."),
        ("status", _status, "the state of the jobs in a base directory", "Changes nothing."),
    ):
        add = command(name, action, about, more)
        add("--base-dir", metavar="DIR", help=f"directory of the run directories; {where}")
    add("--json", action="store_true", help="one JSON line per job, on stdout")

    add = command("verify", _verify, "what is wrong or unusual in run directories", "Changes nothing.")
    about = "a run directory, or a base directory with several"
    add("directories", type=Path, nargs="+", metavar="DIR", help=about)

    about = "the same quantities of two runs, their differences, and how the runs themselves differed"
    add = command("compare", _compare, about, "")
    about = "a run directory, a base directory with one run of each experiment, or published results' files"
    for name in ("a", "b"):
        add(name, type=Path, metavar=name.upper(), help=about)

    more = "In the JSON a finding on two experiments (`width`) is in both, its seeds under `hysteresis`."
    about = "thresholds, width, gap and classes of the records, with intervals"
    add = command("analyse", _analyse, about, more)
    add("path", type=Path, metavar="PATH", help="a results file, a run directory, or a folder of several")
    add("--json", type=Path, metavar="FILE", help="write the JSON there, too")

    about = "every parameter of an experiment with its value, meaning and range"
    add = command("parameters", _list_parameters, about, "The output can be saved as a YAML file for --file.")
    add("experiment", metavar="EXPERIMENT", help=f"{one_of(names())}; a file or a module of your own")
    add("--profile", default="quick", help="quick (default), small, paper or one of your own")
    return parser


def _add_parameters(add: Add) -> None:
    """The options that give parameters, for `option_layers`."""
    add("--profile", help="quick (default): minutes on a laptop; small: a fifth of CIFAR-10; paper: CIFAR-10")
    add("-f", "--file", type=Path, metavar="FILE.yaml", help="parameters that replace the profile's")
    about = "single parameters; in a campaign for every experiment that has it, or EXPERIMENT.NAME=VALUE"
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=about)
    about = "which seeds, not how many: 3 (seed 3 alone), 0-7 (eight seeds) or 0,3; default: the profile's"
    add("--seeds", help=about)
    add("--base-dir", metavar="DIR", help="directory of the run directories, notebooks and summary")
    add("--device", help="auto, cpu, cuda or cuda:N")
    add("--mirror", action="store_const", const=True, help="write locally and copy to the base directory")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1")
    return int(text)


def _named(given: str) -> str:
    """The name of an experiment, given by name or by the file or module that registers it."""
    if given in names() or not (given.endswith(".py") or _is_module(given)):
        return given
    registered = load(given)
    if len(registered) > 1:
        raise UserError(f"{given}: registers {' and '.join(registered)}, and one is run: split the file")
    return registered[0]


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _run(arguments: argparse.Namespace) -> None:
    name = _named(arguments.experiment)
    layers = [profile_layer(name, arguments.profile or "quick"), *option_layers(arguments)]
    parameters = resolve(name, layers)
    from dglib.campaign.run import run

    result = run(parameters, start_from=arguments.start_from)
    print(result.answer())
    print("records:", result.directory)
    for figure in result.figures:
        print("figure:", figure)


def _campaign(arguments: argparse.Namespace) -> int:
    from dglib.campaign.command import run

    return run(arguments)


def _status(arguments: argparse.Namespace) -> None:
    from dglib.campaign.status import read_status, status_text

    jobs = read_status(base_directory(arguments.base_dir, where="--base-dir"))
    print("\n".join(json.dumps(job) for job in jobs) if arguments.json else status_text(jobs))


def _report(arguments: argparse.Namespace) -> None:
    base = base_directory(arguments.base_dir, where="--base-dir")
    from dglib.report.page import write_report

    print(write_report(base))


def _list(arguments: argparse.Namespace) -> None:
    from dglib.report.listing import list_runs, text

    print(text(list_runs(base_directory(arguments.base_dir, where="--base-dir"))))


def _export(arguments: argparse.Namespace) -> None:
    from dglib.export import export

    print(export(arguments.path, arguments.target))


def _list_parameters(arguments: argparse.Namespace) -> None:
    print(listing(_named(arguments.experiment), arguments.profile))


def _verify(arguments: argparse.Namespace) -> int:
    runs = list(dict.fromkeys(run for directory in arguments.directories for run in runs_in(directory)))
    from dglib.runs.verify import verify

    findings = [finding for run in runs for finding in verify(run)]
    print(*findings, sep="\n", end="\n" if findings else "")
    wrong = sum(finding.severity == "wrong" for finding in findings)
    notes = len(findings) - wrong
    outcome = f"{wrong} wrong" if wrong else "nothing wrong" if notes else "all is well"
    outcome += f", {notes} to note" if notes else ""
    print(f"{len(runs)} run {'directory' if len(runs) == 1 else 'directories'}: {outcome}")
    return WRONG if wrong else 0


def _compare(arguments: argparse.Namespace) -> int:
    from dglib.report.compare import run

    text, whole = run(arguments.a, arguments.b)
    print(text)
    return 0 if whole else UNREAD_RECORDS


def _analyse(arguments: argparse.Namespace) -> int:
    from dglib.report.analyse import run

    text, whole = run(arguments.path, arguments.json)
    print(text)
    return 0 if whole else UNREAD_RECORDS
