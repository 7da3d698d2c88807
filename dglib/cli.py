"""The command line.

Example:

    python -m dglib run T1 --profile quick --seeds 0-3 --base-dir runs --set sweep_lr=0.01 epochs_per_level=8
    python -m dglib fork runs/exp_T_spinodal_20261121_120000 --seed 3 --at 24 --set epochs_per_level=16
    python -m dglib verify runs
    python -m dglib compare runs/exp_T_spinodal_20261121_120000 runs/exp_T_spinodal_20261122_090000
    python -m dglib analyse runs --json analysis.json
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dglib.base_dir import base_directory
from dglib.errors import UserError
from dglib.experiments import load, names
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import file_layer, override_layer, profile_layer
from dglib.experiments.validation import Layer, one_of, source, validate_layers
from dglib.output import BAD_INPUT, INTERRUPTED, WRONG, Parser, ends_with_its_reader
from dglib.runs.reading import runs_in

if TYPE_CHECKING:
    from dglib.api import Run


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's own) and return its exit status.

    0: done; 1: `verify` found something wrong; 2: bad input, told in one line on stderr, nothing written;
    130: interrupted; 141: nobody reads the output any more.
    """
    try:
        arguments = _parser().parse_args(argv)
        match arguments.command:
            case "verify":
                return _verify(arguments.directories)
            case "fork":
                _fork(arguments)
            case "compare":
                _compare(arguments.a, arguments.b)
            case "analyse":
                _analyse(arguments.path, arguments.json)
            case _:
                _run(_parameters(arguments))
    except UserError as error:
        print("dglib: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dglib: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="dglib", description="Hysteresis in learning with noisy labels", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    about = "run an experiment, or go on with it, and say what came out"
    run = commands.add_parser("run", help=about, description=about, allow_abbrev=False)
    add = run.add_argument
    about = f"{one_of(names())}; a file (my_loop.py) or a module that registers one of your own"
    add("experiment", metavar="EXPERIMENT", help=about)
    add("--profile", default="quick", help="quick (default) or paper: params/PROFILE/EXPERIMENT.yaml")
    add("-f", "--file", type=Path, metavar="FILE.yaml", help="parameters that replace the profile's")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="single parameters")
    add("--seeds", help="3, [0, 3], 0-9 or 0-3,7")
    add("--base-dir", metavar="DIR", help="where the run directories lie")
    add("--device", help="auto, cpu, cuda or cuda:N")
    add("--mirror", action="store_const", const=True, help="work locally and copy to the base directory")

    about = "a new run from a seed's state at an epoch, under other parameters from there on"
    fork = commands.add_parser("fork", help=about, description=about, allow_abbrev=False)
    add = fork.add_argument
    add("directory", type=Path, metavar="DIR", help="the run directory of the original, which stays as it is")
    add("--experiment", help="where the directory holds several")
    add("--seed", type=int, required=True, help="which seed's state")
    about = "epochs completed, counted through the seed: 1 after the first"
    add("--at", type=int, required=True, metavar="EPOCH", help=about)
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="the changes")
    add("--base-dir", metavar="DIR", help="where the new run directory lies; default: beside the original")

    about = "say what is wrong or unusual in run directories; changes nothing"
    verify = commands.add_parser("verify", help=about, description=about, allow_abbrev=False)
    about = "a run directory, or a base directory with several"
    verify.add_argument("directories", type=Path, nargs="+", metavar="DIR", help=about)

    about = "the same quantities of two runs, their differences, and how the runs themselves differed"
    compare = commands.add_parser("compare", help=about, description=about, allow_abbrev=False)
    about = "a run directory, a base directory with one run of each experiment, or published results' files"
    for name in ("a", "b"):
        compare.add_argument(name, type=Path, metavar=name.upper(), help=about)

    about = "thresholds, width, gap and classes of the records, with intervals; as JSON for machines"
    more = "In the JSON a finding on two experiments (`width`) is in both, its seeds under `hysteresis`."
    analyse = commands.add_parser("analyse", help=about, description=f"{about}. {more}", allow_abbrev=False)
    about = "a results file, a run directory, or a folder of several"
    analyse.add_argument("path", type=Path, metavar="PATH", help=about)
    analyse.add_argument("--json", type=Path, metavar="FILE", help="write the JSON there, too")
    return parser


def _parameters(arguments: argparse.Namespace) -> Parameters:
    """Profile, file, --set and the named options, each over the ones before."""
    arguments.experiment = _named(arguments.experiment)
    layers = [profile_layer(arguments.experiment, arguments.profile)]
    if arguments.file is not None:
        layers.append(file_layer(arguments.file))
    layers += map(override_layer, arguments.set)
    for field in ("seeds", "base_dir", "device", "mirror"):
        value = getattr(arguments, field)
        if value is not None:
            layers.append(Layer(f"--{field.replace('_', '-')}", {field: value}))
    parameters = validate_layers(arguments.experiment, layers)
    base_directory(parameters.base_dir, where=source("base_dir", layers).where)
    return parameters


def _named(given: str) -> str:
    """The name of an experiment that was given by name, or by the file or module that registers it."""
    if given in names() or not (given.endswith(".py") or _is_module(given)):
        return given
    found = load(given)
    if len(found) > 1:
        raise UserError(f"{given}: registers {' and '.join(found)}, and one is run: split the file")
    return found[0]


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _run(parameters: Parameters) -> None:
    from dglib.api import run  # imports torch, which takes seconds: bad input is answered before

    _print(run(parameters))


def _fork(arguments: argparse.Namespace) -> None:
    if arguments.base_dir is not None:
        base_directory(arguments.base_dir, where="--base-dir")
    from dglib.fork import fork

    _print(
        fork(
            arguments.directory,
            arguments.seed,
            arguments.at,
            arguments.set,
            experiment=arguments.experiment,
            base_dir=arguments.base_dir,
        )
    )


def _verify(directories: Sequence[Path]) -> int:
    runs = list(dict.fromkeys(run for directory in directories for run in runs_in(directory)))
    from dglib.runs.verify import verify

    findings = [finding for run in runs for finding in verify(run)]
    print(*findings, sep="\n", end="\n" if findings else "")
    wrong = sum(finding.severity == "wrong" for finding in findings)
    notes = len(findings) - wrong
    found = f"{wrong} wrong" if wrong else "all is well"
    found += f", {notes} to note" if notes else ""
    print(f"{len(runs)} run {'directory' if len(runs) == 1 else 'directories'}: {found}")
    return WRONG if wrong else 0


def _compare(a: Path, b: Path) -> None:
    from dglib.report.compare import compare, text

    print(text(a, b, compare(a, b)))


def _analyse(path: Path, target: Path | None) -> None:
    from dglib.report.analyse import run

    print(run(path, target))


def _print(result: "Run") -> None:
    print(result.answer())
    print("records:", result.directory)
    for figure in result.figures:
        print("figure:", figure)
