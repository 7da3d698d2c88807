"""Every seed's traces over λ, as lines that a cursor can be put on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from dglib.analysis.curves import Curve
from dglib.analysis.fields import Entry, Record, is_finite, level_of, levels_of, number, seed_of
from dglib.analysis.states import mostly_constant
from dglib.analysis.style import LOOKS, Look
from dglib.experiments import Sweep, get, names
from dglib.explorer.runs import Run


@dataclass(frozen=True)
class Branch:
    """A line of the picture over λ.

    Attributes:
        key: of elements on the page, in plain letters.
        title: as the report's legend has it.
        rising: the direction in which λ was moved.
        short: of rows in the panel of thresholds; empty where there is none.
        beside: the look where sweeps that an event ends are shown as well.
    """

    key: str
    experiment: str
    title: str
    look: Look
    rising: bool
    short: str
    beside: Look


@cache
def _branch(experiment: str, sweep: Sweep) -> Branch:
    look, beside = LOOKS[sweep.look], LOOKS[sweep.look_beside or sweep.look]
    return Branch(sweep.key, experiment, sweep.title, look, sweep.rising, sweep.short, beside)


def branches() -> dict[str, Branch]:
    """Every experiment's sweeps by key."""
    return {sweep.key: _branch(name, sweep) for name in names() for sweep in get(name).sweeps}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: `epoch` None where published files keep none; error None where it was not finite."""

    epoch: float | None
    level: float | None
    error: float | None


@dataclass(frozen=True)
class Trace:
    """One seed on one branch.

    Attributes:
        curve: mean error by level, in the order run.
        evaluations: those behind it, in order.
        constant: levels at most of whose evaluations one class was predicted for everything.
    """

    branch: Branch
    seed: int
    curve: Curve
    evaluations: tuple[Evaluation, ...]
    constant: frozenset[float] = frozenset()


@dataclass(frozen=True)
class Seed:
    """One record: its traces over λ (none after a failed init) and its trajectories over epochs.

    Attributes:
        trajectories: evaluations by arm: one for each network.
        label: what became of a seed whose λ was held, in words; empty elsewhere.
        look: of a seed whose λ was held; None elsewhere.
    """

    experiment: str
    seed: int
    record: Record
    traces: tuple[Trace, ...]
    trajectories: tuple[tuple[Evaluation, ...], ...]
    label: str = ""
    look: Look | None = None


def seeds_of(run: Run) -> list[Seed]:
    """A run's seeds, by experiment in their order."""
    return [_seed(name, record) for name in names() for record in run.records.get(name, ())]


def value_at(trace: Trace, lam: float) -> float | None:
    """The error at λ, on the straight line between levels; None where λ did not get there."""
    points = list(trace.curve.errors.items())
    if len(points) == 1 and abs(points[0][0] - lam) < 1e-9:
        return points[0][1]
    found = None
    for (x0, y0), (x1, y1) in pairwise(points):
        if min(x0, x1) - 1e-9 <= lam <= max(x0, x1) + 1e-9:
            found = y1 if x0 == x1 else y0 + (y1 - y0) * (lam - x0) / (x1 - x0)
    return found


def passages(trace: Trace, lam: float) -> list[Evaluation]:
    """The evaluations at the level nearest to λ."""
    visited = sorted({e.level for e in trace.evaluations if e.level is not None})
    nearest = min(visited, key=lambda level: abs(level - lam), default=None)
    if nearest is None:
        return []
    steps = [after - before for before, after in pairwise(visited)]
    if abs(nearest - lam) > (min(steps) / 2 if steps else 0) + 1e-9:
        return []
    return [e for e in trace.evaluations if e.level == nearest]


def levels(seeds: Iterable[Seed]) -> list[float]:
    """Every λ that was visited, ascending."""
    return sorted({e.level for s in seeds for arm in s.trajectories for e in arm if e.level is not None})


def _seed(experiment: str, record: Record) -> Seed:
    about, number_ = get(experiment), seed_of(record)
    arms = tuple(arm for each in about.arms(record) if (arm := _evaluations(each)))
    found = about.held(record)
    if found is None:
        traces = tuple(_trace(key, number_, curve, sweep) for key, curve, sweep in about.traces(record))
        return Seed(experiment, number_, record, traces, arms)
    level = level_of(record)
    levelled = tuple(tuple(replace(e, level=level) if e.level is None else e for e in arm) for arm in arms)
    return Seed(experiment, number_, record, (), levelled, *found)


def _trace(key: str, seed: int, curve: Curve, sweep: Sequence[Entry]) -> Trace:
    constant = frozenset(level for level in levels_of(sweep) if mostly_constant(sweep, level))
    return Trace(branches()[key], seed, curve, _evaluations(sweep), constant)


def _evaluations(found: Sequence[Entry]) -> tuple[Evaluation, ...]:
    return tuple(
        Evaluation(number(e, "epoch"), level_of(e), number(e, "error") if is_finite(e) else None)
        for e in found
    )
