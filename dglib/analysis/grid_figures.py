"""Figures of a grid: a curve over one crossed parameter, maps over two or more.

Colour runs from light to dark and repeats the number in the cell, so a grey print loses nothing. Values lie
at equal distances, in the grid's order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from dglib.analysis import style
from dglib.analysis.grid import (
    DIVERGED,
    INIT_FAILED,
    TRAPPED,
    Cell,
    Measure,
    distinct,
    median_text,
    middle,
    parameter_name,
    summarise_cell,
    value_text,
    values_text,
)
from dglib.analysis.intervals import Bounds
from dglib.analysis.style import COLUMN_WIDTH, FULL_WIDTH, LOOKS, Look
from dglib.analysis.summary import Summary

MAX_MAPS = 6
_SHADES = matplotlib.colormaps["cividis_r"]
_HATCHED: dict[str, Any] = {"facecolor": "#F2F2F2", "edgecolor": "#B5B5B5", "hatch": "////", "linewidth": 0}
_LOOKS = {TRAPPED: LOOKS["trapped"], DIVERGED: LOOKS["diverged"], INIT_FAILED: Look(style.GREY, "-", "v")}
_FLAT = 0.3  # half the width of a median's line, of the distance between two values
_ARROW = {  # from a median outwards; sizes in points
    "arrowstyle": "<|-,head_length=6,head_width=6", "mutation_scale": 1, "color": style.LIGHT_GREY,
    "linewidth": 3, "shrinkA": 0, "shrinkB": 0,
}  # fmt: skip

Cells = Sequence[Cell]


def draw_grid(cells: Cells) -> Figure | None:
    """Where the seeds of a grid's cells ended, all of one experiment; None for too many maps."""
    with style.styled():
        return draw_curve(cells) if len(cells[0].values) == 1 else draw_maps(cells)


def draw_curve(cells: Cells) -> Figure:
    """Over one crossed parameter. a: the quantity of each seed, medians joined. b: shares, 95 % intervals.

    What censoring leaves open, a seed's quantity or a median, is an arrowhead at its bound, and no line goes
    through it.
    """
    (name,) = cells[0].values
    figure = style.new_figure(height=4.6, width=COLUMN_WIDTH)
    top, below = figure.subplots(2, 1, sharex=True)
    measure, summaries = cells[0].measure, [summarise_cell(cell) for cell in cells]
    title = measure.symbol.capitalize() if measure.symbol.isascii() else measure.symbol
    style.panel(top, f"a  {title}, by seed", "", title)
    style.panel(below, "b  Share of the seeds", parameter_name(name), "Share, 95 % interval")
    keys = _quantities(top, cells, summaries)
    if measure.in_unit_interval:
        style.error_axis(top)
    style.legend_below(figure, _shares(below, measure, summaries) + keys, columns=2)
    below.set_xticks(range(len(cells)), [value_text(cell.values[name]) for cell in cells])
    top.tick_params(labelbottom=False)
    below.set_xlim(-0.6, len(cells) - 0.4)
    for x, item in enumerate(summaries):
        if not item["n"]:
            waiting = f"{item['running']} under way" if item["running"] else "no seed finished"
            grey = {"color": style.DARK_GREY, "fontsize": 6.5, "rotation": 90}
            across = below.get_xaxis_transform()
            below.text(x, 0.5, waiting, transform=across, ha="center", va="center", **grey)
    return figure


def _quantities(axes: Axes, cells: Cells, summaries: Sequence[Summary]) -> list[tuple[str, dict[str, Any]]]:
    """Draws the seeds and the medians; the legend's keys to the medians and to what is open."""
    arrowheads: list[str] = []
    for center, cell in enumerate(cells):
        measured = ((seed, cell.measure.bounds(seed)) for seed in cell.seeds)
        seeds = [(seed, bounds) for seed, bounds in measured if bounds is not None]
        for index, (seed, bounds) in enumerate(seeds):
            finite = [end for end in (bounds.lower, bounds.upper) if math.isfinite(end)]
            if not finite:
                continue
            x = center + 0.5 * ((index + 0.5) / len(seeds) - 0.5)
            axes.plot([x, x], [finite[0], finite[-1]], color=style.GREY, linewidth=1.4, zorder=2)
            marker = _arrowhead(bounds)
            arrowheads += marker
            mark = marker or f"${cell.measure.glyph(seed['end'])}$"
            axes.plot(
                [x], [sum(finite) / len(finite)], linestyle="", marker=mark, color=style.BLACK, markersize=3.4
            )
    medians = [(x, Bounds.of(item["median"]), middle(item["median"])) for x, item in enumerate(summaries)]
    known = [(x, math.nan if value is None or _arrowhead(b) else value) for x, b, value in medians]
    # Flat around each value, so that a median between two open ones is seen as well.
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


def _shares(axes: Axes, measure: Measure, summaries: Sequence[Summary]) -> list[tuple[str, dict[str, Any]]]:
    """Draws the shares of each end that occurs; the legend's keys to them."""
    kinds = measure.all_kinds
    present = [kind for kind in kinds if any(item["counts"][kind] for item in summaries)]
    handles = []
    for order, kind in enumerate(present):
        look = _LOOKS.get(kind, LOOKS["ordered" if kind == next(iter(kinds)) else "collapsed"])
        aside = 0.16 * (order - (len(present) - 1) / 2)
        places = [(x, item["shares"][kind]) for x, item in enumerate(summaries) if item["n"]]
        xs = [x + aside for x, _ in places]
        for x, (_, share) in zip(xs, places, strict=True):
            axes.plot([x, x], [share["lower"], share["upper"]], color=look.color, linewidth=1.0, alpha=0.7)
        line = look.line(1.2) | {"marker": look.marker, "markersize": 4}
        axes.plot(xs, [share["share"] for _, share in places], **line, clip_on=False)
        handles.append((kinds[kind], line))
    style.error_axis(axes)
    return handles


def draw_maps(cells: Cells) -> Figure | None:
    """A map of the last two crossed parameters for each combination of the others; None for too many.

    The last parameter runs along the columns, the one before along the rows, upwards. In each cell: the
    median of the quantity over its seeds, and how many of them came to each end. Hatched: no seed has
    finished. Thick lines part cells whose `phase` differs. All cells are of one experiment.
    """
    *leading, rows, columns = cells[0].values
    facets = list(product(*(distinct(list(cells), name) for name in leading)))
    if len(facets) > MAX_MAPS:
        return None
    xs, ys = distinct(list(cells), columns), distinct(list(cells), rows)
    across = min(len(facets), max(1, 8 // max(len(xs), 1)))
    down = -(-len(facets) // across)
    width = min(FULL_WIDTH, max(COLUMN_WIDTH, 0.95 * len(xs) * across + 1.5))
    size = (width - 1.4) / (len(xs) * across)  # inches, of a cell
    figure = style.new_figure(height=down * (min(0.72, 0.9 * size) * len(ys) + 0.75) + 0.5, width=width)
    panels = figure.subplots(down, across, squeeze=False).flat
    summaries = [summarise_cell(cell) for cell in cells]
    measure = cells[0].measure
    shade = _scale(measure, summaries)
    for axes, facet in zip(panels, facets, strict=False):
        mine = [item for item in summaries if [item["values"][name] for name in leading] == list(facet)]
        named = zip(leading, facet, strict=True)
        title = values_text(dict(named))
        _map(axes, measure, mine, (xs, ys), (columns, rows), shade, min(1.0, size / 0.7))
        axes.set_title(title, loc="left")
    for axes in list(figure.axes)[len(facets) :]:
        axes.set_visible(False)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(shade, _SHADES), ax=figure.axes, pad=0.02, aspect=28)
    bounded = any(item["median"]["lower"] != item["median"]["upper"] for item in summaries)
    of_bounds = " (middle of its bounds)" if bounded else ""
    bar.set_label(f"Median {measure.symbol}{of_bounds}")
    bar.outline.set_visible(False)
    _key(figure, measure, summaries)
    return figure


def _scale(measure: Measure, summaries: Sequence[Summary]) -> Normalize:
    """Errors and gaps from 0 to 1; thresholds over the range that there is."""
    found = [value for item in summaries if (value := middle(item["median"])) is not None]
    if measure.in_unit_interval or not found:
        return Normalize(0, 1)
    return Normalize(min(found) - 0.05, max(found) + 0.05)


def _map(
    axes: Axes,
    measure: Measure,
    summaries: Sequence[Summary],
    values: tuple[Sequence[Any], Sequence[Any]],
    names: tuple[str, str],
    shade: Normalize,
    scale: float,
) -> None:
    (xs, ys), (columns, rows) = values, names
    places = {}
    for item in summaries:
        x, y = xs.index(item["values"][columns]), ys.index(item["values"][rows])
        places[x, y] = item
        _cell(axes, measure, (x, y), item, shade, scale)
    for (x, y), item in places.items():
        for dx, dy in ((1, 0), (0, 1)):
            other = places.get((x + dx, y + dy))
            if other and item["phase"] and other["phase"] and item["phase"] != other["phase"]:
                ends = ([x + 0.5, x + 0.5 - dy], [y + 0.5, y + 0.5 - dx])
                for color, width, order in (("white", 4.2, 3), (style.BLACK, 2.2, 4)):  # seen on any shade
                    line: dict[str, Any] = {"color": color, "linewidth": width, "zorder": order}
                    axes.plot(*ends, **line, solid_capstyle="projecting")
    axes.set_xlim(-0.5, len(xs) - 0.5)
    axes.set_ylim(-0.5, len(ys) - 0.5)
    axes.set_xticks(range(len(xs)), [value_text(x) for x in xs], fontsize=style.RC["xtick.labelsize"])
    axes.set_yticks(range(len(ys)), [value_text(y) for y in ys], fontsize=style.RC["ytick.labelsize"])
    axes.set_xlabel(parameter_name(columns))
    axes.set_ylabel(parameter_name(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _cell(
    axes: Axes, measure: Measure, place: tuple[int, int], summaries: Summary, shade: Normalize, scale: float
) -> None:
    x, y = place
    corner, middle_ = (x - 0.5, y - 0.5), middle(summaries["median"])
    if not summaries["n"]:
        axes.add_patch(Rectangle(corner, 1, 1, **_HATCHED))
    elif middle_ is None:  # seeds, but none with the quantity
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="#FFFFFF", edgecolor=style.GREY, linewidth=0.6))
    else:
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=_SHADES(shade(middle_)), linewidth=0))
    for side in ("axvline", "axhline"):
        getattr(axes, side)((x if side == "axvline" else y) + 0.5, color="white", linewidth=1.0, zorder=2)
    ink = _ink(None if middle_ is None or not summaries["n"] else shade(middle_))
    lines = []
    if summaries["n"]:
        counts = "  ".join(
            f"{count}{measure.glyph(kind)}" for kind, count in summaries["counts"].items() if count
        )
        lines += [(median_text(summaries), 8.5), (counts, 6.5)]
    if summaries["running"]:
        lines.append((f"{summaries['running']} under way", 5.8))
    for index, (text, size) in enumerate(lines):
        height = y + 0.23 * ((len(lines) - 1) / 2 - index) * (2 / max(2, len(lines)) + 0.25)
        box = {"facecolor": "#F2F2F2", "edgecolor": "none", "pad": 1.0} if not summaries["n"] else None
        axes.text(
            x, height, text, ha="center", va="center", fontsize=size * scale, color=ink, zorder=5, bbox=box
        )


def _ink(shade: float | None) -> str:
    if shade is None:
        return style.BLACK
    red, green, blue, _ = _SHADES(shade)
    return style.BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.46 else "white"


def _key(figure: Figure, measure: Measure, summaries: Sequence[Summary]) -> None:
    """What the marks stand for, of those that occur; the hatching and the line, where there are any."""
    handles: list[Any] = []
    for kind, words in measure.all_kinds.items():
        if any(item["counts"][kind] for item in summaries):
            marker = f"${measure.glyph(kind)}$"
            handles.append(
                Line2D([], [], linestyle="", marker=marker, color=style.BLACK, markersize=5, label=words)
            )
    if len({item["phase"] for item in summaries if item["phase"]}) > 1:
        label = "beyond it half of the seeds come to another end"
        handles.append(Line2D([], [], color=style.BLACK, linewidth=2.2, label=label))
    if any(not item["n"] for item in summaries):
        handles.append(Patch(**_HATCHED, label="no seed finished"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if figure.get_figwidth() > 6 else 2,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.4,
    )
