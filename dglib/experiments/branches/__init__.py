"""V3: whether another architecture has two branches over the same λ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dglib.experiments.base import Drawing, Experiment, Summary, Sweep
from dglib.experiments.branches import parameters, protocol
from dglib.experiments.registry import register
from dglib.protocol.spec import ExperimentSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dglib.analysis.curves import Curve
    from dglib.analysis.diagnostics import End
    from dglib.analysis.differences import Row
    from dglib.analysis.fields import Entry, Record, Records
    from dglib.analysis.phase_diagram import Measure


class V3(Experiment):
    name = "V3"
    notebook = "V3_vgg11"
    line = "two branches, λ raised and lowered"
    title = "Whether another architecture has two branches"
    question = "Is the error at one λ different for networks that come from order and from collapse?"
    counts = "The gap between the branches at one λ, with an interval that lies above the limit."
    in_default_run = True
    parameters = parameters.V3Parameters
    reading = frozenset({"gap_lambda", "gap_error"})
    quantities: Mapping[str, str] = {"gap": "gap"}
    end_head = "Branch"
    end_unit = "branch"
    sweeps = (
        Sweep(
            "V3-ordered",
            "V3, ordered branch",
            "ordered_trajectory",
            True,
            "ordered",
            look_beside="ordered beside",
        ),
        Sweep(
            "V3-collapse",
            "V3, collapse branch",
            "collapse_trajectory",
            False,
            "collapsed",
            look_beside="collapsed beside",
        ),
        Sweep("V3-trapped", "V3, began trapped", "collapse_trajectory", False, "trapped"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        return protocol.v3(p)

    def summarise(self, records: Records) -> dict[str, Any]:
        from dglib.analysis.dwell import dwell
        from dglib.experiments.branches.gaps import summarise_branches

        return {**summarise_branches(records), "dwell": dwell(records)}

    def answer_of(self, records: Records, summary: Summary) -> str:
        from dglib.analysis import wording
        from dglib.experiments.branches.wording import branches_answer

        return f"{branches_answer(summary)} {wording.dwell(summary['dwell'])}"

    def figures(self) -> dict[str, Drawing]:
        caption = "V3: error on both branches against λ, and the gap between them"
        return {"V3_hysteresis": Drawing(caption, self._branches)}

    def _branches(self, records: Records) -> Figure:
        from dglib.experiments.branches.plot import draw_branches

        return draw_branches(records)

    def seed_table(self, records: Records, summary: Summary) -> tuple[list[str], list[list[str]]]:
        from dglib.experiments.branches.tables import seed_table

        return seed_table(summary)

    def columns(self, record: Record, limits: Mapping[str, float]) -> dict[str, Any]:
        from dglib.experiments.branches.tables import columns

        return columns(record)

    def values(self, records: Records) -> dict[str, Any]:
        from dglib.experiments.branches.values import branch_values

        return branch_values(records)

    def lines(self, found: Summary) -> list[str]:
        from dglib.experiments.branches.tables import lines

        return lines(found)

    def compare(self, a: Records, b: Records) -> list[Row]:
        from dglib.analysis.differences import time_row
        from dglib.experiments.branches.tables import rows

        return [*rows(self.summarise(a), self.summarise(b)), time_row(a, b)]

    @property
    def measure(self) -> Measure:
        from dglib.experiments.branches.values import MEASURE

        return MEASURE

    def ends(self, record: Record) -> list[End]:
        from dglib.experiments.branches.gaps import ends

        return ends(record)

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        from dglib.experiments.branches.gaps import traces

        return traces(record)

    def arms(self, record: Record) -> list[list[Any]]:
        from dglib.experiments.branches.gaps import BRANCHES

        fields = [(f"{name}_init_trajectory", f"{name}_trajectory") for name in BRANCHES]
        return [[entry for field in pair for entry in record.get(field) or ()] for pair in fields]

    def trajectories(self) -> dict[str, tuple[str, str]]:
        from dglib.experiments.branches.gaps import BRANCHES

        inits = {f"{name}_init_trajectory": (name, "init") for name in BRANCHES}
        return {**inits, **{f"{name}_trajectory": (name, "sweep") for name in BRANCHES}}


register(V3())
