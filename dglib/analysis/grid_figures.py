"""Figures of a grid: a curve over one crossed parameter, maps over two or more.

Colour runs from light to dark and repeats the number in the cell, so a grey print loses nothing. Values lie
at equal distances, in the grid's order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
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
    parameter_name,
    value_text,
    values_text,
)
from dglib.analysis.intervals import Bounds
from dglib.analysis.style import COLUMN_WIDTH, FULL_WIDTH, PENS, Pen

MAX_MAPS = 6
_SHADES = matplotlib.colormaps["cividis_r"]
_HATCHED: dict[str, Any] = {"facecolor": "#F2F2F2", "edgecolor": "#B5B5B5", "hatch": "////", "linewidth": 0}
_PENS = {TRAPPED: PENS["trapped"], DIVERGED: PENS["diverged"], INIT_FAILED: Pen(style.GREY, "-", "v")}
_FLAT = 0.3  # half the width of a median's line, of the distance between two values
_ARROW = {  # from a median outwards; sizes in points
    "arrowstyle": "<|-,head_length=6,head_width=6", "mutation_scale": 1, "color": style.LIGHT_GREY,
    "linewidth": 3, "shrinkA": 0, "shrinkB": 0,
}  # fmt: skip

Cells = Sequence[Cell]
Key = tuple[str, dict[str, Any]]


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
    measure = cells[0].measure
    title = measure.symbol.capitalize() if measure.symbol.isascii() else measure.symbol
    style.panel(top, f"a  {title}, by seed", "", title)
    style.panel(below, "b  Share of the seeds", parameter_name(name), "Share, 95 % interval")
    keys = _shares(below, measure, cells)
    keys += _medians(top, cells)
    keys += _seeds(top, cells)
    if measure.in_unit_interval:
        style.error_axis(top)
    style.legend_below(figure, list(dict(keys).items()), columns=2)
    below.set_xticks(range(len(cells)), [value_text(cell.values[name]) for cell in cells])
    top.tick_params(labelbottom=False)
    below.set_xlim(-0.6, len(cells) - 0.4)
    for x, cell in enumerate(cells):
        if not cell.n:
            waiting = f"{cell.running} under way" if cell.running else "no seed finished"
            grey = {"color": style.DARK_GREY, "fontsize": 6.5, "rotation": 90}
            across = below.get_xaxis_transform()
            below.text(x, 0.5, waiting, transform=across, ha="center", va="center", **grey)
    return figure


def _seeds(axes: Axes, cells: Cells) -> list[Key]:
    """Draws the quantity of each seed; the legend's keys to what is open."""
    keys = []
    for center, cell in enumerate(cells):
        measured = ((seed, cell.measure.bounds(seed)) for seed in cell.seeds)
        seeds = [(seed, bounds) for seed, bounds in measured if bounds is not None]
        for index, (seed, bounds) in enumerate(seeds):
            finite = [end for end in (bounds.lower, bounds.upper) if math.isfinite(end)]
            if not finite:
                continue
            x, head = center + 0.5 * ((index + 0.5) / len(seeds) - 0.5), _arrowhead(bounds)
            axes.plot([x, x], [finite[0], finite[-1]], color=style.GREY, linewidth=1.4, zorder=2)
            mark = head or f"${cell.measure.glyph(seed['end'])}$"
            axes.plot([x], [fmean(finite)], linestyle="", marker=mark, color=style.BLACK, markersize=3.4)
            keys += [_open(head)] if head else []
    return keys


def _medians(axes: Axes, cells: Cells) -> list[Key]:
    """Draws the medians, joined where they are known; the legend's keys to them."""
    medians = [(x, cell.median, cell.middle) for x, cell in enumerate(cells)]
    known = [(x, math.nan if value is None or _arrowhead(b) else value) for x, b, value in medians]
    # Flat around each value, so that a median between two open ones is seen as well.
    steps = [(x + aside, y) for x, y in known for aside in (-_FLAT, _FLAT)]
    axes.plot([x for x, _ in steps], [y for _, y in steps], **style.MEDIAN, zorder=1)
    heads = [(x, value, head) for x, b, value in medians if value is not None and (head := _arrowhead(b))]
    for x, value, head in heads:
        axes.plot([x - _FLAT, x + _FLAT], [value, value], **style.MEDIAN, zorder=1)
        tip = (0, 14 if head == "^" else -14)
        axes.annotate("", (x, value), tip, textcoords="offset points", arrowprops=_ARROW, zorder=1)
    if heads:
        axes.margins(y=0.16)  # room for them
    return [("median", style.MEDIAN)] * any(value is not None for *_, value in medians)


def _open(head: str) -> Key:
    return f"lies {'above' if head == '^' else 'below'}", {
        "linestyle": "", "color": style.BLACK, "markersize": 4, "marker": head,
    }  # fmt: skip


def _arrowhead(bounds: Bounds) -> str:
    """The marker that points to where a quantity may lie; "" if it is bounded on both sides, or on none."""
    above, below = math.isinf(bounds.upper), math.isinf(bounds.lower)
    return "" if above == below else "^" if above else "v"


def _shares(axes: Axes, measure: Measure, cells: Cells) -> list[Key]:
    """Draws the shares of each end that occurs; the legend's keys to them."""
    kinds = measure.all_kinds
    present = [kind for kind in kinds if any(cell.counts[kind] for cell in cells)]
    handles = []
    for order, kind in enumerate(present):
        pen = _PENS.get(kind, PENS["ordered" if kind == next(iter(kinds)) else "collapsed"])
        aside = 0.16 * (order - (len(present) - 1) / 2)
        begun = [(x + aside, cell) for x, cell in enumerate(cells) if cell.n]
        for x, cell in begun:
            share = cell.interval(kind)
            axes.plot([x, x], [share.lower, share.upper], color=pen.color, linewidth=1.0, alpha=0.7)
        line = pen.line(1.2) | {"marker": pen.marker, "markersize": 4}
        axes.plot([x for x, _ in begun], [c.counts[kind] / c.n for _, c in begun], **line, clip_on=False)
        handles.append((kinds[kind], line))
    style.error_axis(axes)
    return handles


def draw_maps(cells: Cells) -> Figure | None:
    """A map of the last two crossed parameters for each combination of the others; None for too many.

    The last parameter runs along the columns, the one before along the rows, upwards. In each cell: the
    median of the quantity over its seeds, and how many of them came to each end. Hatched: no seed has
    finished. Thick lines part cells whose `phase` differs. All cells are of one experiment.
    """
    names, measure = list(cells[0].values), cells[0].measure
    *leading, ys, xs = (_distinct([cell.values[name] for cell in cells]) for name in names)
    facets = list(product(*leading))
    if len(facets) > MAX_MAPS:
        return None
    across = min(len(facets), max(1, 8 // len(xs)))
    down = -(-len(facets) // across)
    width = min(FULL_WIDTH, max(COLUMN_WIDTH, 0.95 * len(xs) * across + 1.5))
    size = (width - 1.4) / (len(xs) * across)  # inches, of a cell
    figure = style.new_figure(height=down * (min(0.72, 0.9 * size) * len(ys) + 0.75) + 0.5, width=width)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    shade = _scale(measure, cells)
    for axes, facet in zip(panels, facets, strict=False):
        positions = {
            (xs.index(cell.values[names[-1]]), ys.index(cell.values[names[-2]])): cell
            for cell in cells
            if list(cell.values.values())[:-2] == list(facet)
        }
        for position, cell in positions.items():
            _cell(axes, position, cell, shade, min(1.0, size / 0.7))
        _boundaries(axes, positions)
        axes.set(xlim=(-0.5, len(xs) - 0.5), ylim=(-0.5, len(ys) - 0.5))
        ticks = style.RC["xtick.labelsize"]
        axes.set_xticks(range(len(xs)), [value_text(x) for x in xs], fontsize=ticks)
        axes.set_yticks(range(len(ys)), [value_text(y) for y in ys], fontsize=ticks)
        axes.set(xlabel=parameter_name(names[-1]), ylabel=parameter_name(names[-2]))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(values_text(dict(zip(names, facet, strict=False))), loc="left")
    for axes in panels[len(facets) :]:
        axes.set_visible(False)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(shade, _SHADES), ax=figure.axes, pad=0.02, aspect=28)
    bounded = any(cell.median.lower != cell.median.upper for cell in cells if cell.middle is not None)
    bar.set_label(f"Median {measure.symbol}{' (middle of its bounds)' if bounded else ''}")
    bar.outline.set_visible(False)
    _key(figure, measure, cells)
    return figure


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Values may be lists, which have no hash."""
    return [value for index, value in enumerate(values) if value not in values[:index]]


def _scale(measure: Measure, cells: Cells) -> Normalize:
    """Errors and gaps from 0 to 1; thresholds over the range that there is."""
    medians = [cell.middle for cell in cells if cell.middle is not None]
    if measure.in_unit_interval or not medians:
        return Normalize(0, 1)
    return Normalize(min(medians) - 0.05, max(medians) + 0.05)


def _boundaries(axes: Axes, positions: Mapping[tuple[int, int], Cell]) -> None:
    """Lines between neighbours whose phase differs, on a white edge, so that they are seen on any shade."""
    for (x, y), cell in positions.items():
        for dx, dy in ((1, 0), (0, 1)):
            other = positions.get((x + dx, y + dy))
            if other and cell.phase and other.phase and cell.phase != other.phase:
                for color, width, order in (("white", 4.2, 3), (style.BLACK, 2.2, 4)):
                    line: dict[str, Any] = {"color": color, "linewidth": width, "zorder": order}
                    segment = ([x + 0.5, x + 0.5 - dy], [y + 0.5, y + 0.5 - dx])
                    axes.plot(*segment, **line, solid_capstyle="projecting")


def _cell(axes: Axes, position: tuple[int, int], cell: Cell, shade: Normalize, scale: float) -> None:
    (x, y), value = position, cell.middle
    fill: dict[str, Any] = {"facecolor": "white", "edgecolor": style.GREY, "linewidth": 0.6}  # no quantity
    ink, box, lines = style.BLACK, None, []
    if not cell.n:
        fill, box = _HATCHED, {"facecolor": "#F2F2F2", "edgecolor": "none", "pad": 1.0}
    elif value is not None:
        color = _SHADES(shade(value))
        fill = {"facecolor": color, "edgecolor": "white", "linewidth": 1.0}
        ink = style.BLACK if np.dot(color[:3], (0.2126, 0.7152, 0.0722)) > 0.46 else "white"
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **fill))
    if cell.n:
        counts = (f"{count}{cell.measure.glyph(kind)}" for kind, count in cell.counts.items() if count)
        lines = [cell.median_text, "  ".join(counts)]
    if cell.running:
        lines.append(f"{cell.running} under way")
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink, "bbox": box, "zorder": 5}
    axes.text(x, y, "\n".join(lines), fontsize=7 * scale, linespacing=1.4, **text)


def _key(figure: Figure, measure: Measure, cells: Cells) -> None:
    """What the marks stand for, of those that occur; the hatching and the line, where there are any."""
    mark: dict[str, Any] = {"linestyle": "", "color": style.BLACK, "markersize": 5}
    handles: list[Any] = [
        Line2D([], [], marker=f"${measure.glyph(kind)}$", label=words, **mark)
        for kind, words in measure.all_kinds.items()
        if any(cell.counts[kind] for cell in cells)
    ]
    if len({cell.phase for cell in cells if cell.phase}) > 1:
        label = "beyond it half of the seeds come to another end"
        handles.append(Line2D([], [], color=style.BLACK, linewidth=2.2, label=label))
    if any(not cell.n for cell in cells):
        handles.append(Patch(**_HATCHED, label="no seed finished"))
    columns = len(handles) if figure.get_figwidth() > 6 else 2
    options = {"frameon": False, "handlelength": 1.6, "columnspacing": 1.4}
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, **options)
