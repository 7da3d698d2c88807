"""The experiments: what one is, which there are, and the parameters that they share.

    from dglib.experiments import Experiment, register

Importing this loads the built-in ones and those that the environment variable DGLIB_EXPERIMENTS names.
"""

from typing import Any

from dglib.experiments.base import Drawing, Experiment, Sweep
from dglib.experiments.joint import Joint
from dglib.experiments.registry import (
    default_names,
    get,
    joints,
    load,
    load_all,
    loaded,
    names,
    register,
    register_joint,
)
from dglib.experiments.specs import read_under, reading_of, requested_numerics
from dglib.protocol.spec import ExperimentSpec
from dglib.training.registry import call


def build_spec(experiment: str, parameters: Any) -> ExperimentSpec:
    """The specification of an experiment by name under `parameters`: any object with their attributes.

    Raises:
        UserError: there is no such experiment, or a user's own fails.
    """
    found = get(experiment)
    if type(found).__module__.startswith("dglib."):
        return found.spec(parameters)
    spec: ExperimentSpec = call(f"experiment {experiment!r}: spec() fails", found.spec, parameters)
    return spec


load_all()

__all__ = [
    "Drawing",
    "Experiment",
    "Joint",
    "Sweep",
    "build_spec",
    "default_names",
    "get",
    "joints",
    "load",
    "loaded",
    "names",
    "read_under",
    "reading_of",
    "register",
    "register_joint",
    "requested_numerics",
]
