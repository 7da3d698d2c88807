"""One experiment under its parameters: checked, its run directory opened, its seeds trained."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
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
    """The data set that the parameters name."""
    return load_dataset(
        parameters.dataset,
        data_dir=parameters.data_dir,
        pixel_mean=parameters.pixel_mean,
        pixel_std=parameters.pixel_std,
    )


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
    store, why, made, notes = open_run(place, parameters, spec, numerics, data, command)
    tell(f"{spec.name} seed {parameters.seeds[0]}: {why} in {place.work.absolute()}")
    for note in notes:
        tell(note)
    with place.mirroring(store.directory, tell):
        (record,) = train(
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


def train(
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
        keep_states=parameters.keep_states,
        **options,
    )


def open_run(
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
