"""The command line.

Example:

    python -m dglib run T1 --profile quick --seeds 0-3 --base-dir runs --set sweep_lr=0.01 epochs_per_level=8
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dglib.base_dir import base_directory
from dglib.errors import UserError
from dglib.params import MODELS, Parameters
from dglib.profiles import file_layer, override_layer, profile_layer
from dglib.validation import Layer, one_of, source, validate_layers

BAD_INPUT, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's own) and return its exit status.

    0: done; 2: bad input, told in one line on stderr, nothing written; 130: interrupted.
    """
    try:
        arguments = _parser().parse_args(argv)
        _run(_parameters(arguments))
    except UserError as error:
        print("dglib: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dglib: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


class Parser(argparse.ArgumentParser):
    """Tells a wrong option as a UserError, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="dglib", description="Hysteresis in learning with noisy labels", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    about = "run an experiment, or go on with it, and say what came out"
    run = commands.add_parser("run", help=about, description=about, allow_abbrev=False)
    add = run.add_argument
    add("experiment", metavar="EXPERIMENT", help=one_of(MODELS))
    add("--profile", default="quick", help="quick (default) or paper: params/PROFILE/EXPERIMENT.yaml")
    add("-f", "--file", type=Path, metavar="FILE.yaml", help="parameters that replace the profile's")
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="single parameters")
    add("--seeds", help="3, [0, 3], 0-9 or 0-3,7")
    add("--base-dir", metavar="DIR", help="where the run directories lie")
    add("--device", help="auto, cpu, cuda or cuda:N")
    return parser


def _parameters(arguments: argparse.Namespace) -> Parameters:
    """Profile, file, --set and the named options, each over the ones before."""
    layers = [profile_layer(arguments.experiment, arguments.profile)]
    if arguments.file is not None:
        layers.append(file_layer(arguments.file))
    layers += map(override_layer, arguments.set)
    for field in ("seeds", "base_dir", "device"):
        value = getattr(arguments, field)
        if value is not None:
            layers.append(Layer(f"--{field.replace('_', '-')}", {field: value}))
    parameters = validate_layers(arguments.experiment, layers)
    base_directory(parameters.base_dir, where=source("base_dir", layers).where)
    return parameters


def _run(parameters: Parameters) -> None:
    from dglib.api import run  # imports torch, which takes seconds: bad input is answered before

    result = run(parameters)
    print(result.answer())
    print("records:", result.directory)
    for figure in result.figures:
        print("figure:", figure)
