"""The hysteresis width λ↑ − λ↓ between T1 and T2, paired by seed: its controls, and how much of it is lag."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, Any

from dglib.analysis import style, wording
from dglib.analysis.answer import Answer, Row, interval_of, settings
from dglib.analysis.curves import Curve, differences_at, loop, median_curve, retraced
from dglib.analysis.fields import Record, Records, entries, init_level, number, seed_of
from dglib.analysis.fits import width_at_rate
from dglib.analysis.intervals import UNKNOWN, Bounds, rounded
from dglib.analysis.style import COLUMN_WIDTH, PENS, THICK, Pen
from dglib.analysis.summary import Summary, dwell, median_bounds, paired, quantity, share
from dglib.analysis.thresholds import DOWN, UP, Direction, Threshold, limits, threshold
from dglib.experiments import register_joint
from dglib.experiments.spinodal import STARTS, T1, T2, common_limit, control_notes, controls, read_at
from dglib.runs.identity import ABSENT, differing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DROPPING, UNKNOWN_RATE = "dropping", "not recorded"
# Parameters that may differ between runs of several dwell times, and those that do not concern training.
_VARIED = {"epochs_per_level", "sweep_lr", "milestones", "seeds"}
_SWEEPS = (*T1.sweeps, *T2.sweeps)
# Of the kinds of widths: title, the state in which the sweep began, pen.
_KINDS = {
    "loop": ("T1's loop", "ordered", PENS["collapsed"]),
    "collapsed": ("T1 to T2", "collapsed", PENS["lowered"]),
    "trapped": ("T1 to T2", "trapped", PENS["trapped"]),
}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markersize": 5}
_DASHES = ("-", (0, (1, 1.2)), (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)))  # of one LR rule after the other
_SPACING = 1.12  # series at one dwell time lie apart by this factor at most
_SCRATCH: dict[str, Any] = {"color": style.BLACK, "linestyle": ":", "linewidth": 0.8}


class Width:
    """The hysteresis width λ↑ − λ↓, of records of T1 and T2 in one run directory.

    Attributes:
        key: of its figure's file and of its part of `analyse --json`.
        title: of its part of a page; `caption` explains the figure, `limitation` is what it cannot show.
        experiments: those whose records it takes, in order.
        quantity, symbol: the name of the estimate that both of them have from it; its part of `summary.json`.
    """

    key = "hysteresis"
    quantity = "width"
    title = "Hysteresis width"
    symbol = "width λ↑ − λ↓"
    experiments = ("T1", "T2")
    caption = "Error against λ in the rising and falling sweeps, and where each seed's thresholds lie"
    limitation = (
        "λ↑ is read where the error rises past one limit and λ↓ where it falls below a lower one, so even"
        " a path retraced exactly would have a width. A different error at the same λ shows that the network"
        " has not forgotten its path at this dwell time: whether it ever does, only a held λ decides."
    )

    def summarise(self, *records: Records) -> dict[str, Any]:
        """λ↑ − λ↓ between T1 and T2, paired by seed: bounds, which an absent event leaves open on one side.

        `above_zero`: the share of widths above 0, whatever the undecided are. `by_start`: of seeds whose
        falling sweep began collapsed, or trapped: two states; with the controls: the width that T1's path
        would have were it retraced exactly (`null_width`), the width with both events read at `common_limit`,
        and the error of T2 less that of T1 at `gap_lambda`, the middle of the levels that most pairs of seeds
        visited. No survival curve of widths: how a width is censored depends on λ↑ and λ↓ themselves, which
        biases one.
        """
        t1, t2 = records
        ups, downs, limit = _by_seed(UP, t1), _by_seed(DOWN, t2), common_limit([*t1, *t2])
        widths, starts = _widths(ups, downs), {seed: down.start for seed, down in downs.items()}
        at_limit = _widths(_by_seed(UP, read_at(t1, limit)), _by_seed(DOWN, read_at(t2, limit)))
        nulls = {seed_of(record): null for record in t1 if (null := retraced(record))}
        level, gaps = _gaps(t1, t2)

        def of(state: str | None, by_seed: Mapping[int, Any]) -> list[Any]:
            return [value for seed, value in by_seed.items() if starts.get(seed) == state]

        every = list(widths.values())
        # The cells are open at these ends, so a lower bound of 0 is proof as well.
        above, undecided = sum(w.lower >= 0 for w in every), sum(w.lower < 0 < w.upper for w in every)
        named = dict(zip(self.experiments, records, strict=True))
        notes = [f"{name} {note}" for name, side in named.items() for note in control_notes(controls(side))]
        return {
            "n": len(widths),
            "measured": len(widths),
            "common_limit": limit,
            "gap_lambda": level,
            "by_start": {
                state: {
                    "n": len(of(state, widths)),
                    "both_events": sum(width.is_closed for width in of(state, widths)),
                    "width": quantity(of(state, widths)),
                    "null_width": quantity(of(state, {s: nulls[s] for s in widths if s in nulls})),
                    "width_at_common_limit": quantity(of(state, at_limit)),
                    "gap": paired(of(state, gaps)),
                }
                for state in dict.fromkeys([*STARTS, *(starts[seed] for seed in widths)])
            },
            "estimates": {"width": quantity(every), "above_zero": share(above, len(every), undecided)},
            "notes": ["no seed has both thresholds: the width was not measured"] * (not widths) + notes,
            "seeds": [{"seed": s, "start": starts[s], **width.as_dict()} for s, width in widths.items()],
            "left_out": sorted((ups.keys() | downs.keys()) - widths.keys()),
            "dwell": {name: dwell(side) for name, side in named.items()},
            "eta": sorted({eta for record in (*t1, *t2) if (eta := number(record, "eta")) is not None}),
            "limits": dict(zip((DOWN.limit, UP.limit), map(rounded, limits([*t1, *t2])), strict=True)),
        }

    def answer(self, *records: Records) -> Answer:
        return self.answer_of(self.summarise(*records))

    def answer_of(self, summary: Summary) -> Answer:
        notes = tuple(summary["notes"])
        if not summary.get("n"):
            return Answer(f"{self.title}: not measured", flags=notes)
        one, other = (wording.dwell(summary["dwell"][name]) for name in self.experiments)
        dwell = one if one == other else f"T1: {one}; T2: {other}"
        both = sum(group["both_events"] for group in summary["by_start"].values())
        title = f"{self.title}: {wording.seeds(summary['n'])} swept up and down, {both} with both thresholds"
        return Answer(title, settings(dwell, summary), tuple(self._rows(summary)), notes)

    def _rows(self, summary: Summary) -> list[Row]:
        rows, limit = [], wording.level(summary["common_limit"])
        for state, group in summary["by_start"].items():
            null = {"null (no lag)": interval_of(group["null_width"])}
            n, events = group["n"], group["both_events"]
            if n:
                at, read_at = f"width, both read at error {limit}", group["width_at_common_limit"]
                rows += [
                    Row.of_median(self.symbol, n, group["width"], start=state, events=events, more=null),
                    Row.of_median(at, n, read_at, start=state),
                ]
            if group["gap"]:
                at = wording.level(summary["gap_lambda"])
                rows.append(Row.of_mean(f"T2 − T1 error at λ = {at}", group["gap"], start=state))
        return rows

    def draw(self, *records: Records) -> Figure:
        """Error against λ: seeds thin, medians thick, arrows along the sweep; below, thresholds' cells.

        T2's trapped seeds are a branch of their own. Diverged seeds have no branch; the legend counts the
        others.
        """
        figure = style.new_figure(height=4.8, width=COLUMN_WIDTH)
        top, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.6, 1.6]})
        made = [
            item
            for about, side in zip((T1(), T2()), records, strict=True)
            for record in sorted(side, key=seed_of)
            for item in about.swept(record)
        ]
        style.panel(top, "a  Mean error at each level of λ", "", "Test error")
        style.error_axis(top)
        style.panel(below, "b  Where each seed's threshold lies", "λ", "")
        keys, rows = [], list[tuple[str, Bounds, Pen] | None]()
        for sweep in _SWEEPS:
            drawn = [(curve, cell) for of, curve, cell in made if of == sweep]
            keys += sweep.draw(top, [curve for curve, _ in drawn])
            cells = [cell for _, cell in drawn if cell]
            middle = len(cells) // 2  # whose row is named
            rows += [
                (sweep.short if i == middle else "", cell, PENS[sweep.pen]) for i, cell in enumerate(cells)
            ]
            rows += [None] if cells else []
        style.cell_rows(below, rows[:-1], [level for _, curve, _ in made for level in curve.errors])
        if not made:
            for axes in (top, below):
                style.note(axes, "no sweep on record" if any(records) else "no records")
        style.legend_below(figure, keys, columns=2)
        return figure

    def lag(self, *records: Records) -> Summary | None:
        """The widths at each dwell time and LR rule; None where all records had one of these."""
        lag = lag_of(*records)
        return lag if len(lag["settings"]) > 1 else None

    def lag_answer(self, lag: Summary) -> Answer:
        """The median width at each dwell time and LR rule."""
        rows = []
        for item in lag["series"]:
            title, start, _ = _KINDS[item["kind"]]
            name = f"width, {title}, {wording.per_level(item['epochs'])}, LR {item['rule']}"
            widths = list(map(Bounds.of, item["widths"]))
            rows.append(Row.of_median(name, len(widths), quantity(widths), start=start))
        for fit in lag["still"]:
            title, start, _ = _KINDS[fit["kind"]]
            name = f"width at infinite dwell, {title}, LR {fit['rule']}"
            rows.append(Row.of_fit(name, fit["n"], fit["still"], start=start))
        return Answer("Hysteresis width λ↑ − λ↓ against dwell time", "", tuple(rows))

    def draw_lag(self, lag: Summary, *records: Records) -> Figure:
        """a: widths against dwell time, a pale bar per seed over its bounds; medians joined. b: error by λ.

        A median that censoring leaves open on a side is a hollow mark at its other bound that points to where
        it may lie, and no line goes through it. b has the sweeps of the longest dwell time at a constant LR,
        and networks trained from scratch at each λ: where these lie on both branches of a loop, the loop is
        lag.
        """
        figure = style.new_figure(height=5.0, width=COLUMN_WIDTH)
        top, below = figure.subplots(2, 1)
        style.panel(top, "a  Width against dwell time", "Epochs per level", "Width λ↑ − λ↓")
        widths = _draw_widths(top, lag["series"])
        t1, t2 = map(by_setting, records)
        settings = [*t1, *t2]
        constant = [setting for setting in settings if setting[0] not in _RULES]
        longest = max(constant or settings, key=itemgetter(1), default=("", 0))
        held = f", {wording.per_level(longest[1])}" if settings else ""
        style.panel(below, f"b  Error at each λ{held}", "λ", "Test error")
        style.error_axis(below)
        keys = _draw_errors(below, t1.get(longest, []), t2.get(longest, []), lag["scratch"])
        for axes, known in ((top, widths), (below, keys)):
            if not known:
                style.note(axes, "no sweep on record" if any(records) else "no records")
        style.legend_below(figure, [*widths, *keys], columns=2)
        return figure


# ── the summary ──


def _by_seed(direction: Direction, records: Records) -> dict[int, Threshold]:
    return {item.seed: item for item in (threshold(direction, record) for record in records)}


def _widths(ups: dict[int, Threshold], downs: dict[int, Threshold]) -> dict[int, Bounds]:
    """The cell of each seed's width, where both thresholds are known."""
    both = {seed: (ups[seed].bounds, downs[seed].bounds) for seed in sorted(ups.keys() & downs.keys())}
    return {seed: up - down for seed, (up, down) in both.items() if up and down}


def _gaps(t1_records: Records, t2_records: Records) -> tuple[float | None, dict[int, float]]:
    """A λ, and the error of T2 less that of T1 there by seed."""
    ups, downs = (
        {seed_of(r): entries(r, "trajectory", "sweep") for r in side} for side in (t1_records, t2_records)
    )
    apart = {seed: differences_at(ups[seed], downs[seed]) for seed in sorted(ups.keys() & downs.keys())}
    counts = Counter(level for gaps in apart.values() for level in gaps)
    most = sorted(level for level, count in counts.items() if count == max(counts.values()))
    if not most:
        return None, {}
    level = most[(len(most) - 1) // 2]
    return level, {seed: rounded(gaps[level]) for seed, gaps in apart.items() if level in gaps}


# ── widths against dwell time ──


def setting_of(record: Record) -> tuple[str, int]:
    """The LR rule (a constant LR, `DROPPING` or `UNKNOWN_RATE`) and the epochs per level (0: unknown)."""
    epochs = dwell([record])["epochs_per_level"]
    parameters = record.get("parameters") or {}
    constant = number(record, "sweep_lr")
    if constant is None and parameters.get("milestones") == []:
        constant = number(parameters, "lr")
    known = DROPPING if "milestones" in parameters else UNKNOWN_RATE
    return known if constant is None else f"{constant:g}", epochs[0] if epochs else 0


def by_setting(records: Records) -> dict[tuple[str, int], list[Record]]:
    """The records grouped by LR rule and dwell time, in that order; a seed run twice counts once."""
    groups: defaultdict[tuple[str, int], dict[int, Record]] = defaultdict(dict)
    for record in records:
        groups[setting_of(record)].setdefault(seed_of(record), record)
    return {setting: list(groups[setting].values()) for setting in sorted(groups)}


def lag_of(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """The bounds of each seed's width at each dwell time and LR rule, and errors from scratch at each λ.

    `series`: by `kind` (T1's return, `loop`; between T1 and T2, by the start of T2, `collapsed` or
    `trapped`), `rule` and `epochs` the `widths`. `still`: width = still + factor · (1 / epochs)^exponent over
    the closed widths of each kind and rule. `differing`: parameters in which the runs of T1 or of T2 differ
    besides dwell time and LR.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    settings, series = sorted(ups.keys() | downs.keys()), list[dict[str, Any]]()
    for kind in _KINDS:
        for rule, epochs in settings:
            t1, t2 = ups.get((rule, epochs), []), downs.get((rule, epochs), [])
            if kind == "loop":
                loops = [seed_loop for record in t1 if (seed_loop := loop(record)) is not None]
                widths = [Bounds.of(item) for item in loops if item["outcome"] != "diverged"]
            else:
                starts = _by_seed(DOWN, t2)
                every = _widths(_by_seed(UP, t1), starts)
                widths = [width for seed, width in every.items() if starts[seed].start == kind]
            if widths:
                plain = [width.as_dict() for width in widths]
                series.append({"kind": kind, "rule": rule, "epochs": epochs, "widths": plain})
    still = []
    for (kind, rule), items in groupby(series, key=itemgetter("kind", "rule")):
        points = [
            (1 / item["epochs"], (width["lower"] + width["upper"]) / 2)
            for item in items
            for width in item["widths"]
            if item["epochs"] and None not in width.values()
        ]
        if points and (fit := width_at_rate(*zip(*points, strict=True))):
            still.append({"kind": kind, "rule": rule, **fit})
    return {
        "settings": settings,
        "series": series,
        "still": still,
        "scratch": _from_scratch([*t1_records, *t2_records]),
        "differing": sorted(_differing(t1_records) | _differing(t2_records)),
    }


def _from_scratch(records: Records) -> dict[float, list[float]]:
    """λ -> error of each init there, failed ones too; one that several runs began with once."""
    known, by_level = set(), dict[float, list[float]]()
    for record in records:
        level, error = init_level(record), number(record, "init_error")
        init = (record.get("experiment"), record.get("seed"), level, error)
        if level is not None and error is not None and init not in known:
            known.add(init)
            by_level.setdefault(level, []).append(error)
    return {level: sorted(errors) for level, errors in sorted(by_level.items())}


def _differing(records: Records) -> set[str]:
    values = differing(*(record.get("parameters") or {} for record in records))
    # A parameter that a record does not state came later than it.
    known = {name: {repr(v) for v in values[name] if v is not ABSENT} for name in values.keys() - _VARIED}
    return {name for name, different in known.items() if len(different) > 1}


# ── the figures ──

_RULES = {DROPPING: "LR dropping", UNKNOWN_RATE: "LR not recorded"}


def _draw_widths(axes: Axes, series: Sequence[Summary]) -> list[tuple[str, dict[str, Any]]]:
    """Bars of seeds and medians for each kind and LR rule; returns the legend's keys."""
    from matplotlib.ticker import FixedLocator, NullLocator

    known = [item for item in series if item["epochs"]]
    lines = [(key, list(items)) for key, items in groupby(known, key=itemgetter("kind", "rule"))]
    rules = sorted({rule for (_, rule), _ in lines}, key=lambda rule: (rule in _RULES, rule))
    finite = [end for item in known for w in item["widths"] for end in w.values() if end is not None]
    low, high = min([0.0, *finite]) - 0.04, max([0.1, *finite]) + 0.08
    dwells = sorted({item["epochs"] for item in known})
    nearest = min((after / before for before, after in pairwise(dwells)), default=2.0)
    spacing = min(_SPACING, nearest ** (0.8 / max(len(lines), 1)))
    keys, open_ = [], False
    for index, ((kind, rule), items) in enumerate(lines):
        title, start, pen = _KINDS[kind]
        pen = replace(pen, dashes=_DASHES[rules.index(rule) % len(_DASHES)])
        xs, ys = [item["epochs"] * spacing ** (index - (len(lines) - 1) / 2) for item in items], []
        for x, item in zip(xs, items, strict=True):
            widths = list(map(Bounds.of, item["widths"]))
            for width in widths:
                style.cell_bar(axes, x, (width.lower, width.upper), (low, high), pen.color, upright=True)
            middle = median_bounds(widths)
            ys.append((middle.lower + middle.upper) / 2 if middle.is_closed else math.nan)
            open_ = open_ or not middle.is_closed
            if not middle.is_closed and middle != UNKNOWN:
                above = math.isinf(middle.upper)
                y, marker = (middle.lower, "^") if above else (middle.upper, "v")
                axes.plot(x, y, marker, color=pen.color, **_HOLLOW, zorder=6)
        line = pen.line(1.6, mark=4.5)
        axes.plot(xs, ys, **line, zorder=5)
        began = ", trapped" if start == "trapped" else ""
        keys.append((f"{title}{began}, {_RULES.get(rule, f'LR {rule}')}", line))
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    axes.set_ylim(low, high)
    if dwells:
        axes.set_xscale("log", base=2)
        edge = spacing ** (len(lines) / 2 + 1)
        axes.set_xlim(dwells[0] / edge, dwells[-1] * edge)
        axes.xaxis.set_major_locator(FixedLocator(dwells))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(epochs) for epochs in dwells])
    hollow = {"linestyle": "", "marker": "^", "color": style.GREY, **_HOLLOW}
    return keys + [("hollow: median beyond", hollow)] * open_


def _draw_errors(
    axes: Axes, t1: Records, t2: Records, scratch: Mapping[float, Sequence[float]]
) -> list[tuple[str, dict[str, Any]]]:
    """Median error at each λ of the sweeps and from scratch; returns the legend's keys."""
    trapped = [record for record in t2 if threshold(DOWN, record).start == "trapped"]
    fell = [record for record in t2 if threshold(DOWN, record).start == "collapsed"]
    keys = []
    for sweep, records in zip(_SWEEPS, (t1, t1, fell, trapped), strict=True):
        # What ended a sweep lies beyond the levels left out, so every curve counts as fired.
        curves = [Curve.of(entries(record, sweep.trajectory, sweep.phase), fired=True) for record in records]
        if (line := median_curve(curves, sweep.rising))[0]:
            style.draw_sweep(axes, [], line, PENS[sweep.pen])
            keys.append((f"{sweep.title}, median", PENS[sweep.pen].line(THICK, mark=4)))
    for level, errors in scratch.items():
        axes.plot([level] * len(errors), errors, "_", color=style.BLACK, markersize=6)
    if scratch:
        axes.plot(list(scratch), [median(errors) for errors in scratch.values()], **_SCRATCH, zorder=2)
        keys.append(("from scratch, by seed", _SCRATCH | {"marker": "_", "markersize": 6}))
    return keys


register_joint(Width())
