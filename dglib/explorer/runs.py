"""Which recorded runs there are to look at, ours and published ones, and which is shown first."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dglib.analysis.fields import Record
from dglib.base_dir import NOTEBOOKS, base_directory
from dglib.errors import UserError
from dglib.experiments import get
from dglib.experiments.notebook import is_data, refuse_replaced
from dglib.files import user_path
from dglib.runs.reading import experiments_in, find_records, is_run, runs_in

QUICK = NOTEBOOKS / "assets" / "quick"  # small recorded runs of all experiments, which come with the project
PARAMETERS = ("base_dir", "runs")
_STAMP = re.compile(r"_(\d{8}_\d{6})$")


@dataclass(frozen=True)
class Places:
    """Where the explorer's parameters say that runs lie.

    Attributes:
        base: the base directory, which need not exist.
        runs: a results file, a run directory or a folder of some; None: whatever lies in `base`.
    """

    base: Path
    runs: Path | None


@dataclass(frozen=True)
class Choice:
    """A run that can be looked at: where it lies, and what it is called in a list."""

    path: Path
    label: str


@dataclass(frozen=True)
class Run:
    """The records of a choice by experiment, in order of seeds, and a line for each file not read."""

    choice: Choice
    records: Mapping[str, tuple[Record, ...]]
    problems: tuple[str, ...]


def notebook_settings(globals_: Mapping[str, object]) -> Places:
    """The places from a notebook's globals().

    Raises:
        UserError: one line on what is wrong; another global of plain data, such as papermill makes of a slip.
    """
    refuse_replaced(PARAMETERS, globals_)
    for name, value in globals_.items():
        if name not in PARAMETERS and is_data(name, value):
            known = " and ".join(PARAMETERS)
            raise UserError(
                f"notebook: {name} = {value!r}: the explorer has no such parameter, only {known}"
                "; begin a name of your own with _"
            )
    base = base_directory(_path(globals_, "base_dir", "of a directory"), where="notebook")
    given = _path(globals_, "runs", "of a run directory, a results file or a folder of runs")
    if given is not None and not user_path(given, "runs").exists():
        raise UserError(f"notebook: runs = {given!r}: no such file or directory")
    return Places(base, None if given is None else user_path(given, "runs"))


def choices(places: Places) -> list[Choice]:
    """What there is to look at, the newest first; last the recorded quick runs that come with the project.

    Newest by the time in the name of the run directory, else by that of its last change.

    Raises:
        UserError: `runs` holds no run.
    """
    root = places.base if places.runs is None else places.runs
    found = [root] if root.is_file() else _found(root)
    if places.runs is not None and not found:
        raise UserError(f"{root}: no run there: must be a run directory, a results file or hold some run")
    here = [Choice(path, _label(path)) for path in sorted(found, key=_made, reverse=True)]
    known = {path.resolve() for path in found}
    quick = [Choice(QUICK, "the recorded quick run")] if is_run(QUICK) else []
    return here + [choice for choice in quick if choice.path.resolve() not in known]


def load(choice: Choice) -> Run:
    """Read a choice's records.

    Raises:
        UserError: it is gone.
    """
    found = find_records(choice.path)
    records: dict[str, list[tuple[int, Record]]] = {}
    for source in found.sources:
        records.setdefault(source.experiment, []).append((source.seed, source.record))
    by_seed = {
        name: tuple(record for _, record in sorted(members, key=lambda member: member[0]))
        for name, members in records.items()
    }
    return Run(choice, by_seed, tuple(found.problems))


def first(available: Sequence[Choice]) -> Run | None:
    """The run to open on: the newest whose sweeps end at an event, and so have a λ↑ or a λ↓.

    Else the newest in which λ moved, else the newest with any record; the recorded quick run only if there
    is no other; None where there is none.
    """
    best: Run | None = None
    seeming = [(choice.path == QUICK, _rank(experiments_in(choice.path)), choice) for choice in available]
    for is_quick, rank, choice in sorted(seeming, key=lambda each: each[:2]):
        if best and (is_quick or rank >= _rank(best.records)):
            break
        run = load(choice)
        if run.records and (best is None or _rank(run.records) < _rank(best.records)):
            best = run
    return best


def _rank(experiments: Collection[str]) -> int:
    """0 where a sweep runs until an event, 1 where λ moved, 2 for all others."""
    known = [get(name) for name in experiments]
    return 0 if any(each.direction for each in known) else 1 if any(each.sweeps for each in known) else 2


def _path(globals_: Mapping[str, object], name: str, meaning: str) -> str | None:
    given = globals_.get(name)
    if given is None or (isinstance(given, str) and given):
        return given
    raise UserError(f"notebook: {name} = {given!r}: must be text, the path {meaning}")


def _found(root: Path) -> list[Path]:
    try:
        return runs_in(root)
    except UserError:
        return []


def _made(path: Path) -> tuple[str, str]:
    stamp = _STAMP.search(path.name)
    changed = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y%m%d_%H%M%S")  # local, as names are
    return (stamp[1] if stamp else changed), path.name


def _label(path: Path) -> str:
    """The name, with the experiments that it seems to hold: ``exp_T_spinodal_20260117_121637 (T1, T2)``."""
    if path.is_file():
        return path.name
    inside = experiments_in(path)
    return f"{path.name} ({', '.join(sorted(inside))})" if inside else path.name
