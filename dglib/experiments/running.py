"""One experiment under its parameters: checked, its run directory opened, its seeds trained."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dglib.control import Control, require_posix
from dglib.errors import UserError
from dglib.experiments import build_spec, reading_of, requested_numerics
from dglib.protocol.records import Record
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import identity, provenance
from dglib.runs.experiment import run_experiment
from dglib.runs.hashes import run_hashes
from dglib.runs.location import RunLocation
from dglib.runs.progress import heartbeat
from dglib.runs.reading import save_reading
from dglib.runs.store import Store
from dglib.training.data import Dataset, DatasetInfo, describe_dataset, load_dataset
from dglib.training.evaluation import check_metrics
from dglib.training.networks import build_network, check_own, key_dropout
from dglib.training.noise import noises, try_noise
from dglib.training.numerics import Numerics
from dglib.training.rules import check_rules

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


def load(parameters: Parameters) -> Dataset:
    return load_dataset(
        parameters.dataset,
        data_dir=parameters.data_dir,
        pixel_mean=parameters.pixel_mean,
        pixel_std=parameters.pixel_std,
    )


def check(parameters: Parameters) -> tuple[ExperimentSpec, Numerics]:
    """Check device, directories, data set, noise and network as far as possible without loading data.

    Raises:
        UserError: what was given cannot be used here.
    """
    if parameters.seeds_at_once > 1:
        require_posix(f"seeds_at_once = {parameters.seeds_at_once}", "use 1")
    spec = build_spec(parameters.experiment, parameters)
    asked = requested_numerics(parameters)
    Numerics.resolve(**asked)  # refuses a wrong device before a network is built
    RunLocation.of(parameters)
    noises.get(spec.data.noise)
    info = describe_dataset(spec.data.dataset, data_dir=parameters.data_dir)
    check_metrics(spec.metrics, info.classes)
    return spec, Numerics.resolve(**asked, network_parameters=_check_network(spec, info))


@dataclass(frozen=True)
class OpenRun:
    """A run directory, and what its seeds are trained with.

    Attributes:
        why: the reason for this directory, in a few words.
        made: the versions and the machine, of `provenance.made_by`.
        notes: lines about the label noise.
    """

    parameters: Parameters
    spec: ExperimentSpec
    numerics: Numerics
    data: Dataset
    location: RunLocation
    store: Store
    why: str
    made: Mapping[str, Any]
    notes: list[str]

    def train(self, **options: Any) -> list[Record]:
        """Train the parameters' seeds; `options` are those of `run_experiment`."""
        return run_experiment(
            self.store,
            self.parameters.seeds,
            self.data,
            self.numerics,
            checkpoint_seconds=60 * self.parameters.checkpoint_minutes,
            checkpoint_epochs=self.parameters.checkpoint_epochs,
            keep_states=self.parameters.keep_states,
            made=self.made,
            **options,
        )


def open_run(
    parameters: Parameters,
    spec: ExperimentSpec,
    numerics: Numerics,
    data: Dataset,
    command: Sequence[str] = (),
) -> OpenRun:
    """Find or make the run directory of what `check` and `load` gave.

    The label noise is tried for every seed before anything is written.

    Args:
        command: for the manifest; by default this process's own command line.
    """
    location = RunLocation.of(parameters)
    noise = spec.data.noise, data.y_train, spec.data.noise_rate
    notes = try_noise(*noise, parameters.seeds, data.classes)
    hashes = run_hashes(spec, data)
    described = identity.describe(spec, data.fingerprint, hashes, **requested_numerics(parameters))
    location.bring_back(spec.directory_prefix, described)
    made = provenance.made_by(numerics, data)
    for_manifest = {
        "command": list(command or sys.orig_argv),
        "numerics": numerics.describe(),
        "data_name": data.name,
        **{name: made[name] for name in ("dglib", "commit", "dirty", "numpy")},
        **({} if spec.lineage is None else {"lineage": dict(spec.lineage)}),
    }
    store, why = Store.open(location.work, spec, described, for_manifest)
    save_reading(store.directory, spec.name, reading_of(parameters))
    return OpenRun(parameters, spec, numerics, data, location, store, why, made, notes)


def train_seed(
    parameters: Parameters,
    *,
    control: Control | None = None,
    load: Callable[[Parameters], Dataset] = load,
    wait: bool = False,
    report: Callable[[str], None],
    command: Sequence[str] = (),
) -> tuple[Path, Record]:
    """Train the one seed of the parameters, without a figure or an answer.

    Args:
        load: returns the data set.
        wait: for as long as another process trains the seed, instead of a few seconds.
        report: given lines for people.
        command: that this is for, by default this process's own command line.

    Returns:
        The run directory and the record.

    Raises: as `dglib.api.run`.
    """
    spec, numerics = check(parameters)
    run = open_run(parameters, spec, numerics, load(parameters), command)
    report(f"{spec.name} seed {parameters.seeds[0]}: {run.why} in {run.location.work.absolute()}")
    for note in run.notes:
        report(note)
    with run.location.mirroring(run.store.directory, report):
        (record,) = run.train(control=control, sinks_for=[heartbeat], wait=wait, report=report)
    return run.store.directory, record


def _check_network(spec: ExperimentSpec, info: DatasetInfo) -> int:
    """Build the network once, so that a wrong name, width or input is refused before anything is written.

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
