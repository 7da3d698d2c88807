"""V3: whether another architecture has two branches over the same λ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dglib.analysis import wording
from dglib.analysis.answer import Row
from dglib.analysis.curves import Curve
from dglib.analysis.differences import Difference, field_row, only
from dglib.analysis.fields import Entry, Record, Records, entries
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.summary import Summary
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, Sweep, rate, shared
from dglib.experiments.branches import summary as summaries
from dglib.experiments.branches.summary import BRANCHES, STARTS, start_state
from dglib.experiments.parameters import Count, Fraction, Milestones, Positive, SweepParameters, Upward
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, LearningRate, Phase, Success

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class V3Parameters(SweepParameters):
    """Two branches: an ordered network under rising λ, a collapsed one under falling λ."""

    in_cell: ClassVar[dict[str, str]] = {
        "From scratch": "ordered_lambda ordered_epochs collapse_lambda collapse_epochs",
        "Sweep": "sweep_lambdas",
        "Comparison": "gap_lambda gap_error",
    }

    ordered_lambda: Fraction
    """λ at which the ordered network is trained, 0 to 1."""
    ordered_epochs: Count
    """Epochs at ordered_lambda, from 1."""
    ordered_milestones: Milestones
    """Epochs completed when the ordered network's LR drops by lr_decay, rising, from 1; [] for never."""
    ordered_error_max: Fraction = 0.25
    """The network is ordered below this error, 0 to 1."""
    collapse_lambda: Fraction
    """λ at which the collapsed network is trained, 0 to 1."""
    collapse_epochs: Count
    """Epochs at collapse_lambda, from 1."""
    collapse_milestones: Milestones
    """Epochs completed when the collapsed network's LR drops by lr_decay, rising, from 1; [] for never."""
    collapse_error_min: Fraction = 0.45
    """The network is collapsed at this error or above, 0 to 1."""
    sweep_lambdas: Upward
    """Levels of λ, rising, 0 to 1, at least one; the collapse branch takes them backwards."""
    sweep_lr_factor: Positive = 0.01
    """LR of the sweep as a multiple of lr where sweep_lr is null, above 0."""
    gap_lambda: Fraction = 0.50
    """λ at which the branches are compared, 0 to 1."""
    gap_error: Fraction = 0.10
    """The branches are two if their errors differ by more than this, 0 to 1."""


class V3(Experiment):
    name = "V3"
    notebook = "V3_vgg11"
    line = "two branches, λ raised and lowered"
    title = "Whether another architecture has two branches"
    question = "Is the error at one λ different for networks that come from order and from collapse?"
    counts = "The gap between the branches at one λ, with an interval that lies above the limit."
    in_default_run = True
    parameters = V3Parameters
    reading = frozenset({"gap_lambda", "gap_error"})
    quantities: Mapping[str, str] = {"gap": "gap"}
    compared: Mapping[str, str] = {
        "ordered_init": "ordered init error",
    }
    measure = Measure(
        "gap",
        {
            "one_branch": "one branch",
            "two_branches": "two branches",
            "frozen": "frozen",
            TRAPPED: "trapped",
            "no_gap": "gap not measured",
            DIVERGED: "diverged",
        },
        field="gap",
        in_unit_interval=True,
        unusual=("no_gap",),
        glyphs={"no_gap": wording.NONE},
    )
    sweeps = (
        Sweep(
            "V3-ordered", "V3, ordered branch", "ordered_trajectory", True, "ordered",
            alternate_look="ordered pale",
        ),
        Sweep(
            "V3-collapse", "V3, collapse branch", "collapse_trajectory", False, "collapsed",
            alternate_look="collapsed pale",
        ),
        Sweep("V3-trapped", "V3, began trapped", "collapse_trajectory", False, "trapped"),
    )  # fmt: skip

    def spec(self, p: Any) -> ExperimentSpec:
        sweep_rate = LearningRate(p.lr * p.sweep_lr_factor if p.sweep_lr is None else p.sweep_lr)

        def arm(
            name: str, lam: float, epochs: int, milestones: list[int], test: Criterion, offset: int
        ) -> Arm:
            levels = tuple(p.sweep_lambdas) if name == "ordered" else tuple(reversed(p.sweep_lambdas))
            success = Success(test, f"{name}_init", f"{name}_init_success")
            init = Phase(
                "init", (lam,), epochs, rate(p, milestones), p.init_evaluate_every,
                trajectory=f"{name}_init_trajectory", seed_offset=offset, success=success,
            )  # fmt: skip
            sweep = Phase(
                "sweep", levels, p.epochs_per_level, sweep_rate, p.epochs_per_level,
                trajectory=f"{name}_trajectory", restart=True,
            )  # fmt: skip
            return Arm(name, (init, sweep))

        ordered = Criterion("<", p.ordered_error_max)
        collapsed = Criterion(">=", p.collapse_error_min)
        return ExperimentSpec(
            name="V3",
            prefix="V3",
            directory_prefix="exp_V3_vgg11",
            experiment_id="V3-s{seed}",
            arms=(
                arm("ordered", p.ordered_lambda, p.ordered_epochs, p.ordered_milestones, ordered, 0),
                arm("collapse", p.collapse_lambda, p.collapse_epochs, p.collapse_milestones, collapsed, 100),
            ),
            outcome_without_event="complete",
            constants={
                "arch": "VGG11-BN" if p.network == "vgg11_bn" else p.network,
                "epochs_per_level": p.epochs_per_level,
                "lr": p.lr,
                "sweep_lr": sweep_rate.base,
            },
            **shared(p),
        )

    def summarise(self, records: Records) -> dict[str, Any]:
        return summaries.summarise_branches(records)

    def rows(self, summary: Summary) -> list[Row]:
        rows, name = [], f"gap at λ = {wording.level(summary['gap_lambda'])}"
        for state in STARTS:
            group = summary["by_start"][state]
            more = {"two branches": summary["two_branches"]} if state == "collapsed" else {}
            if group["n"] or state == "collapsed":
                rows.append(
                    Row.of_mean(name, group["gap_mean"], start=state, events=group["above_limit"], more=more)
                )
        return rows + [
            Row.of_mean(
                f"final error, {end['branch']} branch, λ = {wording.level(end['lambda'])}",
                end["error"],
                p=False,
                start=end["start"],
            )
            for end in summary["final_errors"]
        ]

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        return {
            "Seed": wording.seed,
            "Ordered init error": lambda seed: wording.error(seed["ordered_init"]),
            "Collapse init error": lambda seed: wording.error(seed["collapse_init"]),
            "Outcome": lambda seed: wording.outcome(seed["outcome"]),
            f"Gap at λ = {wording.level(summary['gap_lambda'])}": lambda seed: wording.error(seed["gap"]),
            "Collapse branch began": lambda seed: seed["start"] or wording.NONE,
        }

    def compare(self, a: Summary, b: Summary) -> list[Difference]:
        """The gap and the collapse branch's init by the state in which that branch began: two states."""
        rows, at = [], wording.level(a["gap_lambda"])
        for state in STARTS:
            sides = [only(side, start=state) for side in (a, b)]
            if any(side["seeds"] for side in sides):
                rows.append(field_row(f"gap at λ = {at}, start {state}", "gap", *sides))
                rows.append(field_row(f"collapse init error, start {state}", "collapse_init", *sides))
        return [*rows, *super().compare(a, b)]

    def figures(self) -> dict[str, Drawing]:
        caption = "V3: error on both branches against λ, and the gap between them"
        return {"V3_hysteresis": Drawing(caption, self._branches)}

    def _branches(self, records: Records) -> Figure:
        from dglib.experiments.branches.figures import draw_branches

        return draw_branches(records)

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        """Both branches of a complete seed; a collapse branch that began trapped is apart."""
        state = start_state(record)
        found: list[tuple[str, Curve, Sequence[Entry]]] = []
        for name in BRANCHES if state in ("collapsed", "trapped") else ():
            key = "V3-trapped" if name == "collapse" and state == "trapped" else f"V3-{name}"
            curve = Curve(summaries.branch(record, name))
            found.append((key, curve, entries(record, f"{name}_trajectory")))
        return found

    def arms(self, record: Record) -> list[list[Any]]:
        fields = [(f"{name}_init_trajectory", f"{name}_trajectory") for name in BRANCHES]
        return [[entry for field in pair for entry in record.get(field) or ()] for pair in fields]

    def trajectories(self) -> dict[str, tuple[str, str]]:
        inits = {f"{name}_init_trajectory": (name, "init") for name in BRANCHES}
        return {**inits, **{f"{name}_trajectory": (name, "sweep") for name in BRANCHES}}


register(V3())
