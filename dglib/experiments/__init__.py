"""The experiments: the built-in ones, and those of a user's own files or modules.

    from dglib.experiments import Experiment, register

Importing this loads the built-in ones and those that the environment variable DGLIB_EXPERIMENTS names.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from dglib.errors import UserError
from dglib.experiments.base import Drawing, Experiment, Joint, Sweep, rate, shared, sweep_rate
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.directories import PREFIXES
from dglib.runs.identity import READING

__all__ = [
    "Drawing",
    "Experiment",
    "Joint",
    "Sweep",
    "rate",
    "register",
    "register_joint",
    "shared",
    "sweep_rate",
]

BUILT_IN = ("spinodal", "width", "hold", "branches", "trapping", "loop", "foreign")
VARIABLE = "DGLIB_EXPERIMENTS"  # files and modules of experiments, for this process and those it starts

_registered: dict[str, Experiment] = {}
_joints: list[Joint] = []
_homes: dict[str, str] = {}  # name -> module that registered it


def register(experiment: Experiment) -> None:
    """Add an experiment.

    Raises:
        UserError: another one has its name or prefix.
    """
    home = type(experiment).__module__
    for other in _registered.values():
        taken = {experiment.name, experiment.prefix} & {other.name, other.prefix}
        if taken and _homes[other.name] != home:
            raise UserError(
                f"experiment = {experiment.name!r}: {taken.pop()!r} is that of {other.name} in"
                f" {_homes[other.name]}; choose another name and prefix"
            )
    model = experiment.parameters
    if model.experiment not in ("", experiment.name):
        why = f"its parameters are those of {model.experiment}; use a subclass"
        raise UserError(f"experiment = {experiment.name!r}: {why}")
    model.experiment = experiment.name
    READING[experiment.name] = frozenset(experiment.reading)
    _registered[experiment.name] = experiment
    _homes[experiment.name] = home
    PREFIXES[experiment.name] = experiment.prefix


def register_joint(joint: Joint) -> None:
    _joints.append(joint)


def load(source: str) -> list[str]:
    """Load a file (``my_loop.py``) or a module (``my_package.loop``) of experiments; the names registered.

    Processes started from this one load it as well.

    Raises:
        UserError: it is missing, fails, or registers nothing.
    """
    path = Path(source).expanduser()
    try:
        if path.suffix == ".py":
            source = str(path.absolute())
            module = _from_file(path.absolute())
        else:
            module = import_module(source).__name__
    except UserError:
        raise
    except Exception as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        raise UserError(f"experiment file {source}: cannot be loaded: {why}") from error
    found = [name for name, home in _homes.items() if home == module]
    if not found:
        raise UserError(f"experiment file {source}: registers no experiment; end it with register(…)")
    if source not in loaded():
        os.environ[VARIABLE] = os.pathsep.join([*loaded(), source])
    return found


def _from_file(path: Path) -> str:
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return name
    if loaded is not None:
        raise UserError(f"experiment file {path}: a module called {name} is loaded already; rename the file")
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return name


def loaded() -> list[str]:
    """The files and modules loaded besides the built-in ones, for other processes to load."""
    return [item for item in os.environ.get(VARIABLE, "").split(os.pathsep) if item]


def get(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        UserError: there is none.
    """
    if name not in _registered:
        *most, last = _registered
        raise UserError(f"experiment = {name!r}: must be {', '.join(most)} or {last}")
    return _registered[name]


def own_file(name: str) -> Path | None:
    """The user's file that registered an experiment; None for a built-in one.

    Raises:
        UserError: there is none of that name.
    """
    get(name)
    home = _homes[name]
    built_in = home.startswith("dglib.experiments.")
    return None if built_in else Path(str(sys.modules[home].__file__)).resolve()


def names() -> tuple[str, ...]:
    return tuple(_registered)


def default_names() -> tuple[str, ...]:
    return tuple(name for name, item in _registered.items() if item.in_default_run)


def joints() -> tuple[Joint, ...]:
    return tuple(_joints)


def build_spec(experiment: str, parameters: Any) -> ExperimentSpec:
    """The protocol of an experiment under `parameters`: any object with their names as attributes.

    Raises:
        UserError: there is no such experiment, or a user's own fails.
    """
    return get(experiment).spec(parameters)


for _name in BUILT_IN:
    import_module(f"dglib.experiments.{_name}")
for _source in loaded():
    load(_source)
