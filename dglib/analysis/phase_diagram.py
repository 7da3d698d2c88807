"""Where seeds end in each cell of a grid: what became of each, shares with intervals, medians.

cells = [CellRecords("X", measure, {"noise_rate": 0.2, "init_lambda": 0.5}, records, planned=4), ...]
table = [summarise_cell(cell) for cell in cells]
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.fields import Record, Records, seed_of
from dglib.analysis.intervals import clopper_pearson
from dglib.analysis.states import is_running

INIT_FAILED = "init_failed"  # a seed that never came to the question


@dataclass(frozen=True)
class Measure:
    """What an experiment's cells are told by.

    Attributes:
        symbol: of the quantity that each seed has.
        kinds: what may become of a seed, in words, the mildest first; `INIT_FAILED` beside them.
        end: a finished seed's kind, and its quantity if that was measured.
        bounded: whether a seed's quantity is known by bounds alone.
        in_unit_interval: whether the quantity is drawn on a scale from 0 to 1.
        has_init: whether a seed may fail before it comes to the question.
        unusual: kinds that are shown only where some seed came to them.
        glyphs: marks of kinds that have one of their own.
    """

    symbol: str
    kinds: Mapping[str, str]
    end: Callable[[Record], tuple[str, Bounds | None]]
    bounded: bool = False
    in_unit_interval: bool = False
    has_init: bool = True
    unusual: tuple[str, ...] = ()
    glyphs: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_kinds(self) -> dict[str, str]:
        """What may become of a finished seed, kind -> words, the mildest first."""
        return dict(self.kinds) | ({INIT_FAILED: "init failed"} if self.has_init else {})


@dataclass(frozen=True)
class CellRecords:
    """What one cell of a grid holds, of one experiment.

    Attributes:
        values: of the crossed parameters, by name.
        planned: seeds asked for.
        running: seeds that have begun and have no record.
    """

    experiment: str
    measure: Measure
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


_TRAPPED, _DIVERGED = "trapped_90", "diverged"
TRAPPED_WORD, DIVERGED_WORD = {_TRAPPED: "trapped"}, {_DIVERGED: "diverged"}
UNUSUAL = (_DIVERGED, INIT_FAILED)  # kinds that most grids do not need


def ends(cell: CellRecords) -> list[End]:
    """The finished seeds of a cell; one that is not done, or tells too little, is left out."""
    found = []
    for record in cell.records:
        kind, bounds = cell.measure.end(record)
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
    named, n = cell.measure.all_kinds, len(seeds)
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
        "phase": _phase(counts, cell.measure),
    }


def _share(count: int, n: int) -> dict[str, Any]:
    interval = clopper_pearson(count, n).as_dict()
    return {"share": count / n, "lower": interval["lower"], "upper": interval["upper"]}


def _phase(counts: Mapping[str, int], measure: Measure) -> str | None:
    """The kind of the upper median seed, in the order of kinds."""
    ranked = [kind for kind in measure.kinds for _ in range(counts[kind])]
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
