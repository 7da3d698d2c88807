"""Tδ1: what marks, early, the seeds that end trapped at chance level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from dglib.analysis import wording
from dglib.analysis.diagnostics import End, end_of
from dglib.analysis.differences import Row, field_row, outcome_row
from dglib.analysis.fields import Record, Records
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.summary import Summary
from dglib.analysis.wording import Words
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, rate, shared
from dglib.experiments.parameters import Count, CountOrZero, Epochs, Field, Flag, Fraction, Number, OneState
from dglib.experiments.trapping.summary import (
    CLASS_NAMES,
    ORDERED,
    PARTIAL,
    category,
    summarise_trapping,
)
from dglib.experiments.trapping.words import dwell_text, paragraphs, trapping_words
from dglib.protocol.spec import Arm, ExperimentSpec, Phase

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    end_head = "Class"
    more = "The early signs, at more length"
    limitation = (
        "An early sign is an association over the seeds of one setting. It does not show its cause, and"
        " only new seeds can confirm what a search over epochs suggests."
    )

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

    def words(self, summary: Summary) -> Words:
        return trapping_words(summary)

    def dwell_text(self, summary: Summary) -> str:
        return dwell_text(summary)

    def paragraphs(self, summary: Summary) -> list[str]:
        return paragraphs(summary["signs"]) if summary["n"] else []

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

    def compare(self, a: Summary, b: Summary) -> list[Row]:
        rows = [outcome_row(name, kind, a, b) for kind, name in CLASS_NAMES.items()]
        early = f"mean c_sv, epochs 0 to {a['early']['last_epoch']}"
        compared = {**self.compared, "early_c_sv": early}
        return rows + [field_row(name, field, a, b) for field, name in compared.items()]

    def figures(self) -> dict[str, Drawing]:
        return {
            "Td1_analysis": Drawing(
                "Tδ1: test error and step logs by the class in which a seed ended", self._classes
            ),
            "Td1_early_signs": Drawing(
                "Tδ1: (a) early cosine and final error by seed; (b) the planned tests; (c) all epochs,"
                " exploratory. Areas under the ROC curve: ½ is a coin, 0 and 1 separate fully",
                self._signs,
            ),
        }

    def _classes(self, records: Records) -> Figure:
        from dglib.experiments.trapping.figures import draw_trapping

        return draw_trapping(records)

    def _signs(self, records: Records) -> Figure:
        from dglib.experiments.trapping.figures import draw_signs

        return draw_signs(records)

    def ends(self, record: Record) -> list[End]:
        name = category(record)
        return end_of(record, "error_trajectory", "main", CLASS_NAMES.get(name, name))

    def draw_ends(self, records: Records) -> tuple[str, Figure] | None:
        from dglib.experiments.trapping.figures import draw_ends

        caption = (
            "Tδ1: share of dead channels and entropy of predicted classes, seeds thin and class means thick"
        )
        return caption, draw_ends(records)

    def trajectories(self) -> dict[str, tuple[str, str]]:
        return {"error_trajectory": ("main", "init")}


register(Td1())
