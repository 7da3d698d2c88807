"""T1 and T2: the λ at which an ordered network collapses, and that at which a collapsed one recovers.

T1 raises λ, and with a return sweep lowers it again; T2 lowers it. Source of the protocols: HIDEKI,
Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from dglib.analysis import style, wording
from dglib.analysis.answer import Row, interval_of
from dglib.analysis.curves import (
    Curve,
    drift,
    is_frozen,
    loop,
    median_curve,
    retraced,
    return_bounds,
    return_event,
)
from dglib.analysis.fields import (
    FINAL_STATES,
    Entry,
    Record,
    Records,
    entries,
    is_finite,
    is_running,
    level_of,
    levels_of,
    number,
    parameter,
)
from dglib.analysis.fits import logistic
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.intervals import Bounds, rounded
from dglib.analysis.lifetimes import remaining
from dglib.analysis.style import PENS, THIN
from dglib.analysis.summary import (
    FEWEST_FOR_MEDIANS,
    UNMEASURED,
    Summary,
    common,
    known_cell,
    missing,
    paired,
    quantity,
    share,
)
from dglib.analysis.thresholds import DOWN, UP, Direction, Threshold, limits, threshold
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, Sweep, rate, sweep_rate
from dglib.experiments.parameters import (
    Count,
    Downward,
    Flag,
    Fraction,
    OneState,
    SweepParameters,
    Upward,
    ValidationInfo,
    field_validator,
)
from dglib.protocol.records import under
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase, StopEvent, Success

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STARTS = ("collapsed", "trapped")  # of a falling sweep

Swept = tuple[Sweep, Curve, Bounds | None]  # of one seed; the bounds are those of its threshold


class SpinodalParameters(SweepParameters, OneState):
    """A sweep that ends once the error has crossed a threshold and stays beyond it."""

    in_cell: ClassVar[dict[str, str]] = {"Event": "consecutive"}
    rising: ClassVar[bool]

    consecutive: Count = 3
    """Evaluations in a row beyond the threshold that make an event, from 1."""
    recovery_error: Fraction = 0.20
    """A network has recovered at this error or below, 0 to 1."""

    @field_validator("sweep_lambdas", check_fields=False)  # of the subclasses
    @classmethod
    def _from_the_init(cls, levels: list[float], info: ValidationInfo) -> list[float]:
        start = info.data.get("init_lambda", levels[0])
        if levels[0] < start if cls.rising else levels[0] > start:
            raise ValueError(f"must start at init_lambda = {start} or {'above' if cls.rising else 'below'}")
        return levels


class T1Parameters(SpinodalParameters):
    """λ↑: an ordered network under rising λ, and with return_sweep back down again."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "sweep_lambdas return_sweep", "Event": "collapse_error"}
    rising: ClassVar[bool] = True

    init_error_max: Fraction
    """The trained network is ordered at this error or below, 0 to 1."""
    sweep_lambdas: Upward
    """Levels of λ, rising, init_lambda to 1, at least one."""
    collapse_error: Fraction = 0.40
    """A network has collapsed at this error or above, 0 to 1."""
    return_sweep: Flag
    """Whether λ is lowered again after a collapse: true or false."""
    return_lambdas: Downward
    """Levels of λ on the return, falling, 0 to 1, at least one; those below the collapse are used."""


class T2Parameters(SpinodalParameters):
    """λ↓: a collapsed network under falling λ."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "sweep_lambdas", "Event": "recovery_error"}
    rising: ClassVar[bool] = False

    init_error_min: Fraction
    """The trained network is collapsed at this error or above, 0 to 1."""
    sweep_lambdas: Downward
    """Levels of λ, falling, init_lambda to 0, at least one."""


class Spinodal(Experiment):
    in_default_run = True
    direction: Direction
    starts: tuple[str, ...]  # the states in which the sweep may begin
    directory_prefix = "exp_T_spinodal"  # in one directory a width lies between T1 and T2
    counts_of = "{} per seed: the threshold lies between two levels of the sweep, or beyond its last one."

    def init_and_sweep(self, p: Any, success: Criterion, event: StopEvent, *more: Phase) -> ExperimentSpec:
        """Train at one λ, then sweep it until an event."""
        init = Phase(
            "init", (p.init_lambda,), p.init_epochs, rate(p, p.milestones), p.init_evaluate_every,
            success=Success(success, "init_error", "init_success"),
        )  # fmt: skip
        sweep = Phase(
            "sweep", tuple(p.sweep_lambdas), p.epochs_per_level, sweep_rate(p), p.evaluate_every,
            final="", event=event,
        )  # fmt: skip
        constants = {"epochs_per_level": p.epochs_per_level, "lr": p.lr, "sweep_lr": p.sweep_lr}
        return self.protocol(p, Arm("main", (init, sweep, *more)), constants=constants)

    def summarise(self, records: Records) -> dict[str, Any]:
        """Thresholds over seeds, and of the rising sweep also its return.

        `by_start`: by the state in which the sweep began, with all seeds of which anything is known, censored
        ones too; `fit`: the logistic distribution of thresholds; `remaining`: the share that the sweep has
        not yet moved, at each level. T2's collapsed and trapped seeds are two states.
        """
        direction, levels = self.direction, _planned_levels(records)
        thresholds = [threshold(direction, record) for record in records]
        pairs = list(zip(records, thresholds, strict=True))
        seeds = [_seed(direction, *pair) for pair in pairs]
        kinds = (direction.event, "no_event", "init_failed", "diverged", "unfinished")
        summary = common(self.name, records, seeds, kinds)
        starts = dict.fromkeys([*self.starts, *(item.start for item in thresholds if item.start)])
        groups = {state: [pair for pair in pairs if pair[1].start == state] for state in starts}
        whole, by_start = _group(direction, pairs), {}
        for state, group in groups.items():
            cells = [item.bounds for _, item in group if item.bounds]
            by_start[state] = _group(direction, group) | {
                "fit": logistic(cells) if len(cells) >= FEWEST_FOR_MEDIANS else None,
                "remaining": remaining(cells, levels, direction.rising),
            }
        states = Counter(item.final_state for item in thresholds)
        left = sum(item.left_trap for item in thresholds)
        notes = [
            f"seed {item.seed}: {item.difference}; the trajectory was taken"
            for item in thresholds
            if item.difference
        ]
        notes += [*missing(summary["outcomes"], whole["n"]), *control_notes(whole)]
        if left:
            trapped = wording.seeds(len(groups["trapped"]))
            notes.append(f"{left} of {trapped} that began trapped left that state")
        return summary | {
            "measured": whole["n"],
            **{name: whole[name] for name in ("events", "drift", "frozen")},
            "limits": {
                direction.limit: rounded(parameter(records, direction.limit, direction.default_limit))
            },
            "levels": levels,
            "final_states": {state: states[state] for state in FINAL_STATES},
            "estimates": {name: whole[name] for name in (direction.field, "event_share")},
            "start": {state: len(group) for state, group in groups.items()} | {"left_trap": left},
            "by_start": by_start,
            "notes": notes,
            "loop": _loops(records),
        }

    def rows(self, summary: Summary) -> list[Row]:
        symbol, rows = self.direction.symbol, list[Row]()
        measured = any(group["n"] for group in summary["by_start"].values())
        for state, group in summary["by_start"].items():
            if not group["n"] and (measured or state == "trapped"):
                continue
            events, known = group["events"], group[self.direction.field]
            rows += [
                Row.of_median(symbol, group["n"], known, start=state, events=events),
                Row.of_share(f"share {self.direction.event}", group["event_share"], start=state),
            ]
            if group["drift"]:
                rows.append(Row.of_mean("drift within a level", group["drift"], start=state))
            if (fit := group["fit"]) and events:  # without an event it repeats the bound
                names = ("centre", "scale")
                rows += [Row.of_fit(f"{symbol}, logistic {x}", fit["n"], fit[x], start=state) for x in names]
        return rows + (_loop_rows(summary["loop"]) if summary["loop"] else [])

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        loops = {loop["seed"]: loop for loop in (summary["loop"] or {}).get("seeds", ())}

        def returned(seed: Summary) -> str:
            loop = loops.get(seed["seed"])
            return wording.interval(loop["return_lower"], loop["return_upper"]) if loop else wording.NONE

        def start(seed: Summary) -> str:
            return f"{seed['start'] or wording.NONE}{', left' if seed['left_trap'] else ''}"

        none = f"no {self.direction.noun}"
        return {
            "Seed": wording.seed,
            "Init error": lambda seed: wording.error(seed["init_error"]),
            **({} if self.direction.rising else {"State at the start": start}),
            "Outcome": lambda seed: wording.outcome(seed["outcome"], {"no_event": none}),
            f"{self.direction.symbol} lies": lambda seed: wording.interval(seed["lower"], seed["upper"]),
            **({"λ↓ of the return": returned} if loops else {}),
            "State at the sweep's end": lambda seed: seed["final_state"] or wording.NONE,
            "Final error": lambda seed: wording.error(seed["final_error"]),
        }

    def figures(self) -> dict[str, Drawing]:
        state = "still ordered" if self.direction.rising else "not recovered"
        caption = f"{self.name}: thresholds, share {state}, error against λ and against epoch"
        return {f"{self.prefix}_analysis": Drawing(caption, self._analysis)}

    def _analysis(self, records: Records) -> Figure:
        return _draw(self.direction, records, self.summarise(records))

    def swept(self, record: Record) -> list[Swept]:
        """The sweeps that a seed made, none without one to read; T2's is another where it began trapped."""
        reading = threshold(self.direction, record)
        sweep, back = entries(record, "trajectory", "sweep"), entries(record, "return_trajectory")
        if not sweep or reading.bounds is None:
            return []
        first, second = self.sweeps
        curve = Curve.of([*entries(record, "trajectory", "init")[-1:], *sweep], reading.level is not None)
        if not self.direction.rising:
            return [(second if reading.start == "trapped" else first, curve, reading.bounds)]
        made: list[Swept] = [(first, curve, reading.bounds)]
        if back and reading.last is not None and reading.fired is not None:
            # From where it collapsed, so that a seed's loop is one line.
            errors = dict(list(curve.errors.items())[-1:]) | Curve.of(back).errors
            returned = Curve(errors, fired=return_event(record).first is not None)
            made.append((second, returned, return_bounds(record, reading.last)))
        return made

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        return [(sweep.key, curve, sweep.evaluations(record)) for sweep, curve, _ in self.swept(record)]

    def trajectories(self, record: Record) -> dict[str, tuple[str, str]]:
        return {"trajectory": ("main", "sweep"), "return_trajectory": ("main", "return")}


class T1(Spinodal):
    name = "T1"
    prefix = "T1-spinodal"
    notebook = "T1_spinodal"
    direction = UP
    starts = ("ordered",)
    title = "Where an ordered network collapses"
    question = "At which λ does an ordered network collapse when λ is raised step by step?"
    counts = Spinodal.counts_of.format("λ↑")
    parameters = T1Parameters
    quantities = ("lambda_up",)
    measure = Measure("λ↑", {"no_event": "no collapse", "collapsed": "collapsed", DIVERGED: "diverged"})
    sweeps = (
        Sweep("T1-up", "T1, λ raised", "trajectory", True, "ordered", "sweep", "λ↑"),
        Sweep("T1-back", "T1, swept back", "return_trajectory", False, "collapsed", None, "λ↓ back"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        back = Phase(
            "return", tuple(p.return_lambdas), p.epochs_per_level, sweep_rate(p), p.evaluate_every,
            trajectory="return_trajectory", final="return_", only_after_event="below",
            event=StopEvent(
                Criterion("<=", p.recovery_error), p.consecutive, "return_lambda_down", "return_recovered"
            ),
        )  # fmt: skip
        event = StopEvent(Criterion(">=", p.collapse_error), p.consecutive, "lambda_up", "collapsed")
        success = Criterion("<=", p.init_error_max)
        return self.init_and_sweep(p, success, event, *([back] if p.return_sweep else []))


class T2(Spinodal):
    name = "T2"
    prefix = "T2-spinodal"
    notebook = "T2_spinodal"
    direction = DOWN
    starts = STARTS
    title = "Where a collapsed network recovers"
    question = "At which λ does a collapsed network recover when λ is lowered step by step?"
    counts = Spinodal.counts_of.format("λ↓")
    parameters = T2Parameters
    quantities = ("lambda_down",)
    measure = Measure(
        "λ↓",
        {"recovered": "recovered", "no_event": "not recovered", TRAPPED: "trapped", DIVERGED: "diverged"},
    )
    sweeps = (
        Sweep("T2-down", "T2, λ lowered", "trajectory", False, "lowered", "sweep", "λ↓ T2"),
        Sweep("T2-trapped", "T2, trapped", "trajectory", False, "trapped", "sweep", "λ↓ trapped"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        event = StopEvent(Criterion("<=", p.recovery_error), p.consecutive, "lambda_down", "recovered")
        return self.init_and_sweep(p, Criterion(">=", p.init_error_min), event)


# ── the summary ──


def _seed(direction: Direction, record: Record, reading: Threshold) -> dict[str, Any]:
    seed = reading.as_dict()
    stayed = reading.outcome == "no_event" and _end_state(direction, seed) == "trapped"
    return seed | {"end": "unfinished" if is_running(record) else TRAPPED if stayed else reading.outcome}


def _end_state(direction: Direction, seed: Summary) -> str:
    """The state in which a seed's sweep ended: "ordered", "collapsed", "trapped" or "diverged"."""
    if seed["outcome"] == "diverged":
        return "diverged"
    if seed["start"] == "trapped" and not seed["left_trap"] and seed["level"] is None:
        return "trapped"
    return "collapsed" if (seed["outcome"] == direction.event) == direction.rising else "ordered"


def _group(direction: Direction, pairs: Sequence[tuple[Record, Threshold]]) -> dict[str, Any]:
    """Of some seeds: how many are known, events, threshold, the share that had the event, and `controls`."""
    cells, counts = [i.bounds for _, i in pairs if i.bounds], Counter(item.outcome for _, item in pairs)
    events, unfinished = counts[direction.event], counts["unfinished"]
    return {
        "n": len(cells),
        "events": events,
        direction.field: quantity(cells),
        "event_share": share(events, events + counts["no_event"] + unfinished, unfinished),
        **controls([record for record, _ in pairs]),
    }


def controls(records: Records) -> dict[str, Any]:
    """How far the error moves within a level of the sweep, by seed, and how many sweeps are frozen."""
    sweeps = [(record, entries(record, "trajectory", "sweep")) for record in records]
    moved = [change for _, sweep in sweeps if (change := drift(sweep)) is not None]
    return {"drift": paired(moved), "frozen": sum(is_frozen(record, sweep) for record, sweep in sweeps)}


def control_notes(measured: Summary) -> list[str]:
    """Flags, from `controls`: frozen sweeps, and levels at which the network had not settled."""
    notes = []
    if measured["frozen"]:
        notes.append(f"frozen: in {wording.seeds(measured['frozen'])} the error did not move at a small LR")
    drift = measured["drift"]
    if drift and drift["ci95"] and not drift["ci95"][0] <= 0 <= drift["ci95"][1]:
        moved = wording.decimal(drift["mean"], 3)
        notes.append(f"drifting: within a level the error still moves by {moved}, so the dwell decides too")
    return notes


def _planned_levels(records: Records) -> list[float]:
    """Every level that a sweep was to visit, or did; ascending."""
    planned = {
        round(float(x), 6) for r in records for x in (r.get("parameters") or {}).get("sweep_lambdas") or ()
    }
    visited = {level for r in records for level in levels_of(entries(r, "trajectory", "sweep"))}
    final = {level for r in records if (level := level_of(r, "final_lambda")) is not None}
    return sorted(planned | visited | final)


def _loops(records: Records) -> dict[str, Any] | None:
    """The return sweeps of all seeds that collapsed: λ↓ and width there (not T2's); None without one."""
    loops = [seed_loop for record in records if (seed_loop := loop(record)) is not None]
    if not loops:
        return None
    outcomes = Counter(item["outcome"] for item in loops)
    measured = [item for item in loops if item["outcome"] != "diverged"]
    backs = [Bounds.of({"lower": e["return_lower"], "upper": e["return_upper"]}) for e in measured]
    limit = common_limit(records)
    at_limit = [seed_loop for record in read_at(records, limit) if (seed_loop := loop(record)) is not None]
    return {
        "n": len(loops),
        "measured": len(measured),
        "outcomes": {kind: outcomes[kind] for kind in ("closed", "open", "diverged")},
        **{
            name: paired([item[name] for item in loops if item[name] is not None])
            for name in ("memory", "area")
        },
        "estimates": {
            "lambda_down": quantity(backs),
            "width": quantity([Bounds.of(item) for item in measured]),
            "null_width": quantity([null for record in records if (null := retraced(record))]),
            "width_at_common_limit": quantity([Bounds.of(e) for e in at_limit if e["outcome"] != "diverged"]),
        },
        "common_limit": limit,
        "seeds": loops,
    }


def _loop_rows(summary: Summary) -> list[Row]:
    estimates, n, closed = summary["estimates"], summary["measured"], summary["outcomes"]["closed"]
    at = f"loop width, both read at error {wording.level(summary['common_limit'])}"
    start, null = "ordered", {"null (no lag)": interval_of(estimates["null_width"])}
    return [
        Row.of_median("λ↓ of the return", n, estimates["lambda_down"], start="collapsed", events=closed),
        Row.of_median("loop width λ↑ − λ↓", n, estimates["width"], start=start, events=closed, more=null),
        Row.of_median(at, n, estimates["width_at_common_limit"], start=start),
        Row.of_mean("return − rising error, same λ", summary["memory"], start=start),
        Row.of_mean("loop area, signed, λ × error", summary["area"], start=start, decimals=4),
    ]


def common_limit(records: Records) -> float:
    """The error half way between those of recovery and collapse."""
    return round(fmean(limits(records)), 6)


def read_at(records: Records, limit: float) -> list[Record]:
    """The records with collapse and recovery both read at one error."""
    return [under(record, {"collapse_error": limit, "recovery_error": limit}) for record in records]


# ── the figure ──

_LEGIBLE = 16  # so many bars have room for the seeds' numbers
_APART = 0.12  # of a grid step: between the intervals of two groups
_ENDED = {
    UP: {"collapsed": "collapsed", "ordered": "no collapse", "diverged": "diverged"},
    DOWN: {"collapsed": "no recovery", "ordered": "recovered", "trapped": "trapped throughout"}
    | {"diverged": "diverged"},
}


def _draw(direction: Direction, records: Records, summary: Summary) -> Figure:
    """Four panels: cells of the threshold, share of seeds not yet moved, error against λ and epoch."""
    figure = style.new_figure(height=5.2)
    axes = figure.subplot_mosaic("abc;ddd")
    state = "still ordered" if direction.rising else "not recovered, by start"
    style.panel(axes["a"], f"a  Threshold {direction.symbol}, by seed", f"λ of the {direction.noun}", "Seed")
    style.panel(axes["b"], f"b  Share {state}", "λ", "Share of seeds")
    style.panel(
        axes["c"], f"c  Error by level, λ {'raised' if direction.rising else 'lowered'}", "λ", "Test error"
    )
    style.panel(axes["d"], "d  Error through the sweep", "Epoch", "Test error")
    _draw_cells(axes["a"], direction, summary)
    _draw_remaining(axes["b"], summary)
    keys = _draw_errors(axes["c"], axes["d"], direction, records, summary)
    limit = summary["limits"][direction.limit]
    for name in "cd":
        style.error_axis(axes[name])
        early = name == "d" or direction.rising  # the end where few lines cross the limit
        label = f"{direction.noun} {wording.level(limit)}"
        style.limit_line(axes[name], limit, label, side="left" if early else "right")
        if not keys:
            style.note(axes[name], "no sweep on record" if records else "no records")
    style.legend_below(figure, keys)
    return figure


def _draw_cells(axes: Axes, direction: Direction, summary: Summary) -> None:
    """A row for each seed's threshold; seeds without one are counted."""
    measured = [s for s in summary["seeds"] if known_cell(s) and s["outcome"] != "unfinished"]
    measured.sort(key=lambda seed: (Bounds.of(seed).lower, Bounds.of(seed).upper, seed["seed"]))
    rows = [
        (
            wording.seed(seed) if len(measured) <= _LEGIBLE else "",
            Bounds.of(seed),
            PENS[_end_state(direction, seed)],
        )
        for seed in measured
    ]
    style.cell_rows(axes, rows, summary["levels"])
    counts = Counter(seed["outcome"] for seed in summary["seeds"])
    others = [f"{wording.outcome(kind)} {counts[kind]}" for kind in UNMEASURED if counts[kind]]
    if others:
        axes.set_xlabel(f"{axes.get_xlabel()}\n({', '.join(others)})")
    if not measured:
        style.note(axes, "no threshold" if summary["seeds"] else "no records")


def _draw_remaining(axes: Axes, summary: Summary) -> None:
    """A line of steps for each state in which the sweep began, with pointwise intervals."""
    groups = {state: group["remaining"] for state, group in summary["by_start"].items() if state in PENS}
    drawn = {state: curve for state, curve in groups.items() if curve["steps"]}
    apart = _APART * min((b - a for a, b in pairwise(summary["levels"])), default=0.0)
    for index, (state, curve) in enumerate(drawn.items()):
        pen, steps = PENS[state], curve["steps"]
        shift = apart * (index - (len(drawn) - 1) / 2)
        xs, ys = [step["level"] + shift for step in steps], [step["share"] for step in steps]
        errors = [[abs(step["share"] - step[end]) for step in steps] for end in ("lower", "upper")]
        axes.step(xs, ys, where="post", **pen.line(1.6))
        bars: dict[str, Any] = {"markersize": 3.2, "elinewidth": 0.8, "capsize": 1.8}
        axes.errorbar(xs, ys, yerr=errors, fmt=pen.marker, color=pen.color, **bars)
        method = f" ({curve['method']})" if curve["method"] != "binomial" else ""
        where: dict[str, Any] = {"transform": axes.transAxes, "color": pen.color, "fontsize": 6.5}
        axes.text(0.03, 0.92 - 0.08 * index, f"{state}, n = {curve['n']}{method}", **where)
    axes.set_ylim(-0.04, 1.26)  # room for the names
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    if not drawn:
        style.note(axes, "no sweep on record" if summary["n"] else "no records")


def _draw_errors(
    by_level: Axes, by_epoch: Axes, direction: Direction, records: Records, summary: Summary
) -> list[tuple[str, dict[str, Any]]]:
    """Every seed's sweep by the state in which it ended, marked at its event; the legend's keys."""
    from matplotlib.ticker import MaxNLocator

    sweeps = [entries(record, "trajectory", "sweep") for record in records]
    seeds = [(seed, sweep) for seed, sweep in zip(summary["seeds"], sweeps, strict=True) if sweep]
    counts, steady = Counter(_end_state(direction, seed) for seed, _ in seeds), []
    for seed, sweep in seeds:
        pen, curve = PENS[_end_state(direction, seed)], Curve.of(sweep, seed["level"] is not None)
        epochs = {entry["epoch"]: entry["error"] for entry in sweep if is_finite(entry) and "epoch" in entry}
        for axes, line, mark in ((by_level, curve.errors, 2.2), (by_epoch, epochs, 0.0)):
            axes.plot(list(line), list(line.values()), **pen.line(THIN, 0.8, mark=mark))
            if line and (seed["outcome"] == "diverged" or (not mark and curve.fired)):
                end = list(line.items())[-1]
                axes.plot(*end, pen.marker, color=pen.color, markersize=5, zorder=6)
        # A median over two states would be of neither.
        steady += [curve] if seed["outcome"] != "diverged" and seed["start"] != "trapped" else []
    median = median_curve(steady, direction.rising)
    by_level.plot(*median, **style.MEDIAN, zorder=1.5)
    by_level.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    style.arrow(by_level, *median, style.DARK_GREY)
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name_levels(by_epoch, max((sweep for _, sweep in seeds), key=len, default=[]))
    keys = [
        (f"{name} ({counts[state]})", PENS[state].line(1.2, mark=3.5))
        for state, name in _ENDED[direction].items()
        if counts[state]
    ]
    mixed = any(seed["start"] == "trapped" for seed, _ in seeds)
    name = "median of the seeds not trapped" if mixed else "median"
    return keys + ([(name, style.MEDIAN)] if steady else [])


def _name_levels(axes: Axes, sweep: Sequence[Entry]) -> None:
    """A second axis on top, with each λ where it was first evaluated."""
    starts: dict[float, float] = {}
    for entry in sweep:
        level, epoch = level_of(entry), number(entry, "epoch")
        if level is not None and epoch is not None:
            starts.setdefault(level, epoch)
    shown = list(starts.items())[:: 1 + len(starts) // 16]  # so many names fit
    top = axes.secondary_xaxis("top")
    top.set_xticks([epoch for _, epoch in shown], [wording.level(level) for level, _ in shown])
    top.tick_params(labelsize=6.5, labelcolor=style.DARK_GREY, length=2, pad=1)
    axes.set_title("d  Error through the sweep (top: λ from there on)", loc="left")


register(T1())
register(T2())
