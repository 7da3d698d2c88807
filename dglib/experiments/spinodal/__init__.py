"""T1 and T2: the λ at which an ordered network collapses, and that at which a collapsed one recovers.

T1 raises λ, T2 lowers it; the hysteresis width is the difference of their thresholds, by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dglib.analysis.thresholds import DOWN, UP, Direction
from dglib.experiments.base import Drawing, Experiment, Summary, Sweep
from dglib.experiments.joint import EventSweep, Joint
from dglib.experiments.registry import register, register_joint
from dglib.experiments.spinodal import parameters, protocol
from dglib.protocol.spec import ExperimentSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dglib.analysis.curves import Curve
    from dglib.analysis.diagnostics import End
    from dglib.analysis.differences import Row
    from dglib.analysis.fields import Entry, Record, Records
    from dglib.analysis.phase_diagram import Measure


class Spinodal(Experiment):
    """A sweep that an event ends."""

    in_default_run = True
    partners = ("T1", "T2")

    direction: Direction

    def summarise(self, records: Records) -> dict[str, Any]:
        from dglib.analysis.dwell import dwell
        from dglib.analysis.loops import summarise_loops
        from dglib.analysis.threshold_summary import summarise_thresholds

        summary = {"experiment": self.name, **summarise_thresholds(self.direction, records)}
        if self.direction.rising:
            summary["loop"] = summarise_loops(records)
        return {**summary, "dwell": dwell(records)}

    def answer_of(self, records: Records, summary: Summary) -> str:
        from dglib.experiments.spinodal.wording import threshold_answer

        return threshold_answer(self.name, self.direction, summary)

    def figures(self) -> dict[str, Drawing]:
        state = "still ordered" if self.direction.rising else "not recovered"
        caption = f"{self.name}: thresholds, share {state}, error against λ and against epoch"
        return {f"{self.prefix}_analysis": Drawing(caption, self._analysis)}

    def _analysis(self, records: Records) -> Figure:
        from dglib.experiments.spinodal.plot import draw_spinodal

        return draw_spinodal(self.direction, records)

    def seed_table(self, records: Records, summary: Summary) -> tuple[list[str], list[list[str]]]:
        from dglib.experiments.spinodal.tables import seed_table

        return seed_table(self.direction, records, summary)

    def columns(self, record: Record, limits: Mapping[str, float]) -> dict[str, Any]:
        from dglib.experiments.spinodal.tables import columns

        return columns(self.direction, record, limits)

    def values(self, records: Records) -> dict[str, Any]:
        from dglib.experiments.spinodal.values import sweep_values

        return sweep_values(self.direction, records)

    def compare(self, a: Records, b: Records) -> list[Row]:
        from dglib.experiments.spinodal.compare import rows

        return rows(self.direction, (a, self.summarise(a)), (b, self.summarise(b)))

    @property
    def measure(self) -> Measure:
        from dglib.experiments.spinodal.values import measure

        return measure(self.direction)

    def ends(self, record: Record) -> list[End]:
        from dglib.analysis.diagnostics import end_of
        from dglib.analysis.states import final_state
        from dglib.analysis.thresholds import limits

        if record.get("init_success") is False:
            name = "init failed"
        else:
            name = final_state(record, *limits([record])) or "unfinished"
        return end_of(record, "trajectory", "main", name)

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        from dglib.experiments.general import swept
        from dglib.experiments.spinodal.passes import t1_passes, t2_passes

        sweeps = {sweep.title: sweep for sweep in self.sweeps}
        passes = t1_passes(record) if self.direction.rising else t2_passes(record)
        return [(sweeps[p.branch].key, p.curve, swept(sweeps[p.branch], record)) for p in passes]

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
    counts = "λ↑ per seed: the threshold lies between two levels of the sweep, or beyond its last one."
    parameters = parameters.T1Parameters
    quantities: Mapping[str, str] = {"lambda_up": "λ↑"}
    sweeps = (
        Sweep("T1-up", "T1, λ raised", "trajectory", True, "ordered", "sweep", "λ↑"),
        Sweep("T1-back", "T1, swept back", "return_trajectory", False, "collapsed", None, "λ↓ back"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        return protocol.t1(p)

    def headline(self, words: str, summary: Summary) -> str:
        first, *others = words.split(". ")  # without the way back
        return " ".join([f"{first}.", others[-1]]) if others else words


class T2(Spinodal):
    name = "T2"
    prefix = "T2-spinodal"
    notebook = "T2_spinodal"
    line = "collapsed networks, λ lowered"
    direction = DOWN
    title = "Where a collapsed network recovers"
    question = "At which λ does a collapsed network recover when λ is lowered step by step?"
    counts = "λ↓ per seed: the threshold lies between two levels of the sweep, or beyond its last one."
    parameters = parameters.T2Parameters
    quantities: Mapping[str, str] = {"lambda_down": "λ↓"}
    sweeps = (
        Sweep("T2-down", "T2, λ lowered", "trajectory", False, "lowered", "sweep", "λ↓ T2"),
        Sweep("T2-trapped", "T2, trapped", "trajectory", False, "trapped", "sweep", "λ↓ trapped"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        return protocol.t2(p)


class Width(Joint):
    """The hysteresis width λ↑ − λ↓ of T1 and T2."""

    key = "hysteresis"
    quantity = "width"
    title = "Hysteresis width"
    symbol = "width λ↑ − λ↓"
    experiments = ("T1", "T2")
    caption = "Error against λ on the way up and down, and where each seed's thresholds lie"
    limitation = (
        "λ↑ is read where the error rises past one limit and λ↓ where it falls below a lower one, so even"
        " a path retraced exactly would have a width. What counts as memory is a different error at the"
        " same λ."
    )

    event_sweeps = (
        EventSweep(
            "T1", "lambda-up", "T1-up", "T1-up", "T1, λ raised", "λ↑", "T1, λ raised to", "have collapsed",
        ),
        EventSweep(
            "T1", "lambda-down", "T1-up", "T1-back", "T1, swept back", "λ↓", "T1, swept back to",
            "have recovered", "T1’s own way back",
        ),
        EventSweep(
            "T2", "lambda-down", "T2-down", "T2-down", "T2, λ lowered", "λ↓", "T2, λ lowered to",
            "have recovered", "T1 and T2, by seed",
        ),
        EventSweep(
            "T2", "lambda-down", "T2-trapped", "T2-trapped", "T2, trapped", "λ↓",
            "T2, began trapped, λ lowered to", "have recovered",
            "T1 and T2 where it began trapped, by seed",
        ),
    )  # fmt: skip

    def answer(self, *records: Records) -> str:
        from dglib.experiments.spinodal.wording import width_sentences

        return width_sentences(self.summarise(*records))

    def summarise(self, *records: Records) -> dict[str, Any]:
        from dglib.analysis.dwell import dwell
        from dglib.experiments.spinodal.widths import summarise_width

        dwells = {name: dwell(mine) for name, mine in zip(self.experiments, records, strict=True)}
        return {**summarise_width(*records), "dwell": dwells}

    def draw(self, *records: Records) -> Figure:
        from dglib.experiments.spinodal.plot_loop import draw_loop

        return draw_loop(*records)

    def values(self, *records: Records) -> dict[str, Any]:
        from dglib.experiments.spinodal.values import hysteresis_values

        return hysteresis_values(*records)

    def nothing(self) -> dict[str, Any]:
        return dict.fromkeys(("width", "in_every_seed", "above_zero", "by_start"))

    def compare(self, a: Sequence[Records], b: Sequence[Records]) -> list[Row]:
        from dglib.experiments.spinodal.compare import width_rows

        return width_rows(self.summarise(*a), self.summarise(*b))

    def lag_differs(self, *records: Records) -> list[str] | None:
        from dglib.experiments.spinodal.lag import summarise_lag

        t1, t2 = records
        found = summarise_lag(t1, t2)
        return found["differing"] if len(found["settings"]) > 1 else None

    def lag_answer(self, *records: Records, others: Records = ()) -> str:
        from dglib.experiments.spinodal.lag import summarise_lag
        from dglib.experiments.spinodal.wording import lag_sentences

        t1, t2 = records
        return lag_sentences(summarise_lag(t1, t2, others))

    def draw_lag(self, *records: Records, others: Records = ()) -> Figure:
        from dglib.experiments.spinodal.plot_dwell import draw_lag

        t1, t2 = records
        return draw_lag(t1, t2, others)


register(T1())
register(T2())
register_joint(Width())
