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

from dglib.analysis.style import LOOKS
from dglib.errors import UserError
from dglib.experiments.base import Drawing, Experiment, Joint, Sweep, rate, shared, sweep_rate
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.directories import OWN_FILE, PREFIXES
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
        UserError: another one has its name or prefix, or a sweep's look is unknown.
    """
    home = type(experiment).__module__
    for other in _registered.values():
        taken = {experiment.name, experiment.prefix} & {other.name, other.prefix}
        if taken and _homes[other.name] != home:
            raise UserError(
                f"experiment = {experiment.name!r}: {taken.pop()!r} is that of {other.name} in"
                f" {_homes[other.name]}; choose another name and prefix"
            )
    for sweep in (*experiment.sweeps, *experiment.branches):
        if unknown := {sweep.look, sweep.alternate_look or sweep.look} - LOOKS.keys():
            allowed = ", ".join(LOOKS)
            where = f"experiment = {experiment.name!r}: sweep {sweep.key!r}"
            raise UserError(f"{where}: look = {unknown.pop()!r}: must be one of {allowed}")
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
    source = _resolved(source)
    try:
        module = _from_file(Path(source)) if source.endswith(".py") else import_module(source).__name__
    except UserError:
        raise
    except Exception as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        raise UserError(f"experiment file {source}: cannot be loaded: {why}") from error
    found = [name for name, home in _homes.items() if home == module]
    if not found:
        raise UserError(f"experiment file {source}: registers no experiment; end it with register(…)")
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*map(_resolved, loaded()), source]))
    return found


def _resolved(source: str) -> str:
    """A file's one absolute path, whatever its spelling; a module's name as it is."""
    return str(Path(source).expanduser().resolve()) if source.endswith(".py") else source


def _from_file(path: Path) -> str:
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path:
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
        raise UserError(f"experiment = {name!r}: must be {', '.join(most)} or {last}; {OWN_FILE}")
    return _registered[name]


def own_source(name: str) -> str | None:
    """What `load` loads a user's experiment from, a file or a module; None for any other."""
    home = _homes[name]
    return next((s for s in loaded() if home == (Path(s).stem if s.endswith(".py") else s)), None)


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
        UserError: there is no such experiment, a user's own fails, or no phase has a sweep's evaluations.
    """
    about = get(experiment)
    spec = about.spec(parameters)
    fields = dict.fromkeys(phase.trajectory for arm in spec.arms for phase in arm.phases)
    for sweep in about.sweeps if about.is_own else ():
        if sweep.trajectory not in fields:
            raise UserError(
                f"experiment {experiment!r}: sweep {sweep.key!r}: trajectory = {sweep.trajectory!r}:"
                f" must be that of a phase: {' or '.join(fields)}"
            )
    return spec


for _name in BUILT_IN:
    import_module(f"dglib.experiments.{_name}")
for _source in loaded():
    load(_source)
