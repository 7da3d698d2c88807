"""The threshold histogram as data: one column per λ level, and one for each way of having no threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style, wording
from dglib.analysis.style import LOOKS
from dglib.analysis.thresholds import Direction, Threshold, end_state

UNMEASURED = {"init_failed": "init\nfailed", "diverged": "diverged", "unfinished": "unfinished"}
_ROOMY = 8  # so many labels stand side by side at their full size
_LEGIBLE = 16  # a column of so many blocks still has room for the seeds' numbers


@dataclass(frozen=True)
class Column:
    """The seeds of one bar: those at one level, those without event (censored), or some not measured."""

    label: str
    seeds: tuple[Threshold, ...]


def columns(direction: Direction, found: Sequence[Threshold], levels: Sequence[float]) -> list[Column]:
    """Bars in ascending λ, the "none" bar at the end to which it is censored, the unmeasured last.

    `levels` are all that the sweep could visit, so that an empty level keeps its place.
    """
    measured = [seed for seed in found if seed.finished]
    every = sorted({*levels, *(seed.level for seed in measured if seed.level is not None)})
    bars = [
        Column(wording.level(level), tuple(seed for seed in measured if seed.level == level))
        for level in every
    ]
    without = tuple(seed for seed in measured if seed.level is None)
    none = Column("none", without)
    bars = [*bars, none] if direction.rising else [none, *bars]
    for outcome, label in UNMEASURED.items():
        seeds = tuple(seed for seed in found if seed.outcome == outcome)
        if seeds:
            bars.append(Column(label, seeds))
    return bars


def draw_columns(axes: Axes, direction: Direction, bars: Sequence[Column]) -> None:
    """Each seed a block with its number, stacked on its column, in the colour of the state it ended in."""
    tallest = max((len(bar.seeds) for bar in bars), default=0)
    for x, bar in enumerate(bars):
        for y, seed in enumerate(bar.seeds):
            swept = seed.outcome not in ("init_failed", "unfinished")
            color = LOOKS[end_state(direction, seed)].color if swept else style.LIGHT_GREY
            axes.add_patch(Rectangle((x - 0.42, y + 0.04), 0.84, 0.92, facecolor=color, edgecolor="none"))
            if tallest <= _LEGIBLE:
                ink = "white" if seed.finished else "black"  # blocks without threshold are pale
                middle = (x, y + 0.47)
                axes.text(*middle, str(seed.seed), ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xlim(-0.7, len(bars) - 0.3)
    axes.set_ylim(0, max(tallest, 1) * 1.05)
    size = 6 if len(bars) > _ROOMY else None
    labels = [bar.label for bar in bars]
    axes.set_xticks(range(len(bars)), labels, rotation=90, linespacing=0.95, fontsize=size)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if not any(bar.seeds for bar in bars):
        style.note(axes, "no records")
