"""What an experiment is: a subclass of `Experiment`, registered by `register(MyExperiment())`.

Its parameters and its protocol are enough: summary, answer, figures, tables and the grid's measure have
general forms, which it may replace. `loop.py` is the shortest example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dglib.analysis import style, wording
from dglib.analysis.answer import Answer, Row
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import (
    Entry,
    Record,
    Records,
    entries,
    has_diverged,
    is_running,
    level_of,
    number,
    seed_of,
)
from dglib.analysis.grid import DIVERGED, Measure
from dglib.analysis.style import PENS, THICK
from dglib.analysis.summary import UNMEASURED, Summary, common, mean_error, missing, share
from dglib.protocol.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, StepSpec
from dglib.runs.identity import is_identity
from dglib.training.registry import call

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dglib.analysis.thresholds import Direction
    from dglib.experiments.parameters import Parameters

Column = Callable[[Summary], str]


@dataclass(frozen=True)
class Sweep:
    """Levels of λ that a network visits one after the other, as records and pictures have them.

    Attributes:
        key: in plain letters, another for each sweep of all experiments.
        title: in a legend.
        trajectory: the field of the record that holds its evaluations.
        rising: the direction of λ.
        pen: name in `dglib.analysis.style.PENS`.
        phase: of the entries that count; None: all of the field.
        short: of rows in a panel of thresholds; empty where the sweep has none.
    """

    key: str
    title: str
    trajectory: str
    rising: bool
    pen: str = "ordered"
    phase: str | None = None
    short: str = ""

    def evaluations(self, record: Record) -> list[Entry]:
        return entries(record, self.trajectory, self.phase)

    def draw(self, axes: Axes, curves: Sequence[Curve]) -> list[tuple[str, dict[str, Any]]]:
        """Draw the error at each λ of some seeds and their median; returns the legend's key, if any."""
        pen = PENS[self.pen]
        style.draw_sweep(axes, [c.errors for c in curves], median_curve(curves, self.rising), pen)
        return [(f"{self.title} ({len(curves)})", pen.line(THICK, mark=4))] if curves else []


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
        directory_prefix: of its run directories; default: exp_ and the name.
        experiment_id: format of a seed's identity; default: the prefix and the seed.
        title, question, counts: for pages: a heading, what is asked, what counts as an answer.
        grid_question: what is asked of the cells of a grid; default: the question.
        parameters: the pydantic model of its parameters.
        reading: those of its parameters that decide how records are read, and change no training.
        notebook: file name of its notebook, without suffix; default: the name. One is made where none lies.
        in_default_run: whether `run_all.py` runs it without being asked for it by name.
        sweeps: the sweeps of λ; empty where λ is held.
        branches: compared at one λ; default: the sweeps. Without sweeps each level is another network.
        direction: of a sweep that an event ends; None where none does.
        quantities: the names of its estimates that `analyse --json` always has.
        measure: what the cells of a grid show.
        limitation: what the experiment cannot show; empty for none.
    """

    name: str
    symbol: str = ""
    prefix: str = ""
    directory_prefix: str = ""
    experiment_id: str = ""
    title: str = ""
    question: str = ""
    counts: str = ""
    grid_question: str = ""
    parameters: type[Parameters]
    reading: frozenset[str] = frozenset()
    notebook: str = ""
    in_default_run: bool = False
    sweeps: tuple[Sweep, ...] = ()
    branches: tuple[Sweep, ...] = ()
    direction: Direction | None = None
    quantities: tuple[str, ...] = ()
    measure: Measure = Measure(
        "final error",
        {"complete": "complete", DIVERGED: "diverged"},
        field="final_error",
        in_unit_interval=True,
    )
    limitation: str = ""

    def __init__(self) -> None:
        self.symbol = self.symbol or self.name
        self.prefix = self.prefix or self.name
        self.directory_prefix = self.directory_prefix or f"exp_{self.name}"
        self.experiment_id = self.experiment_id or f"{self.prefix}-{{seed:03d}}"
        self.notebook = self.notebook or self.name
        self.title = self.title or self.name
        self.branches = self.branches or self.sweeps
        self.grid_question = self.grid_question or self.question
        if self.is_own:  # fails in one line
            for name in (
                "spec",
                "summarise",
                "rows",
                "outcomes_text",
                "dwell_text",
                "seed_columns",
                "figures",
            ):
                what = f"experiment {self.name!r}: {name}() fails"
                setattr(self, name, partial(call, what, getattr(self, name)))

    @property
    def is_own(self) -> bool:
        """Whether it is a user's."""
        return not type(self).__module__.startswith("dglib.")

    def spec(self, p: Any) -> ExperimentSpec:
        """The protocol under parameters `p`: any object with their names as attributes."""
        raise NotImplementedError

    def protocol(
        self, p: Any, *arms: Arm, step: Mapping[str, Any] | None = None, **more: Any
    ) -> ExperimentSpec:
        """A specification of these arms, on the data and the network and with the step that `p` states.

        Args:
            step: more fields of the `StepSpec`.
            more: of the `ExperimentSpec`.
        """

        def given(*names: str) -> dict[str, Any]:
            return {name: getattr(p, name) for name in names if hasattr(p, name)}

        data = given("dataset", "noise_rate", "noise", "augmentation", "crop_padding", "train_size")
        data |= {n: value and tuple(value) for n, value in given("pixel_mean", "pixel_std").items()}
        constants = given("batch_size", "refresh_period", "momentum", "weight_decay", "mix", "value")
        parameters = dict(p) if hasattr(p, "__iter__") else vars(p)
        return ExperimentSpec(
            name=self.name,
            prefix=self.prefix,
            directory_prefix=self.directory_prefix,
            experiment_id=self.experiment_id,
            arms=arms,
            network=NetworkSpec(p.network, p.network_width),
            data=DataSpec(**data),
            step=StepSpec(**constants, **(step or {})),
            metrics=tuple(getattr(p, "metrics", ())),
            parameters={n: value for n, value in parameters.items() if is_identity(n, self.name)},
            **more,
        )

    def summarise(self, records: Records) -> dict[str, Any]:
        """The findings as plain JSON-able values; see `dglib.analysis.summary`.

        Each seed has `seed`, `outcome`, `end` (one of the kinds of `measure`, or "unfinished") and numbers.
        """
        seeds = [self._seed(record) for record in records]
        own = sorted({seed["outcome"] for seed in seeds} - UNMEASURED.keys())
        measured = [seed for seed in seeds if seed["outcome"] not in UNMEASURED]
        errors = [seed["final_error"] for seed in measured if seed["final_error"] is not None]
        summary = common(self.name, records, seeds, (*own, *UNMEASURED))
        summary |= {"measured": len(measured), "final_error": mean_error(errors)}
        summary["notes"] = missing(summary["outcomes"], len(measured))
        return summary

    def _seed(self, record: Record) -> dict[str, Any]:
        evaluations = [entry for arm in self.arms(record) for entry in arm[-1:]]
        last = evaluations[-1] if evaluations else {}
        outcome = self._outcome(record)
        return {
            "seed": seed_of(record),
            "outcome": outcome,
            "end": outcome if outcome in UNMEASURED else "complete",
            "init_error": number(record, "init_error"),
            "final_lambda": level_of(last),
            "final_error": number(last, "error"),
        }

    def _outcome(self, record: Record) -> str:
        if has_diverged(record, *self.trajectories(record)):
            return "diverged"
        if is_running(record) or "outcome" not in record:
            return "unfinished"
        return "init_failed" if record.get("init_success") is False else str(record["outcome"])

    def answer(self, records: Records) -> Answer:
        """What was found, as a table."""
        return Answer.of(self, self.summarise(records))

    def outcomes_text(self, summary: Summary) -> str:
        """How the seeds ended, with their numbers."""
        names = dict(self.measure.kinds) | wording.OUTCOMES
        seeds = summary["seeds"]
        kinds = [seed["outcome"] if seed["outcome"] in UNMEASURED else seed["end"] for seed in seeds]
        counts = {kind: kinds.count(kind) for kind in dict.fromkeys([*names, *kinds]) if kind in kinds}
        return ", ".join(f"{names.get(kind, kind)} {count}" for kind, count in counts.items())

    def rows(self, summary: Summary) -> list[Row]:
        """The answer's table, from numbers of the summary."""
        measured = summary["measured"]
        own = {kind: count for kind, count in summary["outcomes"].items() if count and kind not in UNMEASURED}
        shares = [Row.of_share(f"share {kind}", share(count, measured)) for kind, count in own.items()]
        return [Row.of_mean("final error", summary["final_error"], p=False), *shares]

    def verdicts(self, summary: Summary) -> dict[float, str]:
        """What was decided at each λ, in words; empty where nothing is decided by λ."""
        return {}

    def dwell_text(self, summary: Summary) -> str:
        """The dwell time and the LR, in words; the LR alone where no sweep moves λ."""
        return wording.dwell(summary["dwell"], swept=bool(self.sweeps))

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        """A table's heads ("Seed" first, "Outcome" among them) with the text of each seed of the summary."""
        return {
            "Seed": wording.seed,
            "Outcome": lambda seed: wording.outcome(seed["outcome"]),
            "Final λ": lambda seed: (
                wording.NONE if seed["final_lambda"] is None else wording.level(seed["final_lambda"])
            ),
            "Final error": lambda seed: wording.error(seed["final_error"]),
        }

    def seed_text(self, record: Record) -> str:
        """A seed in a line: its outcome, and the next two columns of the table of seeds."""
        summary = self.summarise([record])
        columns = list(self.seed_columns(summary).items())
        first = next(i for i, (head, _) in enumerate(columns) if head == "Outcome")
        (_, outcome), *more = [(head, show(summary["seeds"][0])) for head, show in columns[first : first + 3]]
        more = [(head, text) for head, text in [*more, ("reason", record.get("reason"))] if text]
        return "; ".join([outcome, *(f"{head}: {text}" for head, text in more if text != wording.NONE)])

    def figures(self) -> dict[str, Drawing]:
        """Figures by file name without suffix; the published one first."""
        return {
            f"{self.name}_sweeps": Drawing(
                f"{self.symbol}: error against {'λ' if self.sweeps else 'epoch'}", self._draw
            )
        }

    def _draw(self, records: Records) -> Figure:
        from dglib.experiments.figures import draw_sweeps

        return draw_sweeps(self, records)

    def trajectories(self, record: Record) -> dict[str, tuple[str, str]]:
        """Fields of the record that hold evaluations -> branch and phase, for entries that name none."""
        known = {"trajectory": ("main", "init"), **{s.trajectory: ("main", s.key) for s in self.sweeps}}
        log = record.get("epoch_log") or ()
        arms = {(epoch.get("phase"), epoch.get("epoch")): str(epoch.get("arm")) for epoch in log}
        for field in record:
            if field.endswith("trajectory") and field not in known and (items := entries(record, field)):
                phase, epoch = items[0].get("phase"), items[0].get("epoch")
                known[field] = arms.get((phase, epoch), "main"), str(phase)
        return known

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        """Each branch of a seed with a finite evaluation: its key, error at each level, evaluations."""
        swept = [(branch.key, branch.evaluations(record)) for branch in self.branches]
        return [(key, curve, item) for key, item in swept if (curve := Curve.of(item)).errors]

    def arms(self, record: Record) -> list[list[Any]]:
        """The evaluations of each network of a seed, in the order run."""
        networks: dict[str, list[Any]] = {}
        for field, (arm, _) in self.trajectories(record).items():
            networks.setdefault(arm, []).extend(record.get(field) or ())
        return list(filter(None, networks.values()))


def rate(p: Any, milestones: list[int]) -> LearningRate:
    """The LR at the start, dropping at `milestones` (epochs completed)."""
    return LearningRate(p.lr, tuple(milestones), p.lr_decay)


def sweep_rate(p: Any) -> LearningRate:
    """The published schedule running on from the init, or the constant rate that was asked for."""
    return rate(p, p.milestones) if p.sweep_lr is None else LearningRate(p.sweep_lr)
