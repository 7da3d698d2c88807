"""The hysteresis loop in the plane of λ and error, and how much of it is lag: widths against dwell time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from dglib.analysis import style, wording
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Records, entries
from dglib.analysis.intervals import Bounds, median_bounds
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, THICK, Look
from dglib.analysis.thresholds import DOWN, threshold
from dglib.experiments import get
from dglib.experiments.spinodal.lag import DROPPING, UNKNOWN_RATE, by_setting, lag
from dglib.experiments.spinodal.summary import SeedSweep, sweeps_of

# Of the kinds of widths: title, and looks at a constant LR and under another rule.
_KINDS = {
    "loop": ("T1's loop", LOOKS["collapsed"], Look("#E69F00", "-", "X")),
    "collapsed": ("T1 to T2", LOOKS["lowered"], Look(style.PURPLE, "-", "o")),
    "trapped": ("T2 trapped", LOOKS["trapped"], Look(style.DARK_GREY, (0, (6, 2)), "d")),
}
_RULES = {DROPPING: "LR dropping", UNKNOWN_RATE: "LR not recorded"}
_SPACING = 1.12  # series at one dwell time lie apart by this factor at most
_SCRATCH: dict[str, Any] = {"color": style.BLACK, "linestyle": ":", "linewidth": 0.8}
_ARROW = {  # from a mark outwards; sizes in points
    "arrowstyle": "<|-,head_length=4,head_width=2", "mutation_scale": 1, "linewidth": 1.0, "shrinkA": 0,
    "shrinkB": 0,
}  # fmt: skip
_HOLLOW: dict[str, Any] = {"marker": "o", "color": style.DARK_GREY, "markerfacecolor": "white"}
_OPEN_KEY = ("hollow: median beyond", _HOLLOW | {"linestyle": "", "markersize": 4.5})

Series = tuple[str, str, dict[int, list[Bounds]]]  # kind, LR rule, dwell time -> bounds of each seed's width


def draw_loop(t1_records: Records, t2_records: Records) -> Figure:
    """Above, error against λ: seeds thin, medians thick, arrows along the sweep; below, thresholds' cells.

    T2's trapped seeds are a branch of their own. Diverged seeds have no branch; the legend counts the others.
    """
    figure = style.new_figure(height=4.8, width=COLUMN_WIDTH)
    top, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.6, 1.6]})
    made = [item for record in t1_records for item in sweeps_of("T1", record)]
    made += [item for record in t2_records for item in sweeps_of("T2", record)]
    style.panel(top, "a  Mean error at each level of λ", "", "Test error")
    style.error_axis(top)
    style.panel(below, "b  Where each seed's threshold lies", "λ", "")
    keys = []
    for sweep in (*get("T1").sweeps, *get("T2").sweeps):
        look, curves = LOOKS[sweep.look], [item.curve for item in made if item.key == sweep.key]
        style.draw_sweep(top, [c.errors for c in curves], median_curve(curves, sweep.rising), look)
        if curves:
            line = look.line(THICK) | {"marker": look.marker, "markersize": 4}
            keys.append((f"{sweep.title} ({len(curves)})", line))
    _draw_cells(below, made)
    if not made:
        for axes in (top, below):
            style.note(axes, "no sweep on record" if t1_records or t2_records else "no records")
    style.legend_below(figure, keys, columns=2)
    return figure


def _draw_cells(axes: Axes, made: Sequence[SeedSweep]) -> None:
    """A bar per seed over the cell of its threshold; one that is open at a side ends there in an arrow."""
    levels = [level for item in made for level in item.curve.errors]
    low, high = min(levels, default=0.3) - 0.03, max(levels, default=0.7) + 0.03
    row = 0
    ticks: list[tuple[float, str]] = []
    for sweep in (*get("T1").sweeps, *get("T2").sweeps):
        look, mine = LOOKS[sweep.look], [s for s in made if s.key == sweep.key]
        cells = [s.bounds for s in sorted(mine, key=lambda s: s.seed) if s.bounds is not None]
        for cell in cells:
            _draw_bar(axes, row, cell, look, (low, high), upright=False)
            row += 1
        if cells:
            ticks.append((row - 1 - (len(cells) - 1) / 2, sweep.short))
            row += 1
    axes.set_xlim(low, high)
    axes.set_ylim(max(row, 1) - 0.5, -1)
    axes.set_yticks([y for y, _ in ticks], [label for _, label in ticks])
    axes.tick_params(axis="y", length=0)


def _draw_bar(
    axes: Axes, at: float, bounds: Bounds, look: Look, ends: tuple[float, float], upright: bool
) -> None:
    """A seed's bounds within the ends shown; a side that is open has an arrowhead."""
    low, high = max(bounds.lower, ends[0]), min(bounds.upper, ends[1])
    line: dict[str, Any] = {"color": look.color, "solid_capstyle": "butt"}
    line |= {"linewidth": 2.5, "alpha": 0.35} if upright else {"linewidth": 2}
    axes.plot(*(([at, at], [low, high]) if upright else ([low, high], [at, at])), **line)
    for end, edge, marker in (
        (bounds.upper, high, "^" if upright else ">"),
        (bounds.lower, low, "v" if upright else "<"),
    ):
        if math.isinf(end):
            point = (at, edge) if upright else (edge, at)
            axes.plot(*point, marker, color=look.color, markersize=3 if upright else 3.5, clip_on=False)


def draw_lag(t1_records: Records, t2_records: Records, others: Records = ()) -> Figure:
    """a: widths against dwell time, a pale bar per seed over its bounds; medians joined. b: error against λ.

    A median that censoring leaves open on a side is a hollow mark at its other bound, with an arrow to where
    it may lie, and no line goes through it. b has the sweeps of the longest dwell time at a constant LR, and
    networks trained from scratch at each λ: where these lie on both branches of a loop, the loop is lag.
    """
    figure = style.new_figure(height=5.0, width=COLUMN_WIDTH)
    top, below = figure.subplots(2, 1)
    found = lag(t1_records, t2_records, others)
    drawn = series_of(found)
    style.panel(top, "a  Width against dwell time", "Epochs per level", "Width λ↑ − λ↓")
    looks = _looks(drawn)
    open_ = _draw_widths(top, drawn, looks)
    groups = by_setting(t1_records), by_setting(t2_records)
    constant = [s for s in (*groups[0], *groups[1]) if s[0] not in _RULES]
    setting = max(constant or (*groups[0], *groups[1]), key=lambda s: s[1], default=None)
    held = f", {wording.per_level(setting[1])}" if setting else ""
    style.panel(below, f"b  Error at each λ{held}", "λ", "Test error")
    style.error_axis(below)
    t1, t2 = (group.get(setting, []) if setting else [] for group in groups)
    keys = _draw_errors(below, t1, t2, found["scratch"])
    for axes, empty in ((top, not drawn), (below, not keys)):
        if empty:
            style.note(axes, "no sweep on record" if t1_records or t2_records else "no records")
    widths = [
        (
            f"{_KINDS[kind][0]}, {_RULES.get(rule, f'LR {rule}')}",
            look.line(1.6) | {"marker": look.marker, "markersize": 4},
        )
        for (kind, rule, _), look in zip(drawn, looks, strict=True)
    ]
    style.legend_below(figure, widths + ([_OPEN_KEY] if open_ else []) + keys, columns=2)
    return figure


def series_of(found: Mapping[str, Any]) -> list[Series]:
    series: dict[tuple[str, str], dict[int, list[Bounds]]] = {}
    for setting in found["settings"]:
        for kind in _KINDS:
            if setting[kind] and setting["epochs"]:
                widths = [Bounds.of(width) for width in setting[kind]]
                series.setdefault((kind, setting["rule"]), {})[setting["epochs"]] = widths
    return [(kind, rule, bounds) for (kind, rule), bounds in series.items()]


def _looks(drawn: Sequence[Series]) -> list[Look]:
    """A look for each series, by kind and rule; a kind with more rules than two looks begins again."""
    found: list[Look] = []
    for kind, rule, _ in drawn:
        constant, other = _KINDS[kind][1:]
        wanted = [other, constant] if rule in _RULES else [constant, other]
        found.append(next((look for look in wanted if look not in found), wanted[0]))
    return found


def _draw_widths(axes: Axes, drawn: Sequence[Series], looks: Sequence[Look]) -> bool:
    """Draw bars and medians; whether some median is open on a side."""
    every = [item for *_, held in drawn for bounds in held.values() for item in bounds]
    finite = [end for item in every for end in (item.lower, item.upper) if math.isfinite(end)]
    low, high = min([0.0, *finite]) - 0.04, max([0.1, *finite]) + 0.08
    dwells = sorted({epochs for *_, held in drawn for epochs in held})
    nearest = min((after / before for before, after in pairwise(dwells)), default=2.0)
    spacing = min(_SPACING, nearest ** (0.8 / max(len(drawn), 1)))
    open_ = False
    for index, ((*_, held), look) in enumerate(zip(drawn, looks, strict=True)):
        shift = spacing ** (index - (len(drawn) - 1) / 2)
        for epochs, bounds in held.items():
            for item in bounds:
                _draw_bar(axes, epochs * shift, item, look, (low, high), upright=True)
        medians = [(epochs * shift, median_bounds(bounds)) for epochs, bounds in held.items()]
        open_ = _draw_medians(axes, medians, look) or open_
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    axes.set_ylim(low, high)
    if dwells:
        axes.set_xscale("log", base=2)
        edge = spacing ** (len(drawn) / 2 + 1)
        axes.set_xlim(dwells[0] / edge, dwells[-1] * edge)
        axes.xaxis.set_major_locator(FixedLocator(dwells))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(epochs) for epochs in dwells])
    return open_


def _draw_medians(axes: Axes, medians: Sequence[tuple[float, Bounds]], look: Look) -> bool:
    """The middle of the median's bounds, joined; hollow, at the finite bound, where the other is open.

    Returns whether one is open so. The line breaks there: it would show a bound as if it were the value.
    """
    ys = [(b.lower + b.upper) / 2 for _, b in medians]
    line = look.line(1.6) | {"marker": look.marker, "markersize": 4.5, "markeredgecolor": "white"}
    known = [y if math.isfinite(y) else math.nan for y in ys]
    axes.plot([x for x, _ in medians], known, **line, markeredgewidth=0.6, zorder=5)
    hollow = [(x, b) for x, b in medians if math.isinf(b.lower) != math.isinf(b.upper)]
    for x, bounds in hollow:
        y, outwards = (bounds.lower, 13) if math.isinf(bounds.upper) else (bounds.upper, -13)
        arrow = _ARROW | {"color": look.color}
        axes.annotate("", (x, y), (0, outwards), textcoords="offset points", arrowprops=arrow, zorder=6)
        axes.plot(x, y, look.marker, color=look.color, markerfacecolor="white", markersize=4.5, zorder=6)
    return bool(hollow)


def _draw_errors(
    axes: Axes, t1: Records, t2: Records, scratch: Mapping[float, Sequence[float]]
) -> list[tuple[str, dict[str, Any]]]:
    """Median error at each λ of the sweeps and from scratch; returns the legend's keys."""
    trapped = [record for record in t2 if threshold(DOWN, record).start == "trapped"]
    fell = [record for record in t2 if threshold(DOWN, record).start == "collapsed"]
    keys = []
    for sweep, records in zip((*get("T1").sweeps, *get("T2").sweeps), (t1, t1, fell, trapped), strict=True):
        # What ended a sweep lies beyond the levels left out, so every curve counts as fired.
        curves = [Curve.of(entries(record, sweep.trajectory, sweep.phase), fired=True) for record in records]
        xs, ys = median_curve(curves, sweep.rising)
        if xs:
            look = LOOKS[sweep.look]
            line = look.line(1.6) | {"marker": look.marker, "markersize": 3.5}
            axes.plot(xs, ys, **line)
            style.arrow(axes, xs, ys, look.color)
            keys.append((f"{sweep.title}, median", line))
    for level, errors in scratch.items():
        axes.plot([level] * len(errors), errors, "_", color=style.BLACK, markersize=6)
    if scratch:
        axes.plot(list(scratch), [median(errors) for errors in scratch.values()], **_SCRATCH, zorder=2)
        keys.append(("from scratch, by seed", _SCRATCH | {"marker": "_", "markersize": 6}))
    return keys
