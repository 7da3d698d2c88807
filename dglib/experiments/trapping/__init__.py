"""Tδ1: what marks, early, the seeds that end trapped at chance level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dglib.experiments.base import Drawing, Experiment, Summary
from dglib.experiments.registry import register
from dglib.experiments.trapping import parameters, protocol
from dglib.protocol.spec import ExperimentSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dglib.analysis.diagnostics import End
    from dglib.analysis.differences import Row
    from dglib.analysis.fields import Record, Records
    from dglib.analysis.phase_diagram import Measure
    from dglib.analysis.style import Look


class Td1(Experiment):
    name = "Td1"
    symbol = "Tδ1"
    notebook = "Td1_trapping"
    line = "λ held, from scratch"
    title = "What marks, early, the seeds that end trapped"
    question = "Do gradients early in training tell the seeds that will end trapped at chance level?"
    counts = (
        "A quantity that separates trapped from partial seeds, after correction for all that were"
        " tested, and better than the test error does by then."
    )
    grid_question = (
        "Where does training at one λ end: ordered, in partial collapse, or trapped at chance level?"
    )
    in_default_run = True
    parameters = parameters.Td1Parameters
    reading = frozenset({"compare_epochs", "early_epochs", "early_difference"})
    end_head = "Class"
    limitation = (
        "An early sign is an association over the seeds of one setting. It says nothing of its cause, and"
        " only new seeds can confirm what a search over epochs suggests."
    )

    def spec(self, p: Any) -> ExperimentSpec:
        return protocol.td1(p)

    def summarise(self, records: Records) -> dict[str, Any]:
        from dglib.analysis.dwell import dwell
        from dglib.experiments.trapping.classes import summarise_trapping
        from dglib.experiments.trapping.signs import summarise_signs

        return {**summarise_trapping(records), "signs": summarise_signs(records), "dwell": dwell(records)}

    def answer_of(self, records: Records, summary: Summary) -> str:
        from dglib.experiments.trapping.wording import dwell_sentence, trapping_answer

        return f"{trapping_answer(summary)} {dwell_sentence(records, summary['dwell'])}"

    def headline(self, words: str, summary: Summary) -> str:
        from dglib.experiments.trapping.signs_wording import sentence

        first, *others = words.split(". ")  # without the comparison of means
        return " ".join([f"{first}.", sentence(summary["signs"]), others[-1]]) if others else words

    def cell_answer(self, words: str) -> str:
        first, *_, last = words.split(". ")  # without the early signs
        return f"{first}. {last}"

    def paragraphs(self, summary: Summary) -> list[str]:
        from dglib.experiments.trapping.signs_wording import paragraphs

        return paragraphs(summary["signs"]) if summary["n"] else []

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
        from dglib.experiments.trapping.plot import draw_trapping

        return draw_trapping(records)

    def _signs(self, records: Records) -> Figure:
        from dglib.experiments.trapping.plot_signs import draw_signs

        return draw_signs(records)

    def seed_table(self, records: Records, summary: Summary) -> tuple[list[str], list[list[str]]]:
        from dglib.experiments.trapping.tables import seed_table

        return seed_table(records, summary)

    def columns(self, record: Record, limits: Mapping[str, float]) -> dict[str, Any]:
        from dglib.experiments.trapping.tables import columns

        return columns(record, limits)

    def values(self, records: Records) -> dict[str, Any]:
        from dglib.experiments.trapping.values import class_values

        return class_values(records)

    def compare(self, a: Records, b: Records) -> list[Row]:
        from dglib.experiments.trapping.tables import rows

        return rows((a, self.summarise(a)), (b, self.summarise(b)))

    @property
    def measure(self) -> Measure:
        from dglib.experiments.trapping.values import MEASURE

        return MEASURE

    def ends(self, record: Record) -> list[End]:
        from dglib.analysis.diagnostics import end_of
        from dglib.experiments.trapping.classes import CLASS_NAMES, category

        name = category(record)
        return end_of(record, "error_trajectory", "main", CLASS_NAMES.get(name, name))

    def draw_ends(self, records: Records) -> tuple[str, Figure] | None:
        from dglib.experiments.trapping.plot_ends import draw_diagnostics

        caption = (
            "Tδ1: share of dead channels and entropy of predicted classes, seeds thin and class means thick"
        )
        return caption, draw_diagnostics(records)

    def dwell_text(self, records: Records) -> str:
        from dglib.analysis.dwell import dwell
        from dglib.experiments.trapping.wording import dwell_sentence

        words = dwell_sentence(records, dwell(records)) if records else ""
        return words.removeprefix("Dwell time: ").rstrip(".")

    def held(self, record: Record) -> tuple[str, Look] | None:
        from dglib.experiments.trapping.classes import CLASS_NAMES, category
        from dglib.experiments.trapping.plot import CLASS_LOOKS

        name = category(record)
        return CLASS_NAMES.get(name, name), CLASS_LOOKS[name]

    def trajectories(self) -> dict[str, tuple[str, str]]:
        return {"error_trajectory": ("main", "init")}


register(Td1())
