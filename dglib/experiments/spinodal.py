"""T1 and T2: the λ at which an ordered network collapses, and that at which a collapsed one recovers.

T1 raises λ, and with a return sweep lowers it again; T2 lowers it. Source of the protocols: HIDEKI,
Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from dglib.analysis import style, wording
from dglib.analysis.answer import Row, ends_of
from dglib.analysis.curves import Curve, drift, is_frozen, median_curve
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
    rounded,
)
from dglib.analysis.fits import logistic
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.intervals import Bounds
from dglib.analysis.lifetimes import remaining
from dglib.analysis.style import LOOKS, THIN, Look
from dglib.analysis.summary import (
    FEWEST_FOR_MEDIANS,
    UNMEASURED,
    Summary,
    centre,
    common,
    in_every_seed,
    known_cell,
    median_bounds,
    median_interval,
    missing,
    paired,
    quantity,
    share,
    spread,
)
from dglib.analysis.thresholds import (
    DOWN,
    UP,
    Direction,
    Threshold,
    limits,
    loop,
    retraced,
    return_bounds,
    return_event,
    threshold,
)
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, Sweep, rate, shared, sweep_rate
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
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase, StopEvent, Success

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STARTS = ("collapsed", "trapped")  # of a falling sweep

Swept = tuple[Sweep, Curve, Bounds | None]  # of one seed; the bounds are those of its threshold


class SpinodalParameters(SweepParameters, OneState):
    """A sweep that ends once the error has crossed a threshold and stays beyond it."""

    in_cell: ClassVar[dict[str, str]] = {"Event": "consecutive"}

    consecutive: Count = 3
    """Evaluations in a row beyond the threshold that make an event, from 1."""
    recovery_error: Fraction = 0.20
    """A network has recovered at this error or below, 0 to 1."""


class T1Parameters(SpinodalParameters):
    """λ↑: an ordered network under rising λ, and with return_sweep back down again."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "sweep_lambdas return_sweep", "Event": "collapse_error"}

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

    @field_validator("sweep_lambdas")
    @classmethod
    def _from_the_ordered_side(cls, levels: list[float], info: ValidationInfo) -> list[float]:
        if levels[0] < info.data.get("init_lambda", 0):
            raise ValueError(f"must start at init_lambda = {info.data['init_lambda']} or above")
        return levels


class T2Parameters(SpinodalParameters):
    """λ↓: a collapsed network under falling λ."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "sweep_lambdas", "Event": "recovery_error"}

    init_error_min: Fraction
    """The trained network is collapsed at this error or above, 0 to 1."""
    sweep_lambdas: Downward
    """Levels of λ, falling, init_lambda to 0, at least one."""

    @field_validator("sweep_lambdas")
    @classmethod
    def _from_the_collapsed_side(cls, levels: list[float], info: ValidationInfo) -> list[float]:
        if levels[0] > info.data.get("init_lambda", 1):
            raise ValueError(f"must start at init_lambda = {info.data['init_lambda']} or below")
        return levels


def _spec(p: Any, name: str, success: Criterion, event: StopEvent, *more: Phase) -> ExperimentSpec:
    """Hold λ until the network has settled, then sweep it until an event."""
    init = Phase(
        "init", (p.init_lambda,), p.init_epochs, rate(p, p.milestones), p.init_evaluate_every,
        success=Success(success, "init_error", "init_success"),
    )  # fmt: skip
    sweep = Phase(
        "sweep", tuple(p.sweep_lambdas), p.epochs_per_level, sweep_rate(p), p.evaluate_every,
        final="", event=event,
    )  # fmt: skip
    return ExperimentSpec(
        name=name,
        prefix=f"{name}-spinodal",
        directory_prefix="exp_T_spinodal",
        experiment_id=f"{name}-spinodal-{{seed:03d}}",
        arms=(Arm("main", (init, sweep, *more)),),
        constants={"epochs_per_level": p.epochs_per_level, "lr": p.lr, "sweep_lr": p.sweep_lr},
        **shared(p),
    )


class Spinodal(Experiment):
    in_default_run = True
    partners = ("T1", "T2")
    direction: Direction
    counts_of = "{} per seed: the threshold lies between two levels of the sweep, or beyond its last one."

    def summarise(self, records: Records) -> dict[str, Any]:
        """Thresholds over seeds, and of the rising sweep also its return.

        `lambda_up_recorded` or `lambda_down_recorded`: spread of the levels at which the sweeps that fired
        ended, as records keep them; `..._centres`: of the middles of the cells. `limit`: the event's error.
        `median` and `remaining`: over all seeds of which anything is known, censored ones too; of falling
        sweeps also `by_start`, the two states from which seeds recover or do not.
        """
        direction, levels = self.direction, _planned_levels(records)
        found = [threshold(direction, record) for record in records]
        pairs = list(zip(records, found, strict=True))
        whole = _group(direction, pairs, levels)
        summary = common(
            self.name,
            records,
            [_seed(direction, *pair) for pair in pairs],
            (direction.event, "no_event", "init_failed", "diverged", "unfinished"),
        )
        states = Counter(item.final_state for item in found)
        fired = [item.recorded for item in found if item.outcome == direction.event]
        differences = {str(item.seed): item.difference for item in found if item.difference}
        limit = rounded(parameter(records, direction.limit, direction.default_limit))
        summary |= {
            **{name: whole[name] for name in ("events", "median", "remaining", "fit", "drift", "frozen")},
            "measured": whole["n"],
            f"{direction.field}_centres": whole["centres"],
            f"{direction.field}_recorded": spread([level for level in fired if level is not None]),
            "limit": limit,
            "limits": {direction.limit: limit},
            "levels": levels,
            "censored": [item.seed for item in found if item.outcome == "no_event"],
            "final_states": {state: states[state] for state in FINAL_STATES},
            "differences": differences,
            "in_every_seed": in_every_seed([item.bounds for item in found if item.bounds]),
            "estimates": {name: whole[name] for name in (direction.field, "event_share")},
            "notes": [
                *(f"seed {seed}: {why}; the trajectory was taken" for seed, why in differences.items()),
                *missing(summary["outcomes"], whole["n"]),
                *control_notes(whole),
            ],
        }
        if direction.rising:
            return summary | {"loop": _loops(records)}
        starts = dict.fromkeys([*STARTS, *(item.start for item in found if item.start)])
        groups = {state: [pair for pair in pairs if pair[1].start == state] for state in starts}
        start, left = {s: len(members) for s, members in groups.items()}, sum(i.left_trap for i in found)
        if left:
            began = wording.seeds(start["trapped"])
            summary["notes"].append(f"{left} of {began} that began trapped left that state")
        by_start = {state: _group(direction, members, levels) for state, members in groups.items()}
        return summary | {"start": start | {"left_trap": left}, "by_start": by_start}

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        loops = {loop["seed"]: loop for loop in (summary.get("loop") or {}).get("seeds", ())}

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
        found = threshold(self.direction, record)
        sweep, back = entries(record, "trajectory", "sweep"), entries(record, "return_trajectory")
        if not sweep or found.bounds is None:
            return []
        first, second = self.sweeps
        curve = Curve.of([*entries(record, "trajectory", "init")[-1:], *sweep], found.level is not None)
        if not self.direction.rising:
            return [(second if found.start == "trapped" else first, curve, found.bounds)]
        made: list[Swept] = [(first, curve, found.bounds)]
        if back and found.last is not None and found.fired is not None:
            # From where it collapsed, so that a seed's loop is one line.
            errors = dict(list(curve.errors.items())[-1:]) | Curve.of(back).errors
            returned = Curve(errors, fired=return_event(record).first is not None)
            made.append((second, returned, return_bounds(record, found.last)))
        return made

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        return [(sweep.key, curve, sweep.evaluations(record)) for sweep, curve, _ in self.swept(record)]

    def trajectories(self) -> dict[str, tuple[str, str]]:
        return {"trajectory": ("main", "sweep"), "return_trajectory": ("main", "return")}


class T1(Spinodal):
    name = "T1"
    prefix = "T1-spinodal"
    notebook = "T1_spinodal"
    line = "ordered networks, λ raised"
    direction = UP
    title = "Where an ordered network collapses"
    question = "At which λ does an ordered network collapse when λ is raised step by step?"
    counts = Spinodal.counts_of.format("λ↑")
    parameters = T1Parameters
    quantities: Mapping[str, str] = {"lambda_up": "λ↑"}
    measure = Measure("λ↑", {"no_event": "no collapse", "collapsed": "collapsed", DIVERGED: "diverged"})
    sweeps = (
        Sweep("T1-up", "T1, λ raised", "trajectory", True, "ordered", "sweep", "λ↑"),
        Sweep("T1-back", "T1, swept back", "return_trajectory", False, "collapsed", None, "λ↓ back"),
    )

    def rows(self, summary: Summary) -> list[Row]:
        estimates, start, events = summary["estimates"], "ordered", summary["events"]
        rows = [
            Row.of_median(
                "λ↑",
                summary["measured"],
                estimates["lambda_up"],
                start=start,
                events=events,
            ),
            Row.of_share("share collapsed", estimates["event_share"], start=start),
            Row.of_mean("drift within a level", summary["drift"], start=start),
            *_fitted("λ↑", summary, start),
        ]
        loop = summary["loop"]
        if not loop:
            return rows
        found, n, closed = loop["estimates"], loop["measured"], loop["outcomes"]["closed"]
        at = f"loop width, both read at error {wording.level(loop['common_limit'])}"
        null = {"null (no lag)": ends_of(found["null_width"])}
        return [
            *rows,
            Row.of_median("λ↓ of the return", n, found["lambda_down"], start="collapsed", events=closed),
            Row.of_median("loop width λ↑ − λ↓", n, found["width"], start=start, events=closed, more=null),
            Row.of_median(at, n, found["width_at_common_limit"], start=start),
            Row.of_mean("return − rising error, same λ", loop["memory"], start=start),
            Row.of_mean("loop area, signed, λ × error", loop["area"], start=start, places=4),
        ]

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
        return _spec(p, self.name, success, event, *([back] if p.return_sweep else []))


class T2(Spinodal):
    name = "T2"
    prefix = "T2-spinodal"
    notebook = "T2_spinodal"
    line = "collapsed networks, λ lowered"
    direction = DOWN
    title = "Where a collapsed network recovers"
    question = "At which λ does a collapsed network recover when λ is lowered step by step?"
    counts = Spinodal.counts_of.format("λ↓")
    parameters = T2Parameters
    quantities: Mapping[str, str] = {"lambda_down": "λ↓"}
    measure = Measure(
        "λ↓",
        {"recovered": "recovered", "no_event": "not recovered", TRAPPED: "trapped", DIVERGED: "diverged"},
    )
    sweeps = (
        Sweep("T2-down", "T2, λ lowered", "trajectory", False, "lowered", "sweep", "λ↓ T2"),
        Sweep("T2-trapped", "T2, trapped", "trajectory", False, "trapped", "sweep", "λ↓ trapped"),
    )

    def rows(self, summary: Summary) -> list[Row]:
        rows = []
        measured = any(group["n"] for group in summary["by_start"].values())
        for state, group in summary["by_start"].items():
            if not group["n"] and (measured or state != "collapsed"):
                continue
            events = group["events"]
            rows.append(Row.of_median("λ↓", group["n"], group["lambda_down"], start=state, events=events))
            rows.append(Row.of_share("share recovered", group["event_share"], start=state))
            if group["drift"]:
                rows.append(Row.of_mean("drift within a level", group["drift"], start=state))
            rows += _fitted("λ↓", group, state)
        return rows

    def spec(self, p: Any) -> ExperimentSpec:
        event = StopEvent(Criterion("<=", p.recovery_error), p.consecutive, "lambda_down", "recovered")
        return _spec(p, self.name, Criterion(">=", p.init_error_min), event)


# ── the summary ──


def _seed(direction: Direction, record: Record, found: Threshold) -> dict[str, Any]:
    seed = found.as_dict()
    stayed = found.outcome == "no_event" and _end_state(direction, seed) == "trapped"
    return seed | {"end": "unfinished" if is_running(record) else TRAPPED if stayed else found.outcome}


def _end_state(direction: Direction, seed: Summary) -> str:
    """The state in which a seed's sweep ended: "ordered", "collapsed", "trapped" or "diverged"."""
    if seed["outcome"] == "diverged":
        return "diverged"
    if seed["start"] == "trapped" and not seed["left_trap"] and seed["level"] is None:
        return "trapped"
    return "collapsed" if (seed["outcome"] == direction.event) == direction.rising else "ordered"


def _group(
    direction: Direction, pairs: Sequence[tuple[Record, Threshold]], levels: Sequence[float]
) -> dict[str, Any]:
    """Of seeds from one state: how many are known, events, threshold, and the share that had the event.

    `centres`: the spread of the middles of the cells of those that did; `remaining`: the share that the sweep
    has not yet moved, at each level; and the `controls`.
    """
    found = [item for _, item in pairs]
    cells, counts = [item.bounds for item in found if item.bounds], Counter(item.outcome for item in found)
    events, unfinished = counts[direction.event], counts["unfinished"]
    closed = [item.bounds for item in found if item.outcome == direction.event]
    return {
        "n": len(cells),
        "events": events,
        "centres": spread([middle for cell in closed if (middle := centre(cell)) is not None]),
        "median": {"n": len(cells), **median(cells)},
        "fit": logistic(cells) if len(cells) >= FEWEST_FOR_MEDIANS else None,
        "remaining": remaining(cells, levels, direction.rising),
        direction.field: quantity(cells),
        "event_share": share(events, events + counts["no_event"] + unfinished, unfinished),
        **controls([record for record, _ in pairs]),
    }


def median(cells: Sequence[Bounds]) -> dict[str, Any]:
    """`{"lower", "upper", "interval"}`: bounds of the sample's median, interval for the population's.

    The interval is None below six seeds: no 95 % interval from order statistics exists there.
    """
    interval = median_interval(cells)
    return {**median_bounds(cells).as_dict(), "interval": interval and interval.as_dict()}


def controls(records: Records) -> dict[str, Any]:
    """How far the error moves within a level of the sweep, by seed, and how many sweeps are frozen."""
    sweeps = [(record, entries(record, "trajectory", "sweep")) for record in records]
    moved = [found for _, sweep in sweeps if (found := drift(sweep)) is not None]
    return {"drift": paired(moved), "frozen": sum(is_frozen(record, sweep) for record, sweep in sweeps)}


def control_notes(found: Summary) -> list[str]:
    """Flags, from `controls`: frozen sweeps, and levels at which the network had not settled."""
    notes = []
    if found["frozen"]:
        notes.append(f"frozen: in {wording.seeds(found['frozen'])} the error did not move at a small LR")
    drift = found["drift"]
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
    loops = [found for record in records if (found := loop(record)) is not None]
    if not loops:
        return None
    outcomes = Counter(item["outcome"] for item in loops)
    measured = [item for item in loops if item["outcome"] != "diverged"]
    backs = [Bounds.of({"lower": e["return_lower"], "upper": e["return_upper"]}) for e in measured]
    widths = [Bounds.of(item) for item in measured]
    limit = common_limit(records)
    at_limit = [found for record in read_at(records, limit) if (found := loop(record)) is not None]
    return {
        "n": len(loops),
        "measured": len(measured),
        "outcomes": {kind: outcomes[kind] for kind in ("closed", "open", "diverged")},
        "trapped": sum(item["trapped"] for item in loops),
        "width": spread([item["width"] for item in loops if item["outcome"] == "closed"]),
        "median": median_bounds(widths).as_dict(),
        "interval": median(widths)["interval"],
        "thresholds": limits(records)[::-1],
        "memory": paired([item["memory"] for item in loops if item["memory"] is not None]),
        "area": paired([item["area"] for item in loops if item["area"] is not None]),
        "estimates": {
            "lambda_down": quantity(backs),
            "width": quantity(widths),
            "null_width": quantity([null for record in records if (null := retraced(record))]),
            "width_at_common_limit": quantity([Bounds.of(e) for e in at_limit if e["outcome"] != "diverged"]),
        },
        "common_limit": limit,
        "seeds": loops,
    }


def common_limit(records: Records) -> float:
    """The error half way between those of recovery and collapse."""
    return round(fmean(limits(records)), 6)


def read_at(records: Records, limit: float) -> list[Record]:
    """The records with collapse and recovery both read at one error."""
    both = {"collapse_error": limit, "recovery_error": limit}
    return [{**record, "parameters": {**(record.get("parameters") or {}), **both}} for record in records]


# ── words ──


def _fitted(symbol: str, summary: Summary, start: str) -> list[Row]:
    """The logistic distribution of thresholds, where there are seeds enough."""
    fit = summary["fit"]
    if fit is None or not summary["events"]:  # without an event it repeats the bound
        return []
    return [
        Row.of_fit(f"{symbol}, logistic {name}", fit["n"], fit[name], start=start)
        for name in ("centre", "scale")
    ]


# ── the figure ──

Seeds = Sequence[tuple[Summary, list[Entry]]]  # those that entered the sweep, with its evaluations

_LEGIBLE = 16  # so many bars have room for the seeds' numbers
_APART = 0.12  # of a grid step: between the intervals of two groups


def _draw(direction: Direction, records: Records, summary: Summary) -> Figure:
    """Four panels: cells of the threshold, share of seeds not yet moved, error against λ and epoch."""
    figure = style.new_figure(height=5.2)
    axes = figure.subplot_mosaic("abc;ddd")
    sweeps = [entries(record, "trajectory", "sweep") for record in records]
    seeds = [(seed, sweep) for seed, sweep in zip(summary["seeds"], sweeps, strict=True) if sweep]
    style.panel(axes["a"], f"a  Threshold {direction.symbol}, by seed", f"λ of the {direction.noun}", "Seed")
    _draw_cells(axes["a"], direction, summary)
    state = "still ordered" if direction.rising else "not recovered, by start"
    style.panel(axes["b"], f"b  Share {state}", "λ", "Share of seeds")
    groups = {"ordered": summary} if direction.rising else {s: summary["by_start"][s] for s in STARTS}
    _draw_remaining(axes["b"], {name: group["remaining"] for name, group in groups.items()}, summary)
    title = f"c  Error by level, λ {'raised' if direction.rising else 'lowered'}"
    style.panel(axes["c"], title, "λ", "Test error")
    _against_level(axes["c"], direction, seeds)
    style.panel(axes["d"], "d  Error through the sweep", "Epoch", "Test error")
    axes["d"].set_title(axes["d"].get_title(loc="left"), loc="left", pad=14)  # room for the levels' names
    _against_epoch(axes["d"], direction, seeds)
    for name in "cd":
        style.error_axis(axes[name])
        early = name == "d" or direction.rising  # the end where few lines cross the limit
        label = f"{direction.noun} {wording.level(summary['limit'])}"
        style.limit_line(axes[name], summary["limit"], label, side="left" if early else "right")
        if not seeds:
            style.note(axes[name], "no sweep on record" if records else "no records")
    style.legend_below(figure, _keys(direction, seeds))
    return figure


def _draw_cells(axes: Axes, direction: Direction, summary: Summary) -> None:
    """A bar for each seed over its threshold's cell, marked at the centre; seeds without one are counted.

    A bar that is open on a side ends there in an arrowhead.
    """
    measured = [s for s in summary["seeds"] if known_cell(s) and s["outcome"] != "unfinished"]
    measured.sort(key=lambda seed: (Bounds.of(seed).lower, Bounds.of(seed).upper, seed["seed"]))
    ends = [end for s in measured for end in (s["lower"], s["upper"]) if end is not None]
    known = [*summary["levels"], *ends] or [0.0, 1.0]
    low, high = min(known) - 0.03, max(known) + 0.03
    for row, seed in enumerate(measured):
        cell, look = Bounds.of(seed), LOOKS[_end_state(direction, seed)]
        style.cell_bar(axes, row, (cell.lower, cell.upper), (low, high), look.color)
        if (middle := centre(cell)) is not None:
            axes.plot(middle, row, look.marker, color=look.color, markersize=3.5)
    numbered = [wording.seed(seed) for seed in measured] if len(measured) <= _LEGIBLE else []
    axes.set_yticks(range(len(numbered)), numbered, fontsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(low, high), ylim=(-0.7, max(len(measured), 1) - 0.3))
    counts = Counter(seed["outcome"] for seed in summary["seeds"])
    others = [f"{wording.outcome(kind)} {counts[kind]}" for kind in UNMEASURED if counts[kind]]
    if others:
        axes.set_xlabel(f"{axes.get_xlabel()}\n({', '.join(others)})")
    if not measured:
        style.note(axes, "no threshold" if summary["seeds"] else "no records")


def _draw_remaining(axes: Axes, shares: Mapping[str, Summary], summary: Summary) -> None:
    """A line of steps for the rising sweep; for the falling one a line for each state in which it began."""
    drawn = {name: item for name, item in shares.items() if item["steps"]}
    apart = _APART * min((b - a for a, b in pairwise(summary["levels"])), default=0.0)
    for index, (name, item) in enumerate(drawn.items()):
        _draw_steps(axes, LOOKS[name], item["steps"], apart * (index - (len(drawn) - 1) / 2))
        method = f" ({item['method']})" if item["method"] != "binomial" else ""
        where: dict[str, Any] = {"transform": axes.transAxes, "color": LOOKS[name].color, "fontsize": 6.5}
        axes.text(0.03, 0.92 - 0.08 * index, f"{name}, n = {item['n']}{method}", **where)
    axes.set_ylim(-0.04, 1.26)  # room for the names
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    if not drawn:
        style.note(axes, "no sweep on record" if summary["n"] else "no records")


def _draw_steps(axes: Axes, look: Look, steps: Sequence[Summary], shift: float) -> None:
    xs, ys = [step["level"] + shift for step in steps], [step["share"] for step in steps]
    below = [max(step["share"] - step["lower"], 0.0) for step in steps]
    above = [max(step["upper"] - step["share"], 0.0) for step in steps]
    axes.step(xs, ys, where="post", **look.line(1.6))
    bars: dict[str, Any] = {"markersize": 3.2, "elinewidth": 0.8, "capsize": 1.8}
    axes.errorbar(xs, ys, yerr=(below, above), fmt=look.marker, color=look.color, **bars)


def _against_level(axes: Axes, direction: Direction, seeds: Seeds) -> None:
    from matplotlib.ticker import MaxNLocator

    steady = []
    for seed, sweep in seeds:
        curve, look = Curve.of(sweep, seed["level"] is not None), LOOKS[_end_state(direction, seed)]
        levels, errors = list(curve.errors), list(curve.errors.values())
        axes.plot(levels, errors, **look.line(THIN, 0.8, mark=2.2))
        if seed["outcome"] == "diverged":
            axes.plot(levels[-1:], errors[-1:], look.marker, color=look.color, markersize=5, zorder=6)
        if _in_median(seed):
            steady.append(curve)
    xs, ys = median_curve(steady, direction.rising)
    axes.plot(xs, ys, **style.MEDIAN, zorder=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    style.arrow(axes, xs, ys, style.DARK_GREY)


def _against_epoch(axes: Axes, direction: Direction, seeds: Seeds) -> None:
    from matplotlib.ticker import MaxNLocator

    for seed, sweep in seeds:
        look = LOOKS[_end_state(direction, seed)]
        finite = [entry for entry in sweep if is_finite(entry) and "epoch" in entry]
        epochs, errors = [e["epoch"] for e in finite], [e["error"] for e in finite]
        axes.plot(epochs, errors, **look.line(THIN, 0.85))
        if finite and (seed["level"] is not None or seed["outcome"] == "diverged"):
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
    counts = Counter(_end_state(direction, seed) for seed, _ in seeds)
    keys = [
        (f"{names[state]} ({counts[state]})", look.line(1.2, mark=3.5))
        for state, look in LOOKS.items()
        if counts[state]
    ]
    if any(_in_median(seed) for seed, _ in seeds):
        trapped = any(seed["start"] == "trapped" for seed, _ in seeds)
        keys.append(("median of the seeds not trapped" if trapped else "median", style.MEDIAN))
    return keys


def _in_median(seed: Summary) -> bool:
    """A median over two states would be of neither."""
    return not (seed["outcome"] == "diverged" or seed["start"] == "trapped")


register(T1())
register(T2())
