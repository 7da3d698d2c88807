"""Where seeds end in each cell of a grid: outcomes, shares with intervals and medians."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dglib.analysis import wording
from dglib.analysis.intervals import Bounds, clopper_pearson
from dglib.analysis.summary import Summary, known_cell, median_bounds

TRAPPED, DIVERGED, INIT_FAILED = "trapped_90", "diverged", "init_failed"
UNUSUAL = (DIVERGED, INIT_FAILED)  # outcomes that most grids do not need
NAMES = {  # of crossed parameters: in a title or a table's head, and on an axis
    "init_lambda": ("λ", "λ"),
    "noise_rate": ("η", "η, share of wrong training labels"),
    "lr": ("LR", "Learning rate"),
    "refresh_period": ("K", "K, steps from one value gradient to the next"),
    "epochs_per_level": ("dwell time", "Epochs per level"),
}
_GLYPHS = {TRAPPED: "◆", DIVERGED: "✕", INIT_FAILED: "▽"}
_MILD, _SEVERE = "●", "■"


@dataclass(frozen=True)
class Measure:
    """What the cells of an experiment's grids show.

    Attributes:
        symbol: of the quantity that each seed has.
        kinds: what a seed's "end" in a summary may be, in words, the mildest first.
        field: of a seed in a summary: the quantity; empty where it is known by `lower` and `upper` alone.
        in_unit_interval: whether the quantity is drawn on a scale from 0 to 1.
        has_init: whether a seed may fail before the question is asked of it.
        unusual: kinds that are shown only where some seed has them.
        glyphs: marks of kinds that have one of their own.
    """

    symbol: str
    kinds: Mapping[str, str]
    field: str = ""
    in_unit_interval: bool = False
    has_init: bool = True
    unusual: tuple[str, ...] = ()
    glyphs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def all_kinds(self) -> dict[str, str]:
        """Every kind of end in words, the mildest first."""
        return dict(self.kinds) | ({INIT_FAILED: "init failed"} if self.has_init else {})

    def bounds(self, seed: Summary) -> Bounds | None:
        """The quantity of a seed; None where it was not measured."""
        if not self.field:
            return known_cell(seed)
        value = None if seed["end"] == DIVERGED else seed[self.field]
        return None if value is None else Bounds(value, value)

    def glyph(self, kind: str) -> str:
        mildest = next(iter(self.kinds))
        return (_GLYPHS | dict(self.glyphs)).get(kind, _MILD if kind == mildest else _SEVERE)


@dataclass(frozen=True)
class Cell:
    """One cell of a grid, of one experiment.

    Attributes:
        values: of the crossed parameters, by name.
        summary: of the seeds there.
        planned: seeds asked for.
        running: seeds that have begun and have no record.
    """

    experiment: str
    measure: Measure
    values: Mapping[str, Any]
    summary: Summary
    planned: int = 0
    running: int = 0

    @cached_property
    def seeds(self) -> list[Summary]:
        """Those that have finished."""
        return [seed for seed in self.summary["seeds"] if seed["end"] != "unfinished"]

    @property
    def n(self) -> int:
        return len(self.seeds)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Seeds by kind of end."""
        counted = Counter(seed["end"] for seed in self.seeds)
        return {kind: counted[kind] for kind in self.measure.all_kinds}

    def interval(self, kind: str) -> Bounds:
        """Of the share of seeds with this end, at 95 % (Clopper–Pearson)."""
        return clopper_pearson(self.counts[kind], self.n)

    @cached_property
    def median(self) -> Bounds:
        """Of the quantity over the seeds that have one; open where censoring leaves it so."""
        return median_bounds([b for seed in self.seeds if (b := self.measure.bounds(seed)) is not None])

    @property
    def middle(self) -> float | None:
        """One number for the median: the mean of its finite ends; None without one."""
        finite = [end for end in self.median.pair if end is not None]
        return sum(finite) / len(finite) if finite else None

    @property
    def median_text(self) -> str:
        """ "0.41", "> 0.70" where it is open, "0.55–0.60" between two levels."""
        lower, upper = self.median.pair
        if lower is None or upper is None:
            return wording.interval(lower, upper)
        return wording.decimal(lower) if lower == upper else f"{wording.level(lower)}–{wording.level(upper)}"

    @cached_property
    def phase(self) -> str | None:
        """The kind that at least half of the seeds had, or a severer one, failed inits aside."""
        ranked = [kind for kind in self.measure.kinds for _ in range(self.counts[kind])]
        return ranked[len(ranked) // 2] if ranked else None  # of the upper median seed


def parameter_name(name: str) -> str:
    return NAMES.get(name, (name, name))[1]


def symbol(name: str) -> str:
    """A crossed parameter in a title or a table's head: its sign where it has one."""
    return NAMES.get(name, (name, name))[0]


def value_text(value: object) -> str:
    """A crossed value on an axis, in a table or in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value)


def values_text(values: Mapping[str, Any]) -> str:
    """ "λ = 0.5, η = 0.2"."""
    return ", ".join(f"{symbol(name)} = {value_text(value)}" for name, value in values.items())


def phases_line(name: str, measure: Measure, cells: Sequence[Cell]) -> str:
    """How many cells have each phase; `name`: of the experiment, which all cells are of."""
    phases = Counter(cell.phase for cell in cells if cell.n)
    line = f"{name}: {phases.total()} of {len(cells)} cells have finished seeds"
    parts = [f"{words} in {phases[kind]}" for kind, words in measure.kinds.items() if phases[kind]]
    return (
        f"{line}; half of a cell's seeds came to this end, or passed it: {', '.join(parts)}"
        if parts
        else line
    )
