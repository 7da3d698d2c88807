"""The figures of T1 and T2: of each alone, of the loop between them, and of widths against dwell time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from dglib.analysis import style, wording
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Entry, Records, entries, is_finite, level_of, number, parameter
from dglib.analysis.intervals import Bounds, median_bounds
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, THICK, THIN, Look
from dglib.analysis.summary import Summary
from dglib.analysis.thresholds import DOWN, Direction, Threshold, end_state, threshold
from dglib.experiments import get
from dglib.experiments.spinodal.summary import STARTS, SeedSweep, planned_levels, still, sweeps_of
from dglib.experiments.spinodal.width import DROPPING, UNKNOWN_RATE, by_setting, lag_of

Seeds = Sequence[tuple[Threshold, list[Entry]]]  # those that entered the sweep, with its evaluations

_UNMEASURED = {"init_failed": "init\nfailed", "diverged": "diverged", "unfinished": "unfinished"}
_ROOMY = 8  # so many labels fit at their full size
_LEGIBLE = 16  # a column of so many blocks still has room for the seeds' numbers
_APART = 0.12  # of a grid step: between the intervals of two groups


def draw_spinodal(direction: Direction, records: Records) -> Figure:
    """Four panels: histogram of the threshold, share of seeds not yet moved, error against λ and epoch."""
    figure = style.new_figure(height=5.2)
    axes = figure.subplot_mosaic("abc;ddd")
    found = [threshold(direction, record) for record in records]
    sweeps = [entries(record, "trajectory", "sweep") for record in records]
    seeds = [(seed, sweep) for seed, sweep in zip(found, sweeps, strict=True) if sweep]
    levels = planned_levels(records)
    style.panel(axes["a"], f"a  Threshold {direction.symbol}, by seed", f"λ of the {direction.noun}", "Seeds")
    _draw_columns(axes["a"], direction, columns(direction, found, levels))
    state = "still ordered" if direction.rising else "not recovered, by start"
    style.panel(axes["b"], f"b  Share {state}", "λ", "Share of seeds")
    _draw_remaining(axes["b"], direction, found, levels)
    title = f"c  Error by level, λ {'raised' if direction.rising else 'lowered'}"
    style.panel(axes["c"], title, "λ", "Test error")
    _against_level(axes["c"], direction, seeds)
    style.panel(axes["d"], "d  Error through the sweep", "Epoch", "Test error")
    axes["d"].set_title(axes["d"].get_title(loc="left"), loc="left", pad=14)  # room for the levels' names
    _against_epoch(axes["d"], direction, seeds)
    limit = parameter(records, direction.limit, direction.default_limit)
    for name in "cd":
        style.error_axis(axes[name])
        early = name == "d" or direction.rising  # the end where few lines cross the limit
        label = f"{direction.noun} {wording.level(limit)}"
        style.limit_line(axes[name], limit, label, side="left" if early else "right")
        if not seeds:
            style.note(axes[name], "no sweep on record" if records else "no records")
    style.legend_below(figure, _keys(direction, seeds))
    return figure


def columns(
    direction: Direction, found: Sequence[Threshold], levels: Sequence[float]
) -> list[tuple[str, list[Threshold]]]:
    """The histogram's bars: one per λ level in ascending order, empty levels too, then seeds not measured.

    "none" is at the end to which it is censored.
    """
    measured = [seed for seed in found if seed.bounds is not None and seed.outcome != "unfinished"]
    every = sorted({*levels, *(seed.level for seed in measured if seed.level is not None)})
    bars = [(wording.level(x), [seed for seed in measured if seed.level == x]) for x in every]
    none = ("none", [seed for seed in measured if seed.level is None])
    bars = [*bars, none] if direction.rising else [none, *bars]
    others = [(label, [s for s in found if s.outcome == kind]) for kind, label in _UNMEASURED.items()]
    return bars + [(label, seeds) for label, seeds in others if seeds]


def _draw_columns(axes: Axes, direction: Direction, bars: Sequence[tuple[str, list[Threshold]]]) -> None:
    """Each seed a block with its number, stacked on its column, in the colour of the state it ended in."""
    tallest = max((len(seeds) for _, seeds in bars), default=0)
    for x, (_, seeds) in enumerate(bars):
        for y, seed in enumerate(seeds):
            measured = seed.bounds is not None and seed.outcome != "unfinished"
            swept = seed.outcome not in ("init_failed", "unfinished")
            color = LOOKS[end_state(direction, seed)].color if swept else style.LIGHT_GREY
            axes.add_patch(Rectangle((x - 0.42, y + 0.04), 0.84, 0.92, facecolor=color, edgecolor="none"))
            if tallest <= _LEGIBLE:
                ink = "white" if measured else "black"  # blocks without threshold are pale
                axes.text(x, y + 0.47, str(seed.seed), ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xlim(-0.7, len(bars) - 0.3)
    axes.set_ylim(0, max(tallest, 1) * 1.05)
    size = 6 if len(bars) > _ROOMY else None
    labels = [label for label, _ in bars]
    axes.set_xticks(range(len(bars)), labels, rotation=90, linespacing=0.95, fontsize=size)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if not any(seeds for _, seeds in bars):
        style.note(axes, "no records")


def _draw_remaining(
    axes: Axes, direction: Direction, found: Sequence[Threshold], levels: Sequence[float]
) -> None:
    """A line of steps for the rising sweep; for the falling one a line for each state in which it began."""
    groups = {"ordered": found}
    if not direction.rising:
        groups = {state: [item for item in found if item.start == state] for state in STARTS}
    shares = {name: still(direction, mine, levels) for name, mine in groups.items()}
    drawn = {name: item for name, item in shares.items() if item["steps"]}
    apart = _APART * min((b - a for a, b in pairwise(levels)), default=0.0)
    for index, (name, item) in enumerate(drawn.items()):
        _draw_steps(axes, LOOKS[name], item, apart * (index - (len(drawn) - 1) / 2))
        method = f" ({item['method']})" if item["method"] != "binomial" else ""
        where: dict[str, Any] = {"transform": axes.transAxes, "color": LOOKS[name].color, "fontsize": 6.5}
        axes.text(0.03, 0.92 - 0.08 * index, f"{name}, n = {item['n']}{method}", **where)
    axes.set_ylim(-0.04, 1.26)  # room for the names
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    if not drawn:
        style.note(axes, "no sweep on record" if found else "no records")


def _draw_steps(axes: Axes, look: Look, shares: Summary, shift: float) -> None:
    steps = shares["steps"]
    xs, ys = [step["level"] + shift for step in steps], [step["share"] for step in steps]
    below = [max(step["share"] - step["lower"], 0.0) for step in steps]
    above = [max(step["upper"] - step["share"], 0.0) for step in steps]
    axes.step(xs, ys, where="post", **look.line(1.6))
    bars: dict[str, Any] = {"markersize": 3.2, "elinewidth": 0.8, "capsize": 1.8}
    axes.errorbar(xs, ys, yerr=(below, above), fmt=look.marker, color=look.color, **bars)


def _against_level(axes: Axes, direction: Direction, seeds: Seeds) -> None:
    steady = []
    for seed, sweep in seeds:
        curve, look = Curve.of(sweep, seed.level is not None), LOOKS[end_state(direction, seed)]
        levels, errors = list(curve.errors), list(curve.errors.values())
        axes.plot(levels, errors, **look.line(THIN, 0.8), marker=look.marker, markersize=2.2)
        if seed.outcome == "diverged":
            axes.plot(levels[-1:], errors[-1:], look.marker, color=look.color, markersize=5, zorder=6)
        if _in_median(seed):
            steady.append(curve)
    xs, ys = median_curve(steady, direction.rising)
    axes.plot(xs, ys, **style.MEDIAN, zorder=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    style.arrow(axes, xs, ys, style.DARK_GREY)


def _against_epoch(axes: Axes, direction: Direction, seeds: Seeds) -> None:
    for seed, sweep in seeds:
        look = LOOKS[end_state(direction, seed)]
        finite = [entry for entry in sweep if is_finite(entry) and "epoch" in entry]
        epochs, errors = [e["epoch"] for e in finite], [e["error"] for e in finite]
        axes.plot(epochs, errors, **look.line(THIN, 0.85))
        if finite and (seed.level is not None or seed.outcome == "diverged"):
            axes.plot(epochs[-1:], errors[-1:], look.marker, color=look.color, markersize=5, zorder=6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _level_bands(axes, max((sweep for _, sweep in seeds), key=len, default=[]))


def _level_bands(axes: Axes, sweep: Sequence[Entry]) -> None:
    """Shade every second level and name each on top."""
    starts: dict[float, float] = {}  # λ -> half an epoch before its first evaluation
    for entry in sweep:
        level, epoch = level_of(entry), number(entry, "epoch")
        if level is not None and epoch is not None:
            starts.setdefault(level, epoch - 0.5)
            last = epoch + 0.5
    if not starts:
        return
    edges = [*starts.values(), last]
    every = 1 + len(starts) // 16  # so many names fit
    for index, (level, (start, end)) in enumerate(zip(starts, pairwise(edges), strict=True)):
        if index % 2:
            axes.axvspan(start, end, color="#F0F0F0", zorder=0, linewidth=0)
        if index % every == 0:
            axes.annotate(
                ("λ = " if index == 0 else "") + wording.level(level), ((start + end) / 2, 1.0),
                xycoords=("data", "axes fraction"), xytext=(0, 1), textcoords="offset points",
                ha="center", va="bottom", fontsize=6.5, color=style.DARK_GREY,
            )  # fmt: skip
    axes.set_xlim(edges[0], edges[-1])


def _keys(direction: Direction, seeds: Seeds) -> list[tuple[str, dict[str, Any]]]:
    names = {
        "collapsed": "collapsed" if direction.rising else "no recovery",
        "ordered": "no collapse" if direction.rising else "recovered",
        "trapped": "trapped throughout",
        "diverged": "diverged",
    }
    counts = Counter(end_state(direction, seed) for seed, _ in seeds)
    keys = [
        (f"{names[state]} ({counts[state]})", look.line(1.2) | {"marker": look.marker, "markersize": 3.5})
        for state, look in LOOKS.items()
        if counts[state]
    ]
    if any(_in_median(seed) for seed, _ in seeds):
        trapped = any(seed.start == "trapped" for seed, _ in seeds)
        keys.append(("median of the seeds not trapped" if trapped else "median", style.MEDIAN))
    return keys


def _in_median(seed: Threshold) -> bool:
    """A median over two states would be of neither."""
    return seed.outcome != "diverged" and seed.start != "trapped"


# ── the loop, and widths against dwell time ──

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
    found = lag_of(t1_records, t2_records, others)
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
