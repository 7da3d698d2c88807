"""Every seed's traces over λ, as lines that a cursor can be put on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dglib.analysis.curves import Curve
from dglib.analysis.reading import Entry, Record, entries, is_finite, level_of, levels_of, number, seed_of
from dglib.analysis.states import mostly_constant
from dglib.analysis.style import LOOKS, Look
from dglib.experiments.branches import gaps as branches
from dglib.experiments.spinodal.passes import BACK, LOWERED, RAISED, TRAPPED, t1_passes, t2_passes
from dglib.experiments.spinodal.plot_loop import LOOK_OF
from dglib.experiments.trapping.classes import CLASS_NAMES, category
from dglib.experiments.trapping.plot import CLASS_LOOKS
from dglib.explorer.runs import Run

EXPERIMENTS = {
    "T1": "ordered networks, λ raised",
    "T2": "collapsed networks, λ lowered",
    "V3": "two branches, λ raised and lowered",
    "Td1": "λ held, from scratch",
}


@dataclass(frozen=True)
class Branch:
    """A line of the picture over λ.

    Attributes:
        key: of elements on the page, in plain letters.
        title: as the report's legend has it.
        rising: the direction in which λ was moved.
    """

    key: str
    experiment: str
    title: str
    look: Look
    rising: bool


BRANCHES = {
    branch.key: branch
    for branch in (
        Branch("T1-up", "T1", RAISED, LOOK_OF[RAISED], True),
        Branch("T1-back", "T1", BACK, LOOK_OF[BACK], False),
        Branch("T2-down", "T2", LOWERED, LOOK_OF[LOWERED], False),
        Branch("T2-trapped", "T2", TRAPPED, LOOK_OF[TRAPPED], False),
        Branch("V3-ordered", "V3", "V3, ordered branch", LOOKS["ordered"], True),
        Branch("V3-collapse", "V3", "V3, collapse branch", LOOKS["collapsed"], False),
        Branch("V3-trapped", "V3", "V3, began trapped", LOOKS["trapped"], False),
    )
}
_KEYS = {branch.title: key for key, branch in BRANCHES.items()}


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
        trajectories: evaluations by arm: one of them, two for V3.
        label: Tδ1's class in words; empty elsewhere.
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
    """A run's seeds, by experiment in the order of `EXPERIMENTS`."""
    return [_seed(name, record) for name in EXPERIMENTS for record in run.records.get(name, ())]


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
    number_ = seed_of(record)
    arms = tuple(arm for arm in _arms(experiment, record) if arm)
    if experiment == "Td1":
        name = category(record)
        label = CLASS_NAMES.get(name, name)
        return Seed(experiment, number_, record, (), arms, label, CLASS_LOOKS[name])
    return Seed(experiment, number_, record, tuple(_traces(experiment, record, number_)), arms)


def _traces(experiment: str, record: Record, seed: int) -> list[Trace]:
    if experiment == "V3":
        return _two_branches(record, seed)
    sweeps = {
        "T1-up": entries(record, "trajectory", "sweep"),
        "T1-back": entries(record, "return_trajectory"),
    }
    found = []
    for each in t1_passes(record) if experiment == "T1" else t2_passes(record):
        key = _KEYS[each.branch]
        sweep = sweeps.get(key, entries(record, "trajectory", "sweep"))
        found.append(_sweep(key, seed, each.curve, sweep))
    return found


def _two_branches(record: Record, seed: int) -> list[Trace]:
    state = branches.start_state(record)
    found = []
    for name in branches.BRANCHES if state in ("collapsed", "trapped") else ():
        key = "V3-trapped" if name == "collapse" and state == "trapped" else f"V3-{name}"
        sweep = entries(record, f"{name}_trajectory")
        found.append(_sweep(key, seed, Curve(branches.branch(record, name)), sweep))
    return found


def _sweep(key: str, seed: int, curve: Curve, sweep: Sequence[Entry]) -> Trace:
    constant = frozenset(level for level in levels_of(sweep) if mostly_constant(sweep, level))
    return Trace(BRANCHES[key], seed, curve, _evaluations(sweep), constant)


def _arms(experiment: str, record: Record) -> list[tuple[Evaluation, ...]]:
    if experiment == "V3":
        return [
            _evaluations(
                [*entries(record, f"{name}_init_trajectory"), *entries(record, f"{name}_trajectory")]
            )
            for name in branches.BRANCHES
        ]
    if experiment == "Td1":
        held = level_of(record)
        found = _evaluations(entries(record, "error_trajectory"))
        return [tuple(Evaluation(e.epoch, held if e.level is None else e.level, e.error) for e in found)]
    return [_evaluations([*entries(record, "trajectory"), *entries(record, "return_trajectory")])]


def _evaluations(found: Sequence[Entry]) -> tuple[Evaluation, ...]:
    return tuple(
        Evaluation(number(e, "epoch"), level_of(e), number(e, "error") if is_finite(e) else None)
        for e in found
    )
