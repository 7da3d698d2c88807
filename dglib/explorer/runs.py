"""Recorded runs, ours and published ones: which there are, which is shown first, their seeds as traces."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from dglib.analysis.curves import Curve
from dglib.analysis.fields import (
    Entry,
    Record,
    is_finite,
    level_of,
    levels_of,
    mostly_constant,
    number,
    seed_of,
)
from dglib.base_dir import NOTEBOOKS, base_directory, user_path
from dglib.errors import UserError
from dglib.experiments import Sweep, get, names
from dglib.experiments.notebook import notebook_paths
from dglib.report.listing import describe
from dglib.runs.directories import is_run, runs_in
from dglib.runs.reading import find_records

QUICK = NOTEBOOKS / "assets" / "quick"  # small recorded runs of all experiments, part of the project
PARAMETERS = ("base_dir", "runs")
_STAMP = re.compile(r"_(\d{8}_\d{6})$")


@dataclass(frozen=True)
class Trace:
    """One seed on one branch: its error by level, in the order run, and its evaluations.

    Attributes:
        held: each level is another network, held there; between levels there is none.
    """

    branch: Sweep
    seed: int
    curve: Curve
    evaluations: Sequence[Entry]
    held: bool

    @cached_property
    def _by_level(self) -> dict[float, list[Entry]]:
        by_level: dict[float, list[Entry]] = {}
        for entry in self.evaluations:
            if (level := level_of(entry)) is not None:
                by_level.setdefault(level, []).append(entry)
        return by_level

    def evaluations_at(self, lam: float) -> list[Entry]:
        """The evaluations at the level nearest to λ, see `nearest`."""
        level = nearest(self._by_level, lam)
        return [] if level is None else self._by_level[level]

    def error_at(self, lam: float) -> float | None:
        """The error at λ, linear between levels, or at the nearest held; None where λ was not reached."""
        if self.held:
            level = nearest(self._by_level, lam)
            return None if level is None else self.curve.errors.get(level)
        visited = sorted(self.curve.errors)
        if not visited or not visited[0] <= lam <= visited[-1]:
            return None
        return float(np.interp(lam, visited, [self.curve.errors[level] for level in visited]))

    def is_trapped(self, lam: float) -> bool:
        """Whether the network nearest to λ predicted one class for everything, mostly."""
        level = min(self.curve.errors, key=lambda level: abs(level - lam))
        return mostly_constant(self._by_level.get(level, ()), level)

    def has(self, lam: float) -> bool:
        """Whether the error at λ was measured; else it is interpolated."""
        return self.held or any(abs(level - lam) < 1e-9 for level in self.curve.errors)


@dataclass(frozen=True)
class Seed:
    """One record with its traces over λ; none after a failed init, or of an experiment without a branch."""

    experiment: str
    seed: int
    record: Record
    traces: tuple[Trace, ...]

    @property
    def trajectories(self) -> list[list[Entry]]:
        """The evaluations of each network, in the order run."""
        return get(self.experiment).arms(self.record)


@dataclass(frozen=True)
class Run:
    """The seeds of a run by experiment and number, and a line for each file that could not be read."""

    path: Path
    seeds: list[Seed]
    problems: tuple[str, ...]

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(seed.experiment for seed in self.seeds))


# ── which runs ──


def notebook_source(globals_: Mapping[str, object]) -> tuple[Path, Path | None]:
    """The base directory and the runs that a notebook's globals() give.

    Raises:
        UserError: as `notebook_paths`, or `runs` does not exist.
    """
    base, runs = notebook_paths("the explorer", PARAMETERS, globals_)
    path = None if runs is None else user_path(runs, "runs")
    if path is not None and not path.exists():
        raise UserError(f"notebook: runs = {runs!r}: no such file or directory")
    return base_directory(base, where="notebook"), path


def choices(base: Path, runs: Path | None) -> list[Path]:
    """The runs that can be shown, the newest first, and last the quick run that comes with the project.

    Newest by the time in the name of the run directory, else by its last change.

    Raises:
        UserError: `runs` contains no run.
    """
    root = runs or base
    try:
        paths = [root] if root.is_file() else runs_in(root)
    except UserError:
        paths = []
    if runs is not None and not paths:
        raise UserError(f"{root}: no run there: must be a run directory, a results file or contain a run")
    sorted_paths = sorted(paths, key=_made, reverse=True)
    if is_run(QUICK) and QUICK.resolve() not in {path.resolve() for path in paths}:
        sorted_paths.append(QUICK)
    return sorted_paths


def label(path: Path) -> str:
    """A run in one line, as `dglib.list_runs` describes it."""
    try:
        text = path.name if path.is_file() else describe(path)
    except UserError:
        text = path.name
    return "the recorded quick run" + text.removeprefix(path.name) if path == QUICK else text


def load(path: Path) -> Run:
    """Read the records of a run.

    Raises:
        UserError: it no longer exists.
    """
    record_set = find_records(path)
    records: dict[str, list[Record]] = {}
    for source in sorted(record_set.sources, key=lambda source: source.seed):
        if not source.group:
            records.setdefault(source.experiment, []).append(source.record)
    groups = sorted({source.group for source in record_set.sources if source.group})
    others = [f"{path}: {group} is shown by `analyse` and in the report alone" for group in groups]
    return Run(path, seeds_of(records), (*record_set.problems, *others))


def _made(path: Path) -> tuple[str, str]:
    stamp = _STAMP.search(path.name)
    changed = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y%m%d_%H%M%S")  # local, as names are
    return (stamp[1] if stamp else changed), path.name


# ── their seeds ──


def branches() -> dict[str, Sweep]:
    """Every experiment's branches by key."""
    return {branch.key: branch for name in names() for branch in get(name).branches}


def seeds_of(records: Mapping[str, Sequence[Record]]) -> list[Seed]:
    """The seeds of records by experiment."""
    return [_seed(name, record) for name in names() for record in records.get(name, ())]


def _seed(experiment: str, record: Record) -> Seed:
    seed, about = seed_of(record), get(experiment)
    traces = (
        Trace(branches()[key], seed, curve, evaluations, not about.sweeps)
        for key, curve, evaluations in about.traces(record)
    )
    return Seed(experiment, seed, record, tuple(traces))


def nearest(visited: Iterable[float], lam: float) -> float | None:
    """The level nearest to λ, no further than half the smallest step between levels."""
    known = sorted(visited)
    level = min(known, key=lambda level: abs(level - lam), default=None)
    half = max(0.005, min((after - before for before, after in pairwise(known)), default=0) / 2)
    return None if level is None or abs(level - lam) > half + 1e-9 else level


def levels(seeds: Iterable[Seed]) -> list[float]:
    """Every λ that was visited, ascending."""
    return sorted({level for seed in seeds for arm in seed.trajectories for level in levels_of(arm)})


def columns(evaluations: Sequence[Entry], *fields: str) -> list[list[float]]:
    """Numbers of evaluations by field; NaN, which breaks a line, where there is none or no finite error."""

    def value(entry: Entry, field: str) -> float:
        result = number(entry, field) if field != "error" or is_finite(entry) else None
        return math.nan if result is None else result

    return [[value(entry, field) for entry in evaluations] for field in fields]
