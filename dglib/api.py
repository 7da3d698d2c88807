"""An experiment from its parameters to its answer: what the notebooks and the command line call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dglib import output
from dglib.control import Control, require_posix, unwinding
from dglib.errors import UserError
from dglib.experiments import build_spec, get, joints, read_under, reading_of, requested_numerics
from dglib.experiments.seeds import beyond_asked
from dglib.protocol.records import Record
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import identity, provenance
from dglib.runs.experiment import SinkFactory, run_experiment
from dglib.runs.hashes import run_hashes
from dglib.runs.location import RunLocation
from dglib.runs.manifest import save_reading
from dglib.runs.progress import Bar, heartbeat
from dglib.runs.store import Store, read_records, unfinished
from dglib.training.data import Dataset, DatasetInfo, describe_dataset, load_dataset
from dglib.training.evaluation import check_metrics
from dglib.training.networks import build_network, check_own, key_dropout
from dglib.training.noise import noises, try_noise
from dglib.training.numerics import Numerics
from dglib.training.rules import check_rules

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


@dataclass(frozen=True)
class Run:
    """A finished experiment: where it lies and what came out.

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
        """What was found in all seeds of the run directory, in sentences."""
        return get(self.experiment).answer(self.records) + self._beyond_asked(self.records)

    def width(self) -> str:
        """The finding on this experiment's records and its partners' in this directory, in sentences."""
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
        Interrupted: a stop was asked for; the same call goes on from there.
    """
    with unwinding():
        spec, numerics = check(parameters)
        RunLocation.of(parameters)  # told before a data set is downloaded
        return run_checked(parameters, spec, numerics, load(parameters), control=control)


def load(parameters: Parameters) -> Dataset:
    """The data set that the parameters name."""
    return load_dataset(
        parameters.dataset,
        data_dir=parameters.data_dir,
        pixel_mean=parameters.pixel_mean,
        pixel_std=parameters.pixel_std,
    )


def run_checked(
    parameters: Parameters,
    spec: ExperimentSpec,
    numerics: Numerics,
    data: Dataset,
    *,
    control: Control | None = None,
    begin: Callable[[Store], None] = lambda store: None,
    sinks_for: Sequence[SinkFactory] = (),
) -> Run:
    """As `run`, of what `check` and `load` gave.

    Args:
        begin: called with the run directory before its seeds are run.
        sinks_for: more sinks, as for `run_experiment`.
    """
    output.never_fail()  # a script's too, not our commands' alone
    place = RunLocation.of(parameters)
    store, why, made, notes = _open(place, parameters, spec, numerics, data)
    print(
        f"{spec.name}: {why} in {place.work.absolute()}", provenance.line(made), *notes, sep="\n", flush=True
    )
    begin(store)

    bar = Bar(spec, len(parameters.seeds))
    with place.mirroring(store.directory, bar.tell):
        try:
            left = unfinished(store, parameters.seeds)
            if min(parameters.seeds_at_once, len(left)) > 1:
                from dglib.campaign.local import train_in_parallel

                train_in_parallel(parameters, left, place.work, bar.tell)
            records = _train(
                store,
                parameters,
                data,
                numerics,
                control=control,
                sinks_for=[*sinks_for, bar.sink, heartbeat],
                finished=lambda seed: bar.skip_seed(),
                made=made,
                tell=bar.tell,
            )
        finally:
            bar.close()
        for line in provenance.made_otherwise(records, made):
            print(line)
        records = read_under(parameters, store.records())
        drawn = draw_figure(store, records)
        return Run(spec.name, store.directory, records, drawn, tuple(parameters.seeds))


def train_seed(
    parameters: Parameters,
    *,
    control: Control | None = None,
    load: Callable[[Parameters], Dataset] = load,
    wait: bool = False,
    tell: Callable[[str], None],
    command: Sequence[str] = (),
) -> tuple[Path, Record]:
    """Train the one seed that the parameters name; its run directory and its record. No figure, no answer.

    Args:
        load: gives the data set.
        wait: for as long as another process trains the seed, instead of a few seconds.
        command: what was typed to have it trained, by default this process's own command line.

    Raises: as `run`.
    """
    spec, numerics = check(parameters)
    place = RunLocation.of(parameters)
    data = load(parameters)
    store, why, made, notes = _open(place, parameters, spec, numerics, data, command)
    tell(f"{spec.name} seed {parameters.seeds[0]}: {why} in {place.work.absolute()}")
    for note in notes:
        tell(note)
    with place.mirroring(store.directory, tell):
        (record,) = _train(
            store,
            parameters,
            data,
            numerics,
            control=control,
            sinks_for=[heartbeat],
            wait=wait,
            made=made,
            tell=tell,
        )
    return store.directory, record


def _train(
    store: Store, parameters: Parameters, data: Dataset, numerics: Numerics, **options: Any
) -> list[Record]:
    """The seeds that the parameters name, saved as often as they say."""
    return run_experiment(
        store,
        parameters.seeds,
        data,
        numerics,
        checkpoint_seconds=60 * parameters.checkpoint_minutes,
        checkpoint_epochs=parameters.checkpoint_epochs,
        **options,
    )


def _open(
    place: RunLocation,
    parameters: Parameters,
    spec: ExperimentSpec,
    numerics: Numerics,
    data: Dataset,
    command: Sequence[str] = (),
) -> tuple[Store, str, Mapping[str, Any], list[str]]:
    """The run directory of these parameters, found or made, why that one, and by what its seeds are made.

    Last, lines about the label noise, which is tried for every seed before anything is written.
    """
    noise = spec.data.noise, data.y_train, spec.data.noise_rate
    notes = try_noise(*noise, parameters.seeds, data.classes)
    hashes = run_hashes(spec, data)
    described = identity.describe(spec, data.fingerprint, hashes, **requested_numerics(parameters))
    shared = identity.describe_shared(spec, data.fingerprint, hashes)
    place.bring_back(spec.directory_prefix, described, shared)
    lineage = {} if spec.lineage is None else {"lineage": dict(spec.lineage)}
    made = provenance.made_by(numerics, data)
    code = {name: made[name] for name in ("dglib", "commit", "dirty", "numpy")}
    typed = list(command or sys.orig_argv)
    by = {"command": typed, "numerics": numerics.describe(), "data_name": data.name, **code, **lineage}
    store, why = Store.open(place.work, spec, described, shared, by)
    save_reading(store.directory, spec.name, reading_of(parameters))
    return store, why, made, notes


def check(parameters: Parameters) -> tuple[ExperimentSpec, Numerics]:
    """Check device, data set, noise and network as far as this can be done without loading data.

    Raises:
        UserError: what was given cannot be used here.
    """
    if parameters.seeds_at_once > 1:
        require_posix(f"seeds_at_once = {parameters.seeds_at_once}", "use 1")
    spec = build_spec(parameters.experiment, parameters)
    asked = requested_numerics(parameters)
    Numerics.resolve(**asked)  # a wrong device is told before a network is built
    noises.get(spec.data.noise)
    info = describe_dataset(spec.data.dataset, data_dir=parameters.data_dir)
    check_metrics(spec.metrics, info.classes)
    return spec, Numerics.resolve(**asked, network_parameters=_check_network(spec, info))


def draw_figure(store: Store, records: list[Record]) -> list[Path]:
    """Draw an experiment's figures into its run directory, as PNG and PDF, the published one first."""
    from dglib.analysis.plot_metrics import draw_metrics, metric_names
    from dglib.analysis.style import styled
    from dglib.experiments.figures import draw_all, save_figure

    drawn = draw_all(store.spec.name, records)
    if metric_names(records):
        with styled():
            drawn[f"{store.spec.prefix}_metrics"] = draw_metrics(records)
    figures = store.directory / "figures"
    return [path for name, each in drawn.items() for path in save_figure(each, figures, name)]


def _check_network(spec: ExperimentSpec, info: DatasetInfo) -> int:
    """Build the network once, so that a wrong name, width or input is told before anything is written.

    Returns the number of its parameters.
    """
    name, width = spec.network.name, spec.network.width
    with torch.random.fork_rng(devices=[]):
        model = build_network(name, input_shape=info.input_shape, classes=info.classes, width=width)
        check_own(name, model, input_shape=info.input_shape, classes=info.classes, width=width)
    check_rules(spec.step, list(model.parameters()), info.input_shape, info.classes)
    if info.n_train % spec.step.batch_size == 1:
        key_dropout(model, torch.Generator())
        try:
            model(torch.zeros(1, *info.input_shape))
        except ValueError as error:
            raise UserError(
                f"batch_size = {spec.step.batch_size}: leaves one image for the last of {info.n_train}, and"
                f" network {name!r} cannot train on one ({error})"
            ) from None
    if spec.step.two_pass_statistics and any(
        isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and layer.momentum is None
        for layer in model.modules()
    ):
        raise UserError(
            f"two_pass_statistics = True: network {name!r} has a BatchNorm with momentum None, whose"
            " cumulative average has no two-pass form"
        )
    return sum(parameter.numel() for parameter in model.parameters())
