"""What an experiment is: a subclass of `Experiment`, registered by `register(MyExperiment())`.

Its parameters, its protocol and its words are enough: summary, answer, figures, tables and the grid's measure
have general forms, which it may replace. `loop.py` is the shortest example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dglib.protocol.spec import ExperimentSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dglib.analysis.curves import Curve
    from dglib.analysis.diagnostics import End
    from dglib.analysis.differences import Row
    from dglib.analysis.fields import Entry, Record, Records
    from dglib.analysis.phase_diagram import Measure
    from dglib.analysis.style import Look
    from dglib.analysis.thresholds import Direction
    from dglib.experiments.parameters import Parameters

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """Levels of λ that a network visits one after the other, as records and pictures have them.

    Attributes:
        key: in plain letters, another for each sweep of all experiments.
        title: in a legend.
        trajectory: the field of the record that holds its evaluations.
        rising: the direction of λ.
        look: name in `dglib.analysis.style.LOOKS`.
        phase: of the entries that count; None: all of the field.
        short: of rows in a panel of thresholds; empty where the sweep has none.
        look_beside: as `look`, where sweeps that an event ends are drawn as well; default: `look`.
    """

    key: str
    title: str
    trajectory: str
    rising: bool
    look: str = "ordered"
    phase: str | None = None
    short: str = ""
    look_beside: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure by what it shows: a caption, and a function of the records."""

    caption: str
    draw: Callable[[Records], Figure]


class Experiment:
    """One experiment. Subclasses set the attributes, define `spec`, and replace what is special to them.

    Attributes:
        name: short, in plain letters: `T1`.
        symbol: the name in texts and figures; default: the name.
        prefix: of its results' files and of its seeds' files; default: the name.
        title, question, counts: for pages: a heading, what is asked, what counts as an answer.
        grid_question: what is asked of the cells of a grid; default: the question.
        parameters: the pydantic model of its parameters.
        reading: those of its parameters that say how records are read, and change no training.
        notebook: file name of its notebook, without suffix; default: the name. One is made where none lies.
        in_default_run: whether `run_all.py` runs it without being asked for it by name.
        partners: experiments whose seeds its notebook reads as well.
        sweeps: the sweeps of λ; empty where λ is held.
        line: what stands beside the name in a list; default: the title.
        direction: of a sweep that an event ends; None where none does.
        quantities: the fields of `values` that are quantities, with their symbols.
        limitation: what the experiment cannot show; empty for none.
        end_head, end_unit: what a table of ends is by, and what one of them is.
    """

    name: str
    symbol: str = ""
    prefix: str = ""
    title: str = ""
    question: str = ""
    counts: str = ""
    grid_question: str = ""
    parameters: type[Parameters]
    reading: frozenset[str] = frozenset()
    notebook: str = ""
    in_default_run: bool = False
    partners: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    line: str = ""
    direction: Direction | None = None
    quantities: Mapping[str, str] = {}
    limitation: str = ""
    end_head: str = "State"
    end_unit: str = "seed"

    def __init__(self) -> None:
        self.symbol = self.symbol or self.name
        self.prefix = self.prefix or self.name
        self.notebook = self.notebook or self.name
        self.title = self.title or self.name
        self.line = self.line or self.title
        self.grid_question = self.grid_question or self.question

    def spec(self, p: Any) -> ExperimentSpec:
        """The protocol under parameters `p`: any object with their names as attributes."""
        raise NotImplementedError

    def summarise(self, records: Records) -> dict[str, Any]:
        """The findings as plain JSON-able values.

        Always there: `n`, `failed_inits`, `diverged`, `outcomes` (counts that add up to n), `seeds`, `dwell`.
        """
        from dglib.experiments import general

        return general.summarise(self, records)

    def answer(self, records: Records) -> str:
        """The finding as a paragraph that ends with the dwell time and the LR."""
        if not records:
            return f"{self.name}: no records, so nothing to say."
        return self.answer_of(records, self.summarise(records))

    def answer_of(self, records: Records, summary: Summary) -> str:
        """As `answer`, of at least one record and the summary."""
        from dglib.experiments import general

        return general.answer(self, summary)

    def headline(self, words: str, summary: Summary) -> str:
        """The answer without what only its own section needs."""
        return words

    def cell_answer(self, words: str) -> str:
        """The answer without what a grid does not ask for."""
        return words

    def paragraphs(self, summary: Summary) -> list[str]:
        """More to read below the answer."""
        return []

    def figures(self) -> dict[str, Drawing]:
        """Figures by file name without suffix; the published one first."""
        return {f"{self.name}_sweeps": Drawing(f"{self.symbol}: error against λ", self._draw)}

    def _draw(self, records: Records) -> Figure:
        from dglib.experiments.general_plot import draw_sweeps

        return draw_sweeps(self, records)

    def seed_table(self, records: Records, summary: Summary) -> tuple[list[str], list[list[str]]]:
        """Column heads ("Seed" first, "Outcome" among them) and a row of text for each record."""
        from dglib.experiments import general

        return general.seed_table(self, records, summary)

    def columns(self, record: Record, limits: Mapping[str, float]) -> dict[str, Any]:
        """What a table of seeds has of a record: `outcome` and other columns of `tables.SEEDS`.

        Args:
            limits: parameters for reading that are to hold in place of the seed's own.
        """
        from dglib.experiments import general

        return general.columns(self, record)

    def values(self, records: Records) -> dict[str, Any]:
        """Counts and quantities for machines; see `dglib.experiments.values`."""
        from dglib.experiments import general

        return general.values(self, records)

    def lines(self, found: Summary) -> list[str]:
        """Lines of text on what `values` has and no other experiment's."""
        return []

    def compare(self, a: Records, b: Records) -> list[Row]:
        """The quantities on two sides."""
        from dglib.experiments import general

        return general.compare(self, a, b)

    @property
    def measure(self) -> Measure:
        """What a grid's cells are told by."""
        from dglib.experiments import general

        return general.measure(self)

    def ends(self, record: Record) -> list[End]:
        """How the networks of a seed ended."""
        from dglib.experiments import general

        return general.ends(self, record)

    def draw_ends(self, records: Records) -> tuple[str, Figure] | None:
        """A caption and a figure on how the networks came to their end; None: no figure."""
        return None

    def dwell_text(self, records: Records) -> str:
        """The dwell time and the LR, in words."""
        from dglib.analysis import wording
        from dglib.analysis.dwell import dwell

        return wording.dwell(dwell(records)).removeprefix("Dwell time: ").rstrip(".")

    def trajectories(self) -> dict[str, tuple[str, str]]:
        """Fields of the record that hold evaluations -> branch and phase, for entries that name none."""
        return {"trajectory": ("main", "init"), **{s.trajectory: ("main", s.key) for s in self.sweeps}}

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        """Each sweep that a seed made: its key, the error at each level, and the evaluations."""
        from dglib.experiments import general

        return general.traces(self, record)

    def held(self, record: Record) -> tuple[str, Look] | None:
        """What became of a seed whose λ was held, in words, and how it is drawn."""
        return None

    def arms(self, record: Record) -> list[list[Any]]:
        """The evaluations of each network of a seed, in the order run."""
        return [[entry for field in self.trajectories() for entry in record.get(field) or ()]]
