"""The style of all figures: one palette, one set of sizes, and the small marks that they share.

Matplotlib is imported where something is drawn, so that experiments may import this for nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dglib.analysis.intervals import Bounds

# Okabe and Ito's colours, safe for colour-blind readers; line styles repeat the colours, for grey print.
BLUE, VERMILION, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, BLACK)
GREY, DARK_GREY, LIGHT_GREY = "#8A8A8A", "#555555", "#C8C8C8"

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,  # text stays text in the vector copy
}
FULL_WIDTH = 7.2  # inches: two columns of a journal
COLUMN_WIDTH = 3.5


@dataclass(frozen=True)
class Pen:
    """Colour, dashes and marker of one state."""

    color: str
    dashes: Any
    marker: str

    def line(self, width: float, alpha: float = 1.0, mark: float = 0.0) -> dict[str, Any]:
        """Options of a line, sizes in points; `mark`: of its markers, none at 0."""
        options = {"color": self.color, "linestyle": self.dashes, "linewidth": width, "alpha": alpha}
        return options | ({"marker": self.marker, "markersize": mark} if mark else {})


PENS = {
    "ordered": Pen(BLUE, "-", "o"),
    "collapsed": Pen(VERMILION, (0, (5, 1.5)), "s"),
    "trapped": Pen(BLACK, (0, (1, 1.2)), "D"),
    # Drawn together with the first two: Okabe and Ito's paler pair.
    "ordered pale": Pen("#56B4E9", "-", "^"),
    "collapsed pale": Pen("#E69F00", (0, (5, 1.5)), "v"),
    "lowered": Pen(GREEN, (0, (5, 1.5, 1, 1.5)), "P"),  # no triangle: it would point
    "diverged": Pen(PURPLE, (0, (5, 1.5, 1, 1.5)), "X"),
}
THIN, THICK = 0.8, 2.2
MEDIAN: dict[str, Any] = {
    "color": LIGHT_GREY,
    "linewidth": 5,
    "solid_capstyle": "round",
}  # broad and pale, under the seeds
DASHED: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (2, 2)), "zorder": 1}  # a limit


def new_figure(height: float, width: float = FULL_WIDTH) -> Figure:
    """An empty figure, in inches, that leaves room for its own labels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


# Held while drawing: matplotlib's settings and caches are global, and notebooks call back in several threads.
DRAWING = threading.RLock()


@contextmanager
def styled() -> Iterator[None]:
    """The context in which figures are drawn and saved; global settings stay as they were.

    One thread is in it at a time.
    """
    import matplotlib

    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    settings: Any = defaults | RC  # from the defaults, not from the reader's own: the same bytes everywhere
    with DRAWING, matplotlib.rc_context(settings):
        yield


def panel(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    # Stated on the axis as well: ticks made later, outside the context, have these sizes.
    axes.tick_params(labelsize=RC["xtick.labelsize"], width=0.7, length=3)


def error_axis(axes: Axes) -> None:
    """Error from 0 to 1, with a little air for lines at the ends."""
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def limit_line(axes: Axes, value: float, label: str, side: str = "right") -> None:
    """A thin horizontal line at a limit, named on it at the "left" or "right", or "outside" at its end."""
    from matplotlib.patheffects import withStroke

    axes.axhline(value, **DASHED)
    x, align = {"left": (0.01, "left"), "right": (0.99, "right"), "outside": (1.01, "left")}[side]
    axes.annotate(
        label, (x, value), xycoords=("axes fraction", "data"), fontsize=6.5, color=DARK_GREY,
        xytext=(0, 0 if side == "outside" else 1.5), textcoords="offset points",
        ha=align, va="center" if side == "outside" else "bottom", zorder=7,
        path_effects=[withStroke(linewidth=1.8, foreground="white")],  # read across lines that cross it
    )  # fmt: skip


def note(axes: Axes, text: str) -> None:
    """The reason why a panel is empty, without ticks on its x axis."""
    axes.set_xticks([])
    axes.text(0.5, 0.62, text, transform=axes.transAxes, ha="center", va="center", color=DARK_GREY)


def arrow(axes: Axes, xs: Sequence[float], ys: Sequence[float], color: str) -> None:
    """An arrowhead halfway along a line, between two of its points, in the direction in which it was run."""
    after = len(xs) // 2
    if after == 0:
        return
    start = (xs[after - 1], ys[after - 1])
    tip = (0.4 * start[0] + 0.6 * xs[after], 0.4 * start[1] + 0.6 * ys[after])
    shape = "-|>,head_length=12,head_width=4.5"  # points
    head = {"arrowstyle": shape, "mutation_scale": 1, "color": color, "linewidth": 0, "shrinkB": 0}
    axes.annotate("", tip, start, arrowprops=head, zorder=6)


def cell_bar(
    axes: Axes,
    at: float,
    cell: tuple[float, float],
    limits: tuple[float, float],
    color: str,
    upright: bool = False,
) -> None:
    """A bar over the bounds of a value, within the `ends` shown; a side that is open has an arrowhead.

    Args:
        upright: whether the value is on the y axis; then the bar is pale, to be drawn over.
    """
    low, high = max(cell[0], limits[0]), min(cell[1], limits[1])
    line: dict[str, Any] = {"color": color, "solid_capstyle": "butt"}
    line |= {"linewidth": 2.5, "alpha": 0.35} if upright else {"linewidth": 2}
    axes.plot(*(([at, at], [low, high]) if upright else ([low, high], [at, at])), **line)
    for end, edge, marker in (
        (cell[1], high, "^" if upright else ">"),
        (cell[0], low, "v" if upright else "<"),
    ):
        if math.isinf(end):
            point = (at, edge) if upright else (edge, at)
            axes.plot(*point, marker, color=color, markersize=3 if upright else 3.5, clip_on=False)


def cell_rows(axes: Axes, rows: Sequence[tuple[str, Bounds, Pen] | None], levels: Iterable[float]) -> None:
    """From the top a row for each value that is known by its bounds, marked at its centre; None: empty.

    Args:
        levels: that the axis shows besides.
    """
    edges = [end for row in rows if row for end in (row[1].lower, row[1].upper) if math.isfinite(end)]
    known = [*levels, *edges] or [0.3, 0.7]
    low, high = min(known) - 0.03, max(known) + 0.03
    names: dict[int, str] = {}
    for y, row in enumerate(rows):
        if row is not None:
            name, cell, pen = row
            cell_bar(axes, y, (cell.lower, cell.upper), (low, high), pen.color)
            if cell.is_closed:
                axes.plot((cell.lower + cell.upper) / 2, y, pen.marker, color=pen.color, markersize=3.5)
            names |= {y: name} if name else {}
    axes.set_yticks(list(names), list(names.values()))
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(low, high), ylim=(max(len(rows), 1) - 0.3, -0.7))


def draw_seeds(
    axes: Axes, seeds: Iterable[Mapping[float, float]], pen: Pen, alpha: float = 0.5, mark: float = 0.0
) -> None:
    """A thin line for each seed, through its x -> y."""
    for line in seeds:
        axes.plot(list(line), list(line.values()), **pen.line(THIN, alpha, mark=mark))


def draw_sweep(
    axes: Axes, seeds: Iterable[Mapping[float, float]], median: tuple[list[float], list[float]], pen: Pen
) -> None:
    """Error against λ along a sweep: seeds thin, their median thick, an arrow along it."""
    draw_seeds(axes, seeds, pen)
    axes.plot(*median, **pen.line(THICK, mark=4), zorder=4)
    arrow(axes, *median, pen.color)


def legend_below(
    figure: Figure, keys: Sequence[tuple[str, dict[str, Any]]], columns: int | None = None
) -> None:
    """One legend for all panels, beneath them, of lines made for it; in two rows if one would be too wide."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, **options) for label, options in keys]
    if handles:
        wide = sum(len(label) + 8 for label, _ in keys) > 15 * figure.get_figwidth()
        columns = columns or (-(-len(handles) // 2) if wide else len(handles))
        options = {"frameon": False, "handlelength": 2.8, "columnspacing": 1.6}
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, **options)
