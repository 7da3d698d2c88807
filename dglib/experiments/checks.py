"""Checks of parameters before anything is written: device, directories, data, network, noise and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dglib.control import require_posix
from dglib.errors import UserError
from dglib.experiments import requested_numerics
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.mirror import RunLocation
from dglib.training.data import DatasetInfo, describe_dataset
from dglib.training.evaluation import check_metrics
from dglib.training.networks import check_network
from dglib.training.noise import noises
from dglib.training.numerics import Numerics
from dglib.training.rules import check_rules

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


def check(spec: ExperimentSpec, parameters: Parameters) -> Numerics:
    """The numerics of a run, where all of it is checked as far as possible without loading data.

    Raises:
        UserError: what was given cannot be used here.
    """
    if parameters.seeds_at_once > 1:
        require_posix(f"seeds_at_once = {parameters.seeds_at_once}", "use 1")
    asked = requested_numerics(parameters)
    Numerics.resolve(**asked)  # refuses a wrong device before a network is built
    RunLocation.of(parameters)
    noises.get(spec.data.noise)
    train_size = spec.data.train_size
    info = describe_dataset(spec.data.dataset, data_dir=parameters.data_dir, train_size=train_size)
    if train_size is not None and train_size < spec.step.batch_size:
        raise UserError(f"train_size = {train_size}: must be at least batch_size = {spec.step.batch_size}")
    check_metrics(spec.metrics, info.classes)
    return Numerics.resolve(**asked, network_parameters=_check_network(spec, info))


def _check_network(spec: ExperimentSpec, info: DatasetInfo) -> int:
    """Build the network once, so that a wrong name, width or input is refused before anything is written.

    Returns the number of its parameters.
    """
    name, width = spec.network.name, spec.network.width
    with torch.random.fork_rng(devices=[]):
        model = check_network(name, input_shape=info.input_shape, classes=info.classes, width=width)
    check_rules(spec.step, list(model.parameters()), info.input_shape, info.classes)
    if info.n_train % spec.step.batch_size == 1:
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
