"""Tδ1: what marks, early, the seeds that end trapped at chance level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dglib.analysis import wording
from dglib.analysis.answer import Row
from dglib.analysis.differences import Difference, field_row, only, outcome_row
from dglib.analysis.fields import Records
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.summary import Summary
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, rate, shared
from dglib.experiments.parameters import Count, CountOrZero, Epochs, Field, Flag, Fraction, Number, OneState
from dglib.experiments.trapping.summary import (
    CLASS_NAMES,
    CLASSES,
    ORDERED,
    PARTIAL,
    summarise_trapping,
)
from dglib.protocol.spec import Arm, ExperimentSpec, Phase

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_NAMES = {"c_sv": "c_sv", "c_mc": "c_mc", "norm_s": "‖g_s‖", "loss_v": "clean loss"}


class Td1Parameters(OneState):
    """Tδ1: one λ held, the two gradients logged until each seed's end."""

    in_cell: ClassVar[dict[str, str]] = {
        "From scratch": "milestones evaluate_every log_every",
        "Classes by final error": "trapped_error partial_error",
    }

    log_every: Count
    """Steps from one log of the gradients to the next, from 1."""
    two_pass_statistics: Flag
    """Whether BatchNorm's running statistics move as by two passes on every step: true or false."""
    trapped_error: Fraction = 0.85
    """A seed is trapped at this final error or above, 0 to 1."""
    partial_error: Fraction = 0.40
    """Below that, a seed is a partial collapse at this final error or above, 0 to 1."""
    compare_epochs: Epochs = Field([5, 10, 20])
    """Epochs, counted from 0, rising, at which the classes are compared, at least one."""
    early_epochs: CountOrZero = 10
    """Last epoch, counted from 0, of the early comparison."""
    early_difference: Annotated[Number, Field(ge=0)] = 0.05
    """The classes diverge early if their mean c_sv up to there differs by more than this, from 0."""


class Td1(Experiment):
    name = "Td1"
    symbol = "Tδ1"
    notebook = "Td1_trapping"
    line = "λ held, from scratch"
    title = "What marks, early, the seeds that end trapped"
    question = "Do gradients early in training mark the seeds that will end trapped at chance level?"
    counts = (
        "A quantity that separates trapped from partial seeds, after correction for all that were"
        " tested, and better than the test error does by then."
    )
    grid_question = (
        "Where does training at one λ end: ordered, in partial collapse, or trapped at chance level?"
    )
    in_default_run = True
    parameters = Td1Parameters
    reading = frozenset({"compare_epochs", "early_epochs", "early_difference"})
    compared: Mapping[str, str] = {"final_error": "final error"}
    measure = Measure(
        "final error",
        {ORDERED: "ordered", PARTIAL: "partial collapse", TRAPPED: "trapped", DIVERGED: "diverged"},
        field="final_error",
        in_unit_interval=True,
        has_init=False,
    )
    limitation = "An early sign is an association over the seeds of one setting. It does not show its cause."

    def spec(self, p: Any) -> ExperimentSpec:
        train = Phase(
            "init", (p.init_lambda,), p.init_epochs, rate(p, p.milestones), p.evaluate_every,
            trajectory="error_trajectory", final="",
        )  # fmt: skip
        return ExperimentSpec(
            name="Td1",
            prefix="Td1",
            directory_prefix="exp_Td1_90_analysis",
            experiment_id="Td1-seed{seed:02d}",
            arms=(Arm("main", (train,)),),
            final_classes=((TRAPPED, p.trapped_error), (PARTIAL, p.partial_error), (ORDERED, 0.0)),
            constants={
                "lambda": p.init_lambda,
                "epochs_per_level": p.init_epochs,
                "lr": p.lr,
                "sweep_lr": None,
            },
            **shared(p, two_pass_statistics=p.two_pass_statistics, log_every=p.log_every),
        )

    def summarise(self, records: Records) -> dict[str, Any]:
        return summarise_trapping(records)

    def rows(self, summary: Summary) -> list[Row]:
        shares, signs = summary["shares"], summary["signs"]
        rows = [Row.of_share(f"share {CLASS_NAMES[name]}", shares[name]) for name in CLASSES]
        early = summary["early"]["early_divergence"]
        heading = (
            f"Early means of {signs['trapped']} trapped and {signs['partial']} partial seeds; value: trapped"
            f" less partial; p: exact, corrected for {signs['family']['planned']} tests"
        )
        for test in signs["family"]["tests"] if signs["trapped"] or signs["partial"] else ():
            first, last = test["first_epoch"], test["last_epoch"]
            when = f"epoch {last}" if first == last else f"epochs {first} to {last}"
            more = {name: test[name] for name in ("trapped", "partial")} | {"AUC": test["auc"]}
            more |= {"AUC of error": test["error_auc"], "p": test["p_corrected"]}
            if first != last and early is not None:
                more["early divergence"] = "yes" if early else "no"
            rows.append(
                Row(
                    f"{_NAMES[test['quantity']]}, {when}",
                    signs["trapped"] + signs["partial"],
                    value=test["difference"],
                    ci95=test["difference_ci95"],
                    more=more,
                    table=heading,
                )
            )
        return rows

    def dwell_text(self, summary: Summary) -> str:
        """There is one level: the dwell time is the whole training."""
        levels = wording.listing([wording.level(level) for level in summary["levels"]])
        epochs = wording.listing([str(epochs) for epochs in summary["epochs"]], "or") or "unknown"
        at = f" at λ = {levels}" if levels else ""
        return f"{epochs} epochs{at}, LR {wording.rates(summary['dwell']['lr'])}"

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        return {
            "Seed": wording.seed,
            "Outcome": lambda seed: wording.outcome(seed["outcome"], CLASS_NAMES),
            "Final error": lambda seed: wording.error(seed["final_error"]),
            "Outcome settled from epoch": lambda seed: (
                wording.NONE if seed["settled"] is None else str(seed["settled"])
            ),
            f"Mean c_sv, epochs 0 to {summary['early']['last_epoch']}": (
                lambda seed: wording.error(seed["early_c_sv"])
            ),
        }

    def compare(self, a: Summary, b: Summary) -> list[Difference]:
        rows = [outcome_row(name, kind, a, b) for kind, name in CLASS_NAMES.items()]
        early = f"mean c_sv, epochs 0 to {a['early']['last_epoch']}"
        compared = {**self.compared, "early_c_sv": early}
        for kind, word in CLASS_NAMES.items():  # a mean over classes depends on how many there are of each
            sides = [only(side, outcome=kind) for side in (a, b)]
            if kind in CLASSES and any(side["seeds"] for side in sides):
                rows += [
                    field_row(f"{name}, {word} seeds", field, *sides) for field, name in compared.items()
                ]
        return rows

    def figures(self) -> dict[str, Drawing]:
        return {
            "Td1_analysis": Drawing(
                "Tδ1: test error and step logs by the class in which a seed ended", self._classes
            )
        }

    def _classes(self, records: Records) -> Figure:
        from dglib.experiments.trapping.figures import draw_trapping

        return draw_trapping(records)

    def trajectories(self) -> dict[str, tuple[str, str]]:
        return {"error_trajectory": ("main", "init")}


register(Td1())
