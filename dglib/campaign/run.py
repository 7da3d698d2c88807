"""One experiment from its parameters to its answer, for notebooks, commands and jobs alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dglib import output
from dglib.analysis.answer import Answer
from dglib.base_dir import user_path
from dglib.control import Control, require_posix, unwinding
from dglib.errors import UserError
from dglib.experiments import build_spec, get, joints
from dglib.experiments.parameters import beyond_asked
from dglib.protocol.records import Record
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import identity, provenance
from dglib.runs.location import RunLocation
from dglib.runs.progress import Bar, heartbeat
from dglib.runs.reading import read_under, save_reading
from dglib.runs.seed import run_experiment, run_hashes
from dglib.runs.store import Store, read_records
from dglib.runs.tensorboard import tensorboard, writer_class
from dglib.training.data import Dataset, describe_dataset, load_dataset
from dglib.training.evaluation import check_metrics
from dglib.training.networks import check_network
from dglib.training.noise import noises, try_noise
from dglib.training.numerics import Numerics
from dglib.training.rules import check_rules
from dglib.training.step import BATCH_NORMS

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


@dataclass(frozen=True)
class Run:
    """An experiment that has run.

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

    def answer(self) -> Answer:
        """The result of all seeds of the run directory."""
        return get(self.experiment).answer(self.records).with_flags(self._beyond_asked(self.records))

    def width(self) -> Answer:
        """The result of this experiment together with its partners in this directory."""
        joint = next((joint for joint in joints() if self.experiment in joint.experiments), None)
        if joint is None:
            return Answer(f"{self.experiment} has no finding together with another experiment.")
        by_name = {name: read_records(self.directory, name) for name in joint.experiments}
        missing = [name for name, records in by_name.items() if not records]
        if missing:
            lacking = f"{' and '.join(missing)} has no finished seed in {self.directory}."
            return Answer(f"No width yet: {lacking}")
        seeds = set.intersection(*({record["seed"] for record in records} for records in by_name.values()))
        shared = [record for record in self.records if record["seed"] in seeds]
        return joint.answer(*by_name.values()).with_flags(self._beyond_asked(shared))

    def _beyond_asked(self, records: Sequence[Record]) -> str:
        return beyond_asked([record["seed"] for record in records], self.asked)

    def show(self) -> None:
        """Display the figure in a notebook, from its file."""
        from IPython.display import Image, display

        captions = {name: drawing.caption for name, drawing in get(self.experiment).figures().items()}
        for path in self.figures:
            if path.suffix == ".png":
                alt = {"alt": captions.get(path.stem, self.experiment)}
                display(Image(filename=str(path), metadata=alt))  # type: ignore[no-untyped-call]


def run(
    parameters: Parameters,
    *,
    control: Control | None = None,
    start_from: str | Path | None = None,
    data: Dataset | None = None,
    quiet: bool = False,
    wait: bool = False,
    command: Sequence[str] = (),
) -> Run:
    """Run an experiment's seeds, those already finished excepted, and draw its figures.

    Everything that was given is checked before anything is written. `seeds_at_once` seeds are trained in
    parallel, each in a process of its own.

    Args:
        start_from: a run directory from whose saved states seeds start that have not begun, see
            `dglib.campaign.start`.
        data: the whole data set, where it is loaded already.
        quiet: no progress bar and no figures, and lines go to stderr, as for a job.
        wait: for as long as another process trains a seed, instead of a few seconds.
        command: for the manifest; by default this process's own command line.

    Raises:
        UserError: what was given cannot be used.
        Interrupted: a stop was asked for; the same call resumes.
    """
    with unwinding():
        if not quiet:
            output.never_fail()  # also for scripts, not only for the commands
        spec = build_spec(parameters.experiment, parameters)
        numerics = check(spec, parameters)
        data = (load_data(parameters) if data is None else data).subset(spec.data.train_size)
        location, seeds = RunLocation.of(parameters), parameters.seeds
        # Before anything is written, for every seed.
        notes = try_noise(spec.data.noise, data.y_train, spec.data.noise_rate, seeds, data.classes)
        asked = identity.requested_numerics(parameters)
        described = identity.describe(spec, data.fingerprint, run_hashes(spec, data), **asked)
        location.bring_back(spec.directory_prefix, described)
        origin, there = None, Store.find(location.local, spec, described)
        new = [] if start_from is None else [s for s in seeds if there is None or not there.has_begun(s)]
        if start_from is not None and new:
            from dglib.campaign.start import Origin

            origin = Origin(user_path(start_from, "start_from"), spec, data)
            for seed in new:
                origin.state(seed)
        made = provenance.made_by(numerics, data)
        for_manifest: dict[str, Any] = {
            "command": list(command or sys.orig_argv),
            "numerics": numerics.describe(),
            "data_name": data.name,
            **{name: made[name] for name in ("dglib", "commit", "dirty", "source", "numpy") if name in made},
        }
        store, why = Store.open(location.local, spec, described, for_manifest)
        save_reading(store.directory, parameters)
        lines = [f"{spec.name}: {why} in {location.local.absolute()}", provenance.line(made), *notes]
        if different := provenance.different_code(store.records(), made, "now"):
            finished = all(map(store.finished, seeds))
            lines.append(different if finished else f"warning: {different}; one answer will count them all")
        print(*lines, sep="\n", file=sys.stderr if quiet else sys.stdout, flush=True)
        if origin is not None:
            for seed in new:
                origin.save_start(store, seed)

        bar = None if quiet else Bar(spec, len(seeds))
        report = bar.print if bar else lambda line: print(line, file=sys.stderr, flush=True)
        with location.mirroring(store.directory, report):
            try:
                left = [seed for seed in seeds if not store.finished(seed)]
                if min(parameters.seeds_at_once, len(left)) > 1:
                    from dglib.campaign.local import train_in_parallel

                    train_in_parallel(parameters, left, location.local, report)
                records = run_experiment(
                    store,
                    seeds,
                    data,
                    numerics,
                    checkpoint_seconds=60 * parameters.checkpoint_minutes,
                    checkpoint_epochs=parameters.checkpoint_epochs,
                    keep_states=parameters.keep_states,
                    control=control,
                    sinks_for=[
                        heartbeat,
                        *([bar.sink] if bar else []),
                        *([tensorboard] if parameters.tensorboard else []),
                    ],
                    finished=lambda seed: bar.skip_seed() if bar else None,
                    wait=wait,
                    made=made,
                    report=report,
                )
            finally:
                if bar:
                    bar.close()
            if quiet:
                return Run(spec.name, store.directory, records, [], tuple(seeds))
            records = read_under(parameters, store.records())
            return Run(spec.name, store.directory, records, draw_figures(store, records), tuple(seeds))


def check(spec: ExperimentSpec, parameters: Parameters) -> Numerics:
    """The numerics of a run, where all of it is checked as far as possible without loading data.

    Raises:
        UserError: what was given cannot be used here.
    """
    if parameters.seeds_at_once > 1:
        require_posix(f"seeds_at_once = {parameters.seeds_at_once}", "use 1")
    if parameters.tensorboard:
        writer_class("tensorboard = true")
    asked = identity.requested_numerics(parameters)
    Numerics.resolve(**asked)  # refuses a wrong device before a network is built
    RunLocation.of(parameters)
    noises.get(spec.data.noise)
    train_size = spec.data.train_size
    info = describe_dataset(spec.data.dataset, data_dir=parameters.data_dir, train_size=train_size)
    if train_size is not None and train_size < spec.step.batch_size:
        raise UserError(f"train_size = {train_size}: must be at least batch_size = {spec.step.batch_size}")
    check_metrics(spec.metrics, info.classes)
    # Built once, so that a wrong name, width or input is refused before anything is written.
    name, width = spec.network.name, spec.network.width
    with torch.random.fork_rng(devices=[]):
        model = check_network(name, input_shape=info.input_shape, classes=info.classes, width=width)
    check_rules(spec.step, list(model.parameters()), info.input_shape, info.classes, info.n_train)
    if info.n_train % spec.step.batch_size == 1:
        try:
            model(torch.zeros(1, *info.input_shape))
        except ValueError as error:
            raise UserError(
                f"batch_size = {spec.step.batch_size}: leaves one image for the last of {info.n_train}, and"
                f" network {name!r} cannot train on one ({error})"
            ) from None
    cumulative = (isinstance(m, BATCH_NORMS) and m.momentum is None for m in model.modules())
    if spec.step.two_pass_statistics and any(cumulative):
        why = "a BatchNorm with momentum None, whose cumulative average has no two-pass form"
        raise UserError(f"two_pass_statistics = True: network {name!r} has {why}")
    size = sum(parameter.numel() for parameter in model.parameters())
    return Numerics.resolve(**asked, network_parameters=size)


def load_data(parameters: Parameters) -> Dataset:
    """The whole data set, whatever `train_size`."""
    return load_dataset(
        parameters.dataset,
        data_dir=parameters.data_dir,
        pixel_mean=parameters.pixel_mean,
        pixel_std=parameters.pixel_std,
    )


def draw_figures(store: Store, records: list[Record]) -> list[Path]:
    """Draw an experiment's figures into its run directory, as PNG and PDF, the published one first."""
    from dglib.experiments.figures import draw_all, save_figure

    drawn, figures = draw_all(store.spec.name, records), store.directory / "figures"
    return [path for name, figure in drawn.items() for path in save_figure(figure, figures, name)]
