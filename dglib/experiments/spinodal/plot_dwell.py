"""Width against dwell time, and what training from scratch gives at each λ: how much of a loop is lag."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from dglib.analysis import style
from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Records, entries
from dglib.analysis.loops import loop
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, Look
from dglib.analysis.thresholds import DOWN, threshold
from dglib.experiments.spinodal.lag import DROPPING, UNKNOWN_RATE, Scratch, Setting, by_setting, from_scratch
from dglib.experiments.spinodal.widths import summarise_width

_LOOP, _SWEEPS, _TRAPPED = "T1's loop", "T1 to T2", "T2 trapped"
_ASIDE = 1.045  # seeds of one dwell time stand beside each other by this factor at most
_SCRATCH: dict[str, Any] = {"color": style.BLACK, "linestyle": ":", "linewidth": 0.8}
_ARROW = {  # from a mark outwards; sizes in points
    "arrowstyle": "<|-,head_length=4,head_width=2", "mutation_scale": 1, "linewidth": 1.0, "shrinkA": 0,
    "shrinkB": 0,
}  # fmt: skip
_HOLLOW: dict[str, Any] = {"marker": "o", "color": style.DARK_GREY, "markerfacecolor": "white"}
_OPEN_KEY = [("hollow: median beyond", _HOLLOW | {"linestyle": "", "markersize": 4.5})]
_FALLING = Look(style.GREEN, (0, (5, 1.5, 1, 1.5)), "P")
# Of the kinds of widths: at a constant LR, and under another rule.
_LOOKS = {
    _LOOP: (LOOKS["collapsed"], Look("#E69F00", "-", "X")),
    _SWEEPS: (_FALLING, Look(style.PURPLE, "-", "o")),
    _TRAPPED: (LOOKS["trapped"], Look(style.DARK_GREY, (0, (6, 2)), "d")),
}


@dataclass(frozen=True)
class Series:
    """Widths of one kind under one LR rule: the bounds of each seed's, by dwell time."""

    kind: str
    rule: str
    bounds: dict[int, list[Bounds]]

    @property
    def label(self) -> str:
        names = {DROPPING: "LR dropping", UNKNOWN_RATE: "LR not recorded"}
        return f"{self.kind}, {names.get(self.rule, f'LR {self.rule}')}"


def series_of(t1_records: Records, t2_records: Records) -> list[Series]:
    """The widths that the records hold: of T1's loops, and between T1 and T2, under each LR rule.

    Seeds whose way down began trapped are a kind of their own: they leave another state.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    found: dict[tuple[str, str], dict[int, list[Bounds]]] = {}
    for each in sorted(ups.keys() | downs.keys()):
        t1, t2 = ups.get(each, []), downs.get(each, [])
        loops = [one for record in t1 if (one := loop(record)) and one["outcome"] != "diverged"]
        widths = summarise_width(t1, t2)["seeds"]
        trapped = [seed for seed in widths if seed["start"] == "trapped"]
        others = [seed for seed in widths if seed["start"] != "trapped"]
        for kind, seeds in ((_LOOP, loops), (_SWEEPS, others), (_TRAPPED, trapped)):
            if seeds and each.epochs:
                held = found.setdefault((kind, each.rule), {})
                held[each.epochs] = [Bounds.of(seed) for seed in seeds]
    return [Series(kind, rule, bounds) for (kind, rule), bounds in found.items()]


def draw_lag(t1_records: Records, t2_records: Records, others: Records = ()) -> Figure:
    """a: widths against dwell time, a bar per seed over its bounds; medians joined. b: error against λ.

    A median that censoring leaves open on a side is a hollow mark at its other bound, with an arrow to where
    it may lie, and no line goes through it.
    b has the sweeps of the longest dwell time at a constant LR, and networks trained from scratch at each λ:
    where these lie on both ways of a loop, the way mattered only because it was walked too fast.
    """
    figure = style.new_figure(height=5.0, width=COLUMN_WIDTH)
    top, below = figure.subplots(2, 1)
    drawn = series_of(t1_records, t2_records)
    style.panel(top, "a  Width against dwell time", "Epochs per level", "Width λ↑ − λ↓")
    open_ = _widths(top, drawn)
    setting = _shown([*by_setting(t1_records), *by_setting(t2_records)])
    held = f", {setting.epochs} epochs per level" if setting else ""
    style.panel(below, f"b  Error at each λ{held}", "λ", "Test error")
    style.error_axis(below)
    t1, t2 = (by_setting(r).get(setting, []) if setting else [] for r in (t1_records, t2_records))
    keys = _errors(below, t1, t2, from_scratch([*t1_records, *t2_records, *others]))
    for axes, empty in ((top, not drawn), (below, not keys)):
        if empty:
            style.note(axes, "no sweep on record" if t1_records or t2_records else "no records")
    widths = [
        (series.label, look.line(1.6) | {"marker": look.marker, "markersize": 4})
        for series, look in zip(drawn, _looks(drawn), strict=True)
    ]
    style.legend_below(figure, widths + (_OPEN_KEY if open_ else []) + keys, columns=2)
    return figure


def _widths(axes: Axes, drawn: Sequence[Series]) -> bool:
    """Draws bars and medians; returns whether some median is open on a side."""
    ends = [end for s in drawn for each in s.bounds.values() for b in each for end in (b.lower, b.upper)]
    finite = [end for end in ends if math.isfinite(end)]
    low, high = min([0.0, *finite]) - 0.04, max([0.1, *finite]) + 0.08
    total = sum(max(len(each) for each in series.bounds.values()) for series in drawn)
    dwells = sorted({epochs for series in drawn for epochs in series.bounds})
    nearest = min((after / before for before, after in pairwise(dwells)), default=2.0)
    aside = min(_ASIDE, nearest ** (0.8 / max(total, 1)))
    place, open_ = 0, False
    for series, look in zip(drawn, _looks(drawn), strict=True):
        room = max(len(each) for each in series.bounds.values())
        middle = place + (room - 1) / 2 - (total - 1) / 2
        medians = []
        for epochs, bounds in series.bounds.items():
            for index, each in enumerate(sorted(bounds, key=lambda b: (b.lower, b.upper))):
                x = epochs * aside ** (place + index - (total - 1) / 2)
                _bar(axes, x, each, look, (low, high))
            medians.append((epochs * aside**middle, median_bounds(bounds)))
        open_ = _medians(axes, medians, look) or open_
        place += room
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    axes.set_ylim(low, high)
    if dwells:
        axes.set_xscale("log", base=2)
        edge = aside ** (total / 2 + 1)
        axes.set_xlim(dwells[0] / edge, dwells[-1] * edge)
        axes.xaxis.set_major_locator(FixedLocator(dwells))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(epochs) for epochs in dwells])
        for before, after in pairwise(dwells):
            axes.axvline(math.sqrt(before * after), color=style.LIGHT_GREY, linewidth=0.5, zorder=0)
    return open_


def _bar(axes: Axes, x: float, bounds: Bounds, look: Look, ends: tuple[float, float]) -> None:
    """A seed's bounds; a side that is open ends in an arrow."""
    low, high = max(bounds.lower, ends[0]), min(bounds.upper, ends[1])
    axes.plot([x, x], [low, high], color=look.color, linewidth=1.4, alpha=0.6, solid_capstyle="butt")
    for end, at, marker in ((bounds.upper, high, "^"), (bounds.lower, low, "v")):
        if math.isinf(end):
            axes.plot([x], [at], marker, color=look.color, markersize=3, clip_on=False)


def _medians(axes: Axes, medians: Sequence[tuple[float, Bounds]], look: Look) -> bool:
    """The middle of the median's bounds, joined; hollow, at the finite bound, where the other is open.

    Returns whether one is open so. The line breaks there: it would show a bound as if it were the value.
    """
    hollow = []
    xs, ys = [x for x, _ in medians], [(b.lower + b.upper) / 2 for _, b in medians]
    ys = [y if math.isfinite(y) else math.nan for y in ys]
    for x, bounds in medians:
        if math.isinf(bounds.lower) != math.isinf(bounds.upper):
            hollow.append((x, *((bounds.lower, 1) if math.isinf(bounds.upper) else (bounds.upper, -1))))
    line = look.line(1.6) | {"marker": look.marker, "markersize": 4.5, "markeredgecolor": "white"}
    axes.plot(xs, ys, **line, markeredgewidth=0.6, zorder=5)
    for x, y, way in hollow:
        arrow = _ARROW | {"color": look.color}
        axes.annotate("", (x, y), (0, 13 * way), textcoords="offset points", arrowprops=arrow, zorder=6)
        axes.plot(x, y, look.marker, color=look.color, markerfacecolor="white", markersize=4.5, zorder=6)
    return bool(hollow)


def _errors(
    axes: Axes, t1: Records, t2: Records, scratch: Sequence[Scratch]
) -> list[tuple[str, dict[str, Any]]]:
    """Median error at each λ on the ways up and down, and from scratch; the legend's keys to them."""
    trapped = [record for record in t2 if threshold(DOWN, record).start == "trapped"]
    fell = [record for record in t2 if threshold(DOWN, record).start == "collapsed"]
    ways = (
        ("T1, λ raised", LOOKS["ordered"], t1, "trajectory", "sweep", True),
        ("T1, swept back", LOOKS["collapsed"], t1, "return_trajectory", None, False),
        ("T2, λ lowered", _FALLING, fell, "trajectory", "sweep", False),
        ("T2, trapped", LOOKS["trapped"], trapped, "trajectory", "sweep", False),
    )
    keys = []
    for name, look, records, field, phase, rising in ways:
        # What ended a sweep lies beyond the levels left out, so every curve counts as fired.
        curves = [Curve.of(entries(record, field, phase), fired=True) for record in records]
        xs, ys = median_curve(curves, rising)
        if xs:
            line = look.line(1.6) | {"marker": look.marker, "markersize": 3.5}
            axes.plot(xs, ys, **line)
            style.arrow(axes, xs, ys, look.color)
            keys.append((f"{name}, median", line))
    for each in scratch:
        axes.plot([each.level] * len(each.errors), each.errors, "_", color=style.BLACK, markersize=6)
    if scratch:
        axes.plot([each.level for each in scratch], [each.median for each in scratch], **_SCRATCH, zorder=2)
        keys.append(("from scratch, by seed", _SCRATCH | {"marker": "_", "markersize": 6}))
    return keys


def _shown(settings: Sequence[Setting]) -> Setting | None:
    """The longest dwell time at a constant LR; else the longest there is."""
    constant = [each for each in settings if each.rule not in (DROPPING, UNKNOWN_RATE)]
    return max(constant or settings, key=lambda each: each.epochs, default=None)


def _looks(drawn: Sequence[Series]) -> list[Look]:
    """A look for each, by kind and rule; a kind with more rules than two looks begins again."""
    found: list[Look] = []
    for series in drawn:
        constant, *more = _LOOKS[series.kind]
        wanted = [constant, *more] if series.rule not in (DROPPING, UNKNOWN_RATE) else [*more, constant]
        found.append(next((look for look in wanted if look not in found), wanted[0]))
    return found
