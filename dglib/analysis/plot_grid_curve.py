"""Curves over one crossed parameter: what each seed measured, and the shares of what became of them."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dglib.analysis import style
from dglib.analysis.bounds import Bounds
from dglib.analysis.grid_wording import Summary, glyph, parameter_name, value_text
from dglib.analysis.phase_diagram import (
    DIVERGED_WORD,
    INIT_FAILED,
    TRAPPED_WORD,
    CellRecords,
    Measure,
    ends,
    middle,
    summarise_cell,
)
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, Look

_LOOKS = {
    **dict.fromkeys(TRAPPED_WORD, LOOKS["trapped"]),
    **dict.fromkeys(DIVERGED_WORD, LOOKS["diverged"]),
    INIT_FAILED: Look(style.GREY, "-", "v"),
}
_FLAT = 0.3  # of the way to the next place, on both sides
_ARROW = {  # from a median outwards; sizes in points
    "arrowstyle": "<|-,head_length=6,head_width=6", "mutation_scale": 1, "color": style.LIGHT_GREY,
    "linewidth": 3, "shrinkA": 0, "shrinkB": 0,
}  # fmt: skip

Cells = Sequence[CellRecords]


def draw_curve(cells: Cells) -> Figure:
    """Over one crossed parameter. a: the quantity of each seed, medians joined. b: shares, 95 % intervals.

    What censoring leaves open, a seed's quantity or a median, is an arrowhead at its bound, and no line goes
    through it. Values stand at equal distances, in the grid's order. All cells are of one experiment.
    """
    (name,) = cells[0].values
    figure = style.new_figure(height=4.6, width=COLUMN_WIDTH)
    top, below = figure.subplots(2, 1, sharex=True)
    measure, told = cells[0].measure, [summarise_cell(cell) for cell in cells]
    title = measure.symbol.capitalize() if measure.symbol.isascii() else measure.symbol
    style.panel(top, f"a  {title}, by seed", "", title)
    style.panel(below, "b  Share of the seeds", parameter_name(name), "Share, 95 % interval")
    keys = _quantities(top, cells, told)
    if measure.in_unit_interval:
        style.error_axis(top)
    style.legend_below(figure, _shares(below, measure, told) + keys, columns=2)
    below.set_xticks(range(len(cells)), [value_text(cell.values[name]) for cell in cells])
    top.tick_params(labelbottom=False)
    below.set_xlim(-0.6, len(cells) - 0.4)
    for place, each in enumerate(told):
        if not each["n"]:
            waiting = f"{each['running']} under way" if each["running"] else "no seed finished"
            grey = {"color": style.DARK_GREY, "fontsize": 6.5, "rotation": 90}
            across = below.get_xaxis_transform()
            below.text(place, 0.5, waiting, transform=across, ha="center", va="center", **grey)
    return figure


def _quantities(axes: Axes, cells: Cells, told: Sequence[Summary]) -> list[tuple[str, dict[str, Any]]]:
    """Draws the seeds and the medians; the legend's keys to the medians and to what is open."""
    arrowheads: list[str] = []
    for place, cell in enumerate(cells):
        seeds = [(seed, seed.bounds) for seed in ends(cell) if seed.bounds is not None]
        for index, (seed, bounds) in enumerate(seeds):
            finite = [end for end in (bounds.lower, bounds.upper) if math.isfinite(end)]
            if not finite:
                continue
            x = place + 0.5 * ((index + 0.5) / len(seeds) - 0.5)
            axes.plot([x, x], [finite[0], finite[-1]], color=style.GREY, linewidth=1.4, zorder=2)
            marker = _arrowhead(bounds)
            arrowheads += marker
            mark = marker or f"${glyph(cell.measure, seed.kind)}$"
            axes.plot(
                [x], [sum(finite) / len(finite)], linestyle="", marker=mark, color=style.BLACK, markersize=3.4
            )
    medians = [(place, Bounds.of(each["median"]), middle(each["median"])) for place, each in enumerate(told)]
    known = [(x, math.nan if value is None or _arrowhead(b) else value) for x, b, value in medians]
    # Flat over each place, so that a median between two open ones is seen as well.
    steps = [(x + aside, y) for x, y in known for aside in (-_FLAT, _FLAT)]
    axes.plot([x for x, _ in steps], [y for _, y in steps], **style.MEDIAN, zorder=1)
    for x, bounds, value in medians:
        if value is not None and (head := _arrowhead(bounds)):
            axes.plot([x - _FLAT, x + _FLAT], [value, value], **style.MEDIAN, zorder=1)
            tip = (0, 14 if head == "^" else -14)
            axes.annotate("", (x, value), tip, textcoords="offset points", arrowprops=_ARROW, zorder=1)
            arrowheads += head
    if arrowheads:
        axes.margins(y=0.16)  # room for them
    keys = [("median", style.MEDIAN)] if any(value is not None for *_, value in medians) else []
    open_: dict[str, Any] = {"linestyle": "", "color": style.BLACK, "markersize": 4}
    return keys + [("lies beyond", open_ | {"marker": head}) for head in sorted(set(arrowheads))]


def _arrowhead(bounds: Bounds) -> str:
    """The marker that points to where a quantity may lie; "" if it is bounded on both sides, or on none."""
    above, below = math.isinf(bounds.upper), math.isinf(bounds.lower)
    return "" if above == below else "^" if above else "v"


def _shares(axes: Axes, measure: Measure, told: Sequence[Summary]) -> list[tuple[str, dict[str, Any]]]:
    """Draws the shares of each end that occurs; the legend's keys to them."""
    kinds = measure.all_kinds
    present = [kind for kind in kinds if any(each["counts"][kind] for each in told)]
    handles = []
    for order, kind in enumerate(present):
        look = _LOOKS.get(kind, LOOKS["ordered" if kind == next(iter(kinds)) else "collapsed"])
        aside = 0.16 * (order - (len(present) - 1) / 2)
        places = [(x, each["shares"][kind]) for x, each in enumerate(told) if each["n"]]
        xs = [x + aside for x, _ in places]
        for x, (_, share) in zip(xs, places, strict=True):
            axes.plot([x, x], [share["lower"], share["upper"]], color=look.color, linewidth=1.0, alpha=0.7)
        line = look.line(1.2) | {"marker": look.marker, "markersize": 4}
        axes.plot(xs, [share["share"] for _, share in places], **line, clip_on=False)
        handles.append((kinds[kind], line))
    style.error_axis(axes)
    return handles
