"""The benchmark's command line.

Example:

    python -m dglib.benchmark --json benchmark.json
    python -m dglib.benchmark --quick
    python -m dglib.benchmark --device cuda --only resnet18/train resnet18/dual_over_plain
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dglib.benchmark.settings import FULL, QUICK, Case, Scale, chosen
from dglib.cli import BAD_INPUT, INTERRUPTED, Parser
from dglib.errors import UserError
from dglib.reader import ends_with_its_reader

SECONDS = 570.0  # ten minutes, less importing torch and ending processes


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Measure what `argv` (default: the process's own) asks for and return the exit status.

    0: done; 2: bad input, told in one line on stderr, nothing measured; 130: interrupted, with the rows
    measured until then printed and written.
    """
    try:
        arguments = _parser().parse_args(argv)
        scale = QUICK if arguments.quick else FULL
        cases = chosen(scale, arguments.only)
        if arguments.threads is not None and arguments.threads < 1:
            raise UserError(f"--threads {arguments.threads}: must be at least 1")
        if not 0 < arguments.minutes <= 1440:
            raise UserError(f"--minutes {arguments.minutes:g}: must be above 0 and at most 1440")
        _check_writable(arguments.json)
        return _run(arguments, scale, cases)
    except UserError as error:
        print("dglib.benchmark: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dglib.benchmark: stopped before anything was measured", file=sys.stderr)
        return INTERRUPTED


def _parser() -> Parser:
    parser = Parser(
        prog="dglib.benchmark",
        description="How fast the training step is here, beside the published loop as one would write it",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    add("--threads", type=int, metavar="N", help="CPU threads; default: all cores that may be used")
    add("--json", type=Path, metavar="FILE", help="write machine and rows there, after each row")
    add("--only", nargs="+", metavar="CASE", help="these cases; a wrong name is answered with all of them")
    about = "a tiny network and few steps: shows in seconds that everything runs, and measures nothing of use"
    add("--quick", action="store_true", help=about)
    about = "time for it all, by which batches on a CPU and the number of pairs are chosen"
    add("--minutes", type=float, default=SECONDS / 60, help=f"{about} (default {SECONDS / 60:g})")
    return parser


def _check_writable(path: Path | None) -> None:
    """Before anything is measured: minutes later it would be too late."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"--json {path}: is a directory")
    if not path.parent.is_dir():
        raise UserError(f"--json {path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--json {path}: {path.parent} cannot be written to")


def _run(arguments: argparse.Namespace, scale: Scale, cases: Sequence[Case]) -> int:
    # torch takes seconds to import: bad input is answered before.
    from dglib.benchmark.machine import cores
    from dglib.benchmark.rows import Row, header, write_report
    from dglib.benchmark.session import Session

    session = Session(
        scale=scale,
        cases=cases,
        device=arguments.device,
        threads=arguments.threads or cores(),
        seconds=60 * arguments.minutes,
        named=arguments.only is not None,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )

    def write(*, complete: bool) -> None:
        if arguments.json is not None:
            machine, rows, skipped = session.machine, session.rows, session.skipped
            write_report(arguments.json, machine, rows, skipped, complete=complete)

    def show(outcome: Row | tuple[str, str]) -> None:
        line = outcome.line() if isinstance(outcome, Row) else f"{outcome[0]}: skipped: {outcome[1]}"
        print(line, flush=True)
        write(complete=False)

    def begin(machine: Mapping[str, object]) -> None:
        print("; ".join(f"{name} {value}" for name, value in machine.items()))
        print(header(), flush=True)

    try:
        session.run(begin, show)
    except KeyboardInterrupt:
        write(complete=False)
        told = f"stopped after {len(session.rows)} of {len(cases)} cases"
        print(f"dglib.benchmark: {told}", file=sys.stderr)
        return INTERRUPTED
    write(complete=True)
    print(_LEGEND)
    return 0


_LEGEND = """\
s/epoch: of 50,000 training images (evaluation: s for 10,000 test images); of ours, then of the other side.
ratio: the other side's time over ours; for dual_over_plain and logging_over_none ours over the other's.
[low, high]: 95 % interval of the pairs' median ratio; below six pairs their least and greatest.
batch: where it is smaller than the published one, a step's fixed costs (SGD, mix) weigh more, on both sides.
baseline: the published loop, fp32 (on CUDA with TF32 convolutions), DataLoader with 4 workers."""
