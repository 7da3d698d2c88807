"""T1's and T2's figure: where the thresholds lie, the share not yet moved, and the error of each seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style, wording
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Entry, Records, entries, is_finite, level_of, number, parameter
from dglib.analysis.style import LOOKS, THIN, Look
from dglib.analysis.summary import Summary
from dglib.analysis.thresholds import Direction, Threshold, end_state, threshold
from dglib.experiments.spinodal.summary import STARTS, planned_levels, still

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
