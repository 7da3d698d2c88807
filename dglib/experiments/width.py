"""The hysteresis width λ↑ − λ↓ between T1 and T2, paired by seed: its controls, and how much of it is lag."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from statistics import median as median_of
from typing import TYPE_CHECKING, Any

from dglib.analysis import style, wording
from dglib.analysis.answer import Answer, Row, ends_of, settings
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Record, Records, dwell, entries, level_of, number, rounded, seed_of
from dglib.analysis.fits import width_at_rate
from dglib.analysis.intervals import Bounds, clopper_pearson_undecided
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, THICK, Look
from dglib.analysis.summary import Summary, centre, in_every_seed, median_bounds, paired, quantity, share
from dglib.analysis.thresholds import (
    DOWN,
    UP,
    Direction,
    Threshold,
    differences_at,
    init_level,
    limits,
    loop,
    retraced,
    threshold,
)
from dglib.experiments import register_joint
from dglib.experiments.base import Joint
from dglib.experiments.spinodal import (
    STARTS,
    T1,
    T2,
    Swept,
    common_limit,
    control_notes,
    controls,
    median,
    read_at,
)
from dglib.runs.identity import ABSENT, differing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DROPPING, UNKNOWN_RATE = "dropping", "not recorded"
# Parameters that may differ between runs of several dwell times, and those that do not concern training.
_VARIED = {"epochs_per_level", "sweep_lr", "milestones", "seeds"}
_SWEEPS = (*T1.sweeps, *T2.sweeps)


class Width(Joint):
    """The hysteresis width λ↑ − λ↓ of T1 and T2."""

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

        `lower` and `upper` bound the median over seeds, `interval` encloses the population's (None below
        six). `share_above_zero` is the exact interval for the share of widths above 0, whatever the undecided
        are. `by_start`: of seeds whose falling sweep began collapsed, or trapped: two states; with the
        controls: the width that T1's path would have were it retraced exactly (`null_width`), the width with
        both events read at `common_limit`, and the error of T2 less that of T1 at `gap_lambda`, the middle of
        the levels that most pairs of seeds visited. `mean_difference` (mean λ↑ less mean λ↓, at the centres
        of their cells) is given only if every seed of both sweeps had its event. No survival curve of widths:
        how a width is censored depends on λ↑ and λ↓ themselves, which biases one.
        """
        t1, t2 = records
        ups, downs, limit = _by_seed(UP, t1), _by_seed(DOWN, t2), common_limit([*t1, *t2])
        widths, starts = _widths(ups, downs), {seed: down.start for seed, down in downs.items()}
        at_limit = _widths(_by_seed(UP, read_at(t1, limit)), _by_seed(DOWN, read_at(t2, limit)))
        nulls = {seed_of(record): null for record in t1 if (null := retraced(record))}
        level, gaps = _gaps(t1, t2)

        def of(state: str | None, found: dict[int, Any]) -> list[Any]:
            return [value for seed, value in found.items() if starts.get(seed) == state]

        every = list(widths.values())
        over, undecided = _over(every), sum(width.lower < 0 < width.upper for width in every)
        named = dict(zip(self.experiments, records, strict=True))
        notes = [f"{name} {note}" for name, side in named.items() for note in control_notes(controls(side))]
        return {
            **over,
            "measured": len(widths),
            "trapped": len(of("trapped", widths)),
            "in_every_seed": in_every_seed(every),
            "common_limit": limit,
            "gap_lambda": level,
            "by_start": {
                state: _over(of(state, widths))
                | {
                    "both_events": sum(width.is_closed for width in of(state, widths)),
                    "width": quantity(of(state, widths)),
                    "null_width": quantity([nulls[s] for s in widths if s in nulls and starts[s] == state]),
                    "width_at_common_limit": quantity(of(state, at_limit)),
                    "gap": paired(of(state, gaps)),
                }
                for state in dict.fromkeys([*STARTS, *(starts[seed] for seed in widths)])
            },
            "mean_difference": _mean_difference(ups.values(), downs.values()),
            "estimates": {
                "width": quantity(every),
                "above_zero": share(over["above_zero"], len(every), undecided),
            },
            "notes": ["no seed has both thresholds: the width was not measured"] * (not widths) + notes,
            "seeds": [{"seed": s, "start": starts[s], **width.as_dict()} for s, width in widths.items()],
            "left_out": sorted((ups.keys() | downs.keys()) - widths.keys()),
            "dwell": {name: dwell(side) for name, side in named.items()},
            "eta": sorted({eta for record in (*t1, *t2) if (eta := number(record, "eta")) is not None}),
            "limits": dict(zip((DOWN.limit, UP.limit), map(rounded, limits([*t1, *t2])), strict=True)),
        }

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
            null = {"null (no lag)": ends_of(group["null_width"])}
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
        keys = []
        for sweep in _SWEEPS:
            look, curves = LOOKS[sweep.look], [curve for mine, curve, _ in made if mine == sweep]
            style.draw_sweep(top, [c.errors for c in curves], median_curve(curves, sweep.rising), look)
            if curves:
                keys.append((f"{sweep.title} ({len(curves)})", look.line(THICK, mark=4)))
        _draw_cells(below, made)
        if not made:
            for axes in (top, below):
                style.note(axes, "no sweep on record" if any(records) else "no records")
        style.legend_below(figure, keys, columns=2)
        return figure

    def lag(self, *records: Records, others: Records = ()) -> Summary | None:
        t1, t2 = records
        found = lag_of(t1, t2, others)
        return found if len(found["settings"]) > 1 else None

    def lag_answer(self, lag: Summary) -> Answer:
        """The median width at each dwell time and LR rule, and what else differs between the runs."""
        names = {"loop": ("T1's loop", "ordered"), **{state: ("T1 to T2", state) for state in STARTS}}
        rows = [
            Row.of_median(
                f"width, {names[kind][0]}, {wording.per_level(setting['epochs'])}, LR {setting['rule']}",
                len(setting[kind]),
                quantity([Bounds.of(width) for width in setting[kind]]),
                start=names[kind][1],
            )
            for kind in names
            for setting in sorted(lag["settings"], key=lambda setting: (setting["rule"], setting["epochs"]))
            if setting[kind]
        ]
        rows += [
            Row.of_fit(
                f"width at infinite dwell, {names[fit['kind']][0]}, LR {fit['rule']}",
                fit["n"],
                fit["still"],
                start=names[fit["kind"]][1],
            )
            for fit in lag["still"]
        ]
        apart = wording.listing(lag["differing"])
        flags = (f"The runs also differ in {apart}",) if apart else ()
        return Answer("Hysteresis width λ↑ − λ↓ against dwell time", "", tuple(rows), flags)

    def draw_lag(self, lag: Summary, *records: Records) -> Figure:
        """a: widths against dwell time, a pale bar per seed over its bounds; medians joined. b: error by λ.

        A median that censoring leaves open on a side is a hollow mark at its other bound, with an arrow to
        where it may lie, and no line goes through it. b has the sweeps of the longest dwell time at a
        constant LR, and networks trained from scratch at each λ: where these lie on both branches of a loop,
        the loop is lag.
        """
        figure = style.new_figure(height=5.0, width=COLUMN_WIDTH)
        top, below = figure.subplots(2, 1)
        drawn = _series(lag)
        style.panel(top, "a  Width against dwell time", "Epochs per level", "Width λ↑ − λ↓")
        looks = _looks(drawn)
        hollow = _draw_widths(top, drawn, looks)
        t1, t2 = (by_setting(side) for side in records)
        settings = [*t1, *t2]
        constant = [setting for setting in settings if setting[0] not in _RULES]
        longest = max(constant or settings, key=lambda setting: setting[1], default=("", 0))
        held = f", {wording.per_level(longest[1])}" if settings else ""
        style.panel(below, f"b  Error at each λ{held}", "λ", "Test error")
        style.error_axis(below)
        keys = _draw_errors(below, t1.get(longest, []), t2.get(longest, []), lag["scratch"])
        for axes, empty in ((top, not drawn), (below, not keys)):
            if empty:
                style.note(axes, "no sweep on record" if any(records) else "no records")
        widths = [
            (f"{_KINDS[kind][0]}, {_RULES.get(rule, f'LR {rule}')}", look.line(1.6, mark=4))
            for (kind, rule, _), look in zip(drawn, looks, strict=True)
        ]
        style.legend_below(figure, [*widths, *[_OPEN_KEY] * hollow, *keys], columns=2)
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
    counts = Counter(level for found in apart.values() for level in found)
    most = sorted(level for level, count in counts.items() if count == max(counts.values()))
    if not most:
        return None, {}
    level = most[(len(most) - 1) // 2]
    return level, {seed: rounded(found[level]) for seed, found in apart.items() if level in found}


def _over(widths: Sequence[Bounds]) -> dict[str, Any]:
    # The cells are open at these ends, so a lower bound of 0 is proof as well.
    above, not_above = sum(w.lower >= 0 for w in widths), sum(w.upper <= 0 for w in widths)
    undecided = len(widths) - above - not_above
    return {
        "n": len(widths),
        **median(widths),
        "above_zero": above,
        "share_above_zero": clopper_pearson_undecided(above, undecided, len(widths)).as_dict(),
    }


def _mean_difference(*sides: Collection[Threshold]) -> float | None:
    centres = [[m for item in side if (m := centre(item.bounds)) is not None] for side in sides]
    if not all(centres) or any(len(m) < len(side) for m, side in zip(centres, sides, strict=True)):
        return None
    up, down = (rounded(fmean(side)) for side in centres)
    return rounded(up - down)


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


def lag_of(t1_records: Records, t2_records: Records, others: Records = ()) -> dict[str, Any]:
    """The bounds of each seed's width at each dwell time and LR rule, and errors from scratch at each λ.

    `still`: width = still + factor · (1 / epochs per level)^exponent over the closed widths of each LR rule.
    `settings`: of each, `loop` (T1's return), `collapsed` and `trapped` (between T1 and T2, by the start of
    T2). `differing`: parameters in which the runs of T1 or of T2 differ besides dwell time and LR.

    Args:
        others: more records with an error from scratch at one λ, Tδ1's for instance.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    settings = []
    for setting in sorted(ups.keys() | downs.keys()):
        t1, t2 = ups.get(setting, []), downs.get(setting, [])
        loops = [found for record in t1 if (found := loop(record)) is not None]
        starts = _by_seed(DOWN, t2)
        widths = _widths(_by_seed(UP, t1), starts)
        kinds = {"loop": [Bounds.of(item) for item in loops if item["outcome"] != "diverged"]} | {
            state: [width for seed, width in widths.items() if starts[seed].start == state]
            for state in STARTS
        }
        item: dict[str, Any] = {"rule": setting[0], "epochs": setting[1]}
        settings.append(item | {kind: [cell.as_dict() for cell in kinds[kind]] for kind in kinds})
    scratch: defaultdict[float, list[float]] = defaultdict(list)
    for level, error in sorted(_from_scratch([*t1_records, *t2_records, *others])):
        scratch[level].append(error)
    fits = {}
    for rule in {setting["rule"] for setting in settings}:
        for kind in ("loop", *STARTS):
            points = [
                (1 / setting["epochs"], (width["lower"] + width["upper"]) / 2)
                for setting in settings
                for width in setting[kind]
                if setting["rule"] == rule and setting["epochs"] and None not in width.values()
            ]
            fits[rule, kind] = points and width_at_rate(*zip(*points, strict=True))
    apart = sorted(_differing(t1_records) | _differing(t2_records))
    still = [{"rule": rule, "kind": kind, **fit} for (rule, kind), fit in sorted(fits.items()) if fit]
    return {"settings": settings, "still": still, "scratch": dict(scratch), "differing": apart}


def _from_scratch(records: Records) -> list[tuple[float, float]]:
    """λ and error of each training from scratch at one λ, failed inits too.

    Each (experiment, λ, seed, error) once: an init is the same in every run that began with it.
    """
    found = {}
    for record in records:
        level = level_of(record) if number(record, "lambda") is not None else init_level(record)
        error = number(record, "init_error")
        error = number(record, "final_error") if error is None and "error_trajectory" in record else error
        if level is not None and error is not None:
            found[record.get("experiment"), level, record.get("seed"), error] = (level, error)
    return list(found.values())


def _differing(records: Records) -> set[str]:
    values = differing(*(record.get("parameters") or {} for record in records))
    # A parameter that a record does not state came later than it.
    known = {name: {repr(v) for v in values[name] if v is not ABSENT} for name in values.keys() - _VARIED}
    return {name for name, different in known.items() if len(different) > 1}


# ── the figures ──

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


def _draw_cells(axes: Axes, made: Sequence[Swept]) -> None:
    """A bar per seed over the cell of its threshold; one that is open at a side ends there in an arrow."""
    levels = [level for _, curve, _ in made for level in curve.errors]
    low, high = min(levels, default=0.3) - 0.03, max(levels, default=0.7) + 0.03
    row = 0
    ticks: list[tuple[float, str]] = []
    for sweep in _SWEEPS:
        cells = [cell for mine, _, cell in made if mine == sweep and cell]
        for cell in cells:
            style.cell_bar(axes, row, (cell.lower, cell.upper), (low, high), LOOKS[sweep.look].color)
            row += 1
        if cells:
            ticks.append((row - 1 - (len(cells) - 1) / 2, sweep.short))
            row += 1
    axes.set_xlim(low, high)
    axes.set_ylim(max(row, 1) - 0.5, -1)
    axes.set_yticks([y for y, _ in ticks], [label for _, label in ticks])
    axes.tick_params(axis="y", length=0)


def _series(lag: Summary) -> list[Series]:
    series: dict[tuple[str, str], dict[int, list[Bounds]]] = {}
    for setting in lag["settings"]:
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
    from matplotlib.ticker import FixedLocator, NullLocator

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
                style.cell_bar(
                    axes, epochs * shift, (item.lower, item.upper), (low, high), look.color, upright=True
                )
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
    line = look.line(1.6, mark=4.5) | {"markeredgecolor": "white"}
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
    for sweep, records in zip(_SWEEPS, (t1, t1, fell, trapped), strict=True):
        # What ended a sweep lies beyond the levels left out, so every curve counts as fired.
        curves = [Curve.of(entries(record, sweep.trajectory, sweep.phase), fired=True) for record in records]
        xs, ys = median_curve(curves, sweep.rising)
        if xs:
            line = LOOKS[sweep.look].line(1.6, mark=3.5)
            axes.plot(xs, ys, **line)
            style.arrow(axes, xs, ys, LOOKS[sweep.look].color)
            keys.append((f"{sweep.title}, median", line))
    for level, errors in scratch.items():
        axes.plot([level] * len(errors), errors, "_", color=style.BLACK, markersize=6)
    if scratch:
        axes.plot(list(scratch), [median_of(errors) for errors in scratch.values()], **_SCRATCH, zorder=2)
        keys.append(("from scratch, by seed", _SCRATCH | {"marker": "_", "markersize": 6}))
    return keys


register_joint(Width())
