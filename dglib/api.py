"""An experiment from its parameters to its answer, as notebooks and the command line call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dglib import output
from dglib.control import Control, unwinding
from dglib.experiments import get, joints, read_under
from dglib.experiments.running import check, load, open_run
from dglib.experiments.seeds import beyond_asked
from dglib.files import phase_end_paths
from dglib.protocol.records import Record
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import provenance
from dglib.runs.progress import Bar, heartbeat
from dglib.runs.store import Store, read_records
from dglib.training.data import Dataset
from dglib.training.numerics import Numerics

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


@dataclass(frozen=True)
class Run:
    """A finished experiment.

    Attributes:
        experiment: its name.
        directory: the run directory.
        records: of all finished seeds in the run directory, also of earlier commands.
        figures: the files written.
        asked: the seeds that this command asked for.
    """

    experiment: str
    directory: Path
    records: list[Record]
    figures: list[Path]
    asked: tuple[int, ...]

    def answer(self) -> str:
        """The result of all seeds of the run directory, in sentences."""
        return get(self.experiment).answer(self.records) + self._beyond_asked(self.records)

    def width(self) -> str:
        """The result of this experiment together with its partners in this directory, in sentences."""
        joint = next((each for each in joints() if self.experiment in each.experiments), None)
        if joint is None:
            return f"{self.experiment} has no finding together with another experiment."
        found = {name: read_records(self.directory, name) for name in joint.experiments}
        missing = [name for name, records in found.items() if not records]
        if missing:
            return f"No width yet: {' and '.join(missing)} has no finished seed in {self.directory}."
        seeds = set.intersection(*({record["seed"] for record in mine} for mine in found.values()))
        shared = [record for record in self.records if record["seed"] in seeds]
        return joint.answer(*found.values()) + self._beyond_asked(shared)

    def _beyond_asked(self, records: Sequence[Record]) -> str:
        return beyond_asked([record["seed"] for record in records], self.asked)

    def show(self) -> None:
        """Display the figure in a notebook, from its file."""
        from IPython.display import Image, display

        for path in self.figures:
            if path.suffix == ".png":
                display(Image(filename=str(path)))  # type: ignore[no-untyped-call]


def run(parameters: Parameters, *, control: Control | None = None) -> Run:
    """Run an experiment's seeds, those already finished excepted, and draw its figure.

    Everything that was given is checked before anything is written.

    Raises:
        UserError: what was given cannot be used.
        Interrupted: a stop was asked for; the same call resumes.
    """
    with unwinding():
        spec, numerics = check(parameters)
        return run_checked(parameters, spec, numerics, load(parameters), control=control)


def run_checked(
    parameters: Parameters,
    spec: ExperimentSpec,
    numerics: Numerics,
    data: Dataset,
    *,
    control: Control | None = None,
    begin: Callable[[Store], None] = lambda store: None,
) -> Run:
    """As `run`, of what `check` and `load` gave; `begin` is called before the seeds are run."""
    output.never_fail()  # also for scripts, not only for the commands
    run = open_run(parameters, spec, numerics, data)
    where = f"{spec.name}: {run.why} in {run.location.work.absolute()}"
    print(where, provenance.line(run.made), *run.notes, sep="\n", flush=True)
    begin(run.store)
    if parameters.keep_states:
        _report_stateless(run.store, parameters.seeds)

    bar = Bar(spec, len(parameters.seeds))
    with run.location.mirroring(run.store.directory, bar.print):
        try:
            left = [seed for seed in parameters.seeds if not run.store.finished(seed)]
            if min(parameters.seeds_at_once, len(left)) > 1:
                from dglib.campaign.local import train_in_parallel

                train_in_parallel(parameters, left, run.location.work, bar.print)
            records = run.train(
                control=control,
                sinks_for=[bar.sink, heartbeat],
                finished=lambda seed: bar.skip_seed(),
                report=bar.print,
            )
        finally:
            bar.close()
        for line in provenance.made_otherwise(records, run.made):
            print(line)
        records = read_under(parameters, run.store.records())
        drawn = draw_figure(run.store, records)
        return Run(spec.name, run.store.directory, records, drawn, tuple(parameters.seeds))


def _report_stateless(store: Store, seeds: Sequence[int]) -> None:
    """Print how many finished seeds have no saved states, which only training could give them."""
    finished = [seed for seed in seeds if store.finished(seed)]
    count = sum(not phase_end_paths(store.files(seed).state) for seed in finished)
    if count:
        what = "1 finished seed has" if count == 1 else f"{count} finished seeds have"
        print(f"{what} no saved states: trained without keep_states", flush=True)


def draw_figure(store: Store, records: list[Record]) -> list[Path]:
    """Draw an experiment's figures into its run directory, as PNG and PDF, the published one first."""
    from dglib.experiments.figures import draw_all, save_figure

    drawn, figures = draw_all(store.spec.name, records), store.directory / "figures"
    return [path for name, each in drawn.items() for path in save_figure(each, figures, name)]
