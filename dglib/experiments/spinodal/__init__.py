"""T1 and T2: the λ at which an ordered network collapses, and that at which a collapsed one recovers.

T1 raises λ, T2 lowers it; the hysteresis width is the difference of their thresholds, by seed. Source of the
protocols: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dglib.analysis import wording
from dglib.analysis.answer import Row, ends_of
from dglib.analysis.curves import Curve
from dglib.analysis.differences import Difference, outcome_row
from dglib.analysis.fields import Entry, Record, Records
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.summary import Summary
from dglib.analysis.thresholds import DOWN, UP, Direction
from dglib.experiments import register, register_joint
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
from dglib.experiments.spinodal import summary as summaries
from dglib.experiments.spinodal.width import Width
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase, StopEvent, Success

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        return summaries.summarise_sweep(self.name, self.direction, records)

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        loops = {loop["seed"]: loop for loop in (summary.get("loop") or {}).get("seeds", ())}

        def returned(seed: Summary) -> str:
            loop = loops.get(seed["seed"])
            if loop is None:
                return wording.NONE
            return wording.interval(loop["return_lower"], loop["return_upper"])

        none = f"no {self.direction.noun}"
        return {
            "Seed": wording.seed,
            "Init error": lambda seed: wording.error(seed["init_error"]),
            **({} if self.direction.rising else {"State at the start": _start}),
            "Outcome": lambda seed: wording.outcome(seed["outcome"], {"no_event": none}),
            f"{self.direction.symbol} lies": lambda seed: wording.interval(seed["lower"], seed["upper"]),
            **({"λ↓ of the return": returned} if loops else {}),
            "State at the end": lambda seed: seed["final_state"] or wording.NONE,
            "Final error": lambda seed: wording.error(seed["final_error"]),
        }

    def compare(self, a: Summary, b: Summary) -> list[Difference]:
        rows = summaries.compare(self.direction, a, b)
        return rows + [outcome_row(wording.outcome(kind), kind, a, b) for kind in ("init_failed", "diverged")]

    def figures(self) -> dict[str, Drawing]:
        state = "still ordered" if self.direction.rising else "not recovered"
        caption = f"{self.name}: thresholds, share {state}, error against λ and against epoch"
        return {f"{self.prefix}_analysis": Drawing(caption, self._analysis)}

    def _analysis(self, records: Records) -> Figure:
        from dglib.experiments.spinodal.figures import draw_spinodal

        return draw_spinodal(self.direction, records)

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        sweeps = {sweep.key: sweep for sweep in self.sweeps}
        return [
            (s.key, s.curve, sweeps[s.key].evaluations(record))
            for s in summaries.sweeps_of(self.name, record)
        ]

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
                spread=summary["lambda_up_centres"],
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
            known = {"events": group["events"], "spread": group["centres"]}
            if not group["n"] and (measured or state != "collapsed"):
                continue
            rows.append(Row.of_median("λ↓", group["n"], group["lambda_down"], start=state, **known))
            rows.append(Row.of_share("share recovered", group["event_share"], start=state))
            if group["drift"]:
                rows.append(Row.of_mean("drift within a level", group["drift"], start=state))
            rows += _fitted("λ↓", group, state)
        return rows

    def spec(self, p: Any) -> ExperimentSpec:
        event = StopEvent(Criterion("<=", p.recovery_error), p.consecutive, "lambda_down", "recovered")
        return _spec(p, self.name, Criterion(">=", p.init_error_min), event)


def _fitted(symbol: str, summary: Summary, start: str) -> list[Row]:
    """The logistic distribution of thresholds, where there are seeds enough."""
    if summary["fit"] is None or not summary["events"]:  # without an event it repeats the bound
        return []
    n, scale = summary["fit"]["n"], summary["fit"]["scale"]
    centre = Row.of_fit(f"{symbol}, logistic centre", n, summary["fit"]["centre"], start=start)
    return [centre, Row.of_fit(f"{symbol}, logistic scale", n, scale, start=start)]


def _start(seed: Summary) -> str:
    return f"{seed['start'] or wording.NONE}{', left' if seed['left_trap'] else ''}"


register(T1())
register(T2())
register_joint(Width())
