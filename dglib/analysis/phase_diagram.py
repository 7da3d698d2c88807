"""Where seeds end in each cell of a grid: what became of each, shares with intervals, medians.

cells = [CellRecords("Td1", {"noise_rate": 0.2, "init_lambda": 0.5}, records, planned=4), ...]
table = [summarise_cell(cell) for cell in cells]
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.intervals import clopper_pearson
from dglib.analysis.reading import Record, Records, number, parameter, seed_of
from dglib.analysis.states import is_running
from dglib.analysis.thresholds import DIRECTIONS, DOWN, end_state, threshold
from dglib.experiments.branches import gaps as branches
from dglib.experiments.trapping.classes import DIVERGED, ORDERED, PARTIAL, TRAPPED, category

INIT_FAILED = "init_failed"  # a seed that never came to the question


@dataclass(frozen=True)
class CellRecords:
    """What one cell of a grid holds, of one experiment.

    Attributes:
        values: of the crossed parameters, by name.
        planned: seeds asked for.
        running: seeds that have begun and have no record.
    """

    experiment: str
    values: Mapping[str, Any]
    records: Records
    planned: int = 0
    running: int = 0


@dataclass(frozen=True)
class End:
    """What became of a finished seed: one of the experiment's kinds, and the quantity measured, if it was."""

    seed: int
    kind: str
    bounds: Bounds | None


@dataclass(frozen=True)
class Measure:
    """What an experiment's cells are told by.

    Attributes:
        symbol: of the quantity that each seed has.
        kinds: what may become of a seed, in words, the mildest first; `INIT_FAILED` beside them.
    """

    symbol: str
    kinds: Mapping[str, str]
    end: Callable[[Record], tuple[str, Bounds | None]]


def _td1(record: Record) -> tuple[str, Bounds | None]:
    error, kind = number(record, "final_error"), category(record)
    return kind, None if error is None or kind == DIVERGED else Bounds(error, error)


def _sweep(record: Record) -> tuple[str, Bounds | None]:
    direction = DIRECTIONS[record["experiment"]]
    seed = threshold(direction, record)
    kind = seed.outcome
    if kind == "no_event" and direction is DOWN and end_state(direction, seed) == "trapped":
        kind = TRAPPED
    return kind, seed.bounds


def _v3(record: Record) -> tuple[str, Bounds | None]:
    (seed,) = branches.summarise_branches([record])["seeds"]
    kind, gap = seed["outcome"], seed["gap"]
    if gap is None:
        return "no_gap" if kind == "complete" else kind, None
    apart = gap > parameter([record], "gap_error", branches.GAP_ERROR)
    kind = TRAPPED if seed["start"] == "trapped" else "two_branches" if apart else "one_branch"
    return kind, Bounds(gap, gap)


_TRAPPED = {TRAPPED: "trapped"}
_DIVERGED = {DIVERGED: "diverged"}
MEASURES = {
    "Td1": Measure(
        "final error",
        {ORDERED: "ordered", PARTIAL: "partial collapse", **_TRAPPED, **_DIVERGED},
        _td1,
    ),
    "T1": Measure("λ↑", {"no_event": "no collapse", "collapsed": "collapsed", **_DIVERGED}, _sweep),
    "T2": Measure(
        "λ↓", {"recovered": "recovered", "no_event": "not recovered", **_TRAPPED, **_DIVERGED}, _sweep
    ),
    "V3": Measure(
        "gap",
        {
            "one_branch": "one branch",
            "two_branches": "two branches",
            **_TRAPPED,
            "no_gap": "gap not measured",
            **_DIVERGED,
        },
        _v3,
    ),
}


def kinds(experiment: str) -> dict[str, str]:
    """What may become of a finished seed, kind -> words, the mildest first."""
    named = dict(MEASURES[experiment].kinds)
    return named if experiment == "Td1" else named | {INIT_FAILED: "init failed"}


def ends(cell: CellRecords) -> list[End]:
    """The finished seeds of a cell; one that is not done, or tells too little, is left out."""
    found = []
    for record in cell.records:
        kind, bounds = MEASURES[cell.experiment].end({**record, "experiment": cell.experiment})
        if kind != "unfinished" and not is_running(record):
            found.append(End(seed_of(record), kind, bounds))
    return found


def summarise_cell(cell: CellRecords) -> dict[str, Any]:
    """A cell as plain JSON-able values.

    `n` finished seeds of `planned`, `running`; `counts` by kind, `shares` of n with their 95 % intervals
    (Clopper–Pearson); `median`: bounds of the median of the quantity over the seeds that have one, null where
    censoring leaves it open; `phase`: the kind that at least half of the seeds came to, or passed (failed
    inits aside); None without seeds.
    """
    seeds = ends(cell)
    counts = Counter(seed.kind for seed in seeds)
    named, n = kinds(cell.experiment), len(seeds)
    measured = [seed.bounds for seed in seeds if seed.bounds is not None]
    return {
        "experiment": cell.experiment,
        "values": dict(cell.values),
        "planned": max(cell.planned, n + cell.running),
        "n": n,
        "running": cell.running,
        "counts": {kind: counts[kind] for kind in named},
        "shares": {kind: _share(counts[kind], n) for kind in named} if n else {},
        "measured": len(measured),
        "median": (median_bounds(measured) if measured else Bounds(-math.inf, math.inf)).as_dict(),
        "phase": _phase(counts, cell.experiment),
    }


def _share(count: int, n: int) -> dict[str, Any]:
    interval = clopper_pearson(count, n).as_dict()
    return {"share": count / n, "lower": interval["lower"], "upper": interval["upper"]}


def _phase(counts: Mapping[str, int], experiment: str) -> str | None:
    """The kind of the upper median seed, in the order of kinds."""
    ranked = [kind for kind in MEASURES[experiment].kinds for _ in range(counts[kind])]
    return ranked[len(ranked) // 2] if ranked else None


def middle(median: Mapping[str, float | None]) -> float | None:
    """One number for a median known by its bounds: the mean of its finite ends; None without one."""
    finite = [end for end in (median["lower"], median["upper"]) if end is not None]
    return sum(finite) / len(finite) if finite else None


def distinct(cells: list[CellRecords], name: str) -> list[Any]:
    """The values of a crossed parameter in the order in which the cells have them, each once."""
    found: list[Any] = []
    for cell in cells:
        if cell.values[name] not in found:
            found.append(cell.values[name])
    return found
