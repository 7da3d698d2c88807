"""T1's and T2's figure: where the thresholds lie, and how each seed got there."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style, wording
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import (
    Entry,
    Records,
    entries,
    is_finite,
    level_of,
    number,
    parameter,
)
from dglib.analysis.histogram import columns, draw_columns
from dglib.analysis.plot_survival import draw_remaining
from dglib.analysis.style import LOOKS, THIN
from dglib.analysis.threshold_summary import planned_levels
from dglib.analysis.thresholds import Direction, Threshold, end_state, threshold

Seeds = Sequence[tuple[Threshold, list[Entry]]]  # those that entered the sweep, with its evaluations


def draw_spinodal(direction: Direction, records: Records) -> Figure:
    """Four panels: histogram of the threshold, share of seeds not yet moved, error against λ and epoch."""
    figure = style.new_figure(height=5.2)
    axes = figure.subplot_mosaic("abc;ddd")
    found = [threshold(direction, record) for record in records]
    sweeps = [entries(record, "trajectory", "sweep") for record in records]
    seeds = [(seed, sweep) for seed, sweep in zip(found, sweeps, strict=True) if sweep]
    limit = parameter(records, direction.limit, direction.default_limit)
    way = "raised" if direction.rising else "lowered"

    title = f"a  Threshold {direction.symbol}, by seed"
    levels = planned_levels(records)
    bars = columns(direction, found, levels)
    style.panel(axes["a"], title, f"λ of the {direction.noun}", "Seeds")
    draw_columns(axes["a"], direction, bars)
    state = "still ordered" if direction.rising else "not recovered, by start"
    style.panel(axes["b"], f"b  Share {state}", "λ", "Share of seeds")
    draw_remaining(axes["b"], direction, found, levels)
    style.panel(axes["c"], f"c  Error by level, λ {way}", "λ", "Test error")
    _against_level(axes["c"], direction, seeds)
    style.panel(axes["d"], "d  Error through the sweep", "Epoch", "Test error")
    axes["d"].set_title(axes["d"].get_title(loc="left"), loc="left", pad=14)  # room for the levels' names
    _against_epoch(axes["d"], direction, seeds)
    for name in "cd":
        style.error_axis(axes[name])
        early = name == "d" or direction.rising  # the end where few lines cross the limit
        style.limit_line(
            axes[name], limit, f"{direction.noun} {wording.level(limit)}", side="left" if early else "right"
        )
    if not seeds:
        for name in "cd":
            style.note(axes[name], "no sweep on record" if records else "no records")
    style.legend_below(figure, _keys(direction, seeds))
    return figure


def _against_level(axes: Axes, direction: Direction, seeds: Seeds) -> None:
    curves = [Curve.of(sweep, seed.level is not None) for seed, sweep in seeds]
    for (seed, _), curve in zip(seeds, curves, strict=True):
        look = LOOKS[end_state(direction, seed)]
        levels, errors = list(curve.errors), list(curve.errors.values())
        axes.plot(levels, errors, **look.line(THIN, 0.8), marker=look.marker, markersize=2.2)
        if seed.outcome == "diverged":
            axes.plot(levels[-1:], errors[-1:], look.marker, color=look.color, markersize=5, zorder=6)
    steady = [curve for (seed, _), curve in zip(seeds, curves, strict=True) if _in_median(seed)]
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
    every = 1 + len(starts) // 16  # so many names fit side by side
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
