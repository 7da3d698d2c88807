"""The experiments: the built-in ones, and those of a user's own files or modules.

    from dglib.experiments import Experiment, register

Importing this loads the built-in ones and those that the environment variable DGLIB_EXPERIMENTS names.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.analysis.style import PENS
from dglib.base_dir import user_path
from dglib.errors import UserError
from dglib.experiments.base import Drawing, Experiment, Sweep, rate, sweep_rate
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.directories import OWN_FILE, PREFIXES
from dglib.runs.identity import READING

if TYPE_CHECKING:
    from dglib.experiments.width import Width

__all__ = [
    "Drawing",
    "Experiment",
    "Sweep",
    "rate",
    "register",
    "sweep_rate",
]

BUILT_IN = ("spinodal", "width", "hold", "branches", "trapping", "loop", "foreign")
VARIABLE = "DGLIB_EXPERIMENTS"  # files and modules of experiments, for this process and those it starts

_registered: dict[str, Experiment] = {}
_joints: list[Width] = []


def register(experiment: Experiment) -> None:
    """Add an experiment.

    Raises:
        UserError: another one has its name or prefix, or a sweep's pen is unknown.
    """
    where = f"experiment = {experiment.name!r}"
    for name, other in _registered.items():
        taken = {experiment.name, experiment.prefix} & {name, other.prefix}
        if taken and _home(name) != type(experiment).__module__:
            what = f"{taken.pop()!r} is that of {name} in {_home(name)}"
            raise UserError(f"{where}: {what}; choose another name and prefix")
    for sweep in (*experiment.sweeps, *experiment.branches):
        if sweep.pen not in PENS:
            wrong = f"sweep {sweep.key!r}: pen = {sweep.pen!r}"
            raise UserError(f"{where}: {wrong}: must be one of {', '.join(PENS)}")
    model = experiment.parameters
    if (owner := vars(model).get("experiment", "")) not in ("", experiment.name):
        raise UserError(f"{where}: its parameters are those of {owner}; use a subclass")
    model.experiment = experiment.name
    READING[experiment.name] = frozenset(experiment.reading)
    _registered[experiment.name] = experiment
    PREFIXES[experiment.name] = experiment.prefix


def _home(name: str) -> str:
    """The module of an experiment."""
    return type(_registered[name]).__module__


def register_joint(joint: Width) -> None:
    """Add a finding on the records of several experiments in one run directory."""
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
    except (Exception, SystemExit) as error:  # a script of the user's may end with sys.exit()
        why = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        why = " ".join(why.split())
        raise UserError(f"experiment file {source}: cannot be loaded: {why}") from error
    registered = [name for name in _registered if _home(name) == module]
    if not registered:
        raise UserError(f"experiment file {source}: registers no experiment; end it with register(…)")
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*map(_resolved, loaded()), source]))
    return registered


def _resolved(source: str) -> str:
    """A file's one absolute path, whatever its spelling; a module's name as it is."""
    return str(user_path(source, "experiment file").resolve()) if source.endswith(".py") else source


def _from_file(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(path)
    invalidate_caches()
    sys.path.insert(0, str(path.parent))
    try:
        module = import_module(path.stem)
    finally:
        sys.path.remove(str(path.parent))
    if Path(getattr(module, "__file__", None) or "").resolve() != path:
        why = f"a module called {path.stem} is loaded already; rename the file"
        raise UserError(f"experiment file {path}: {why}")
    return path.stem


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
    return next((s for s in loaded() if _home(name) == (Path(s).stem if s.endswith(".py") else s)), None)


def own_file(name: str) -> Path | None:
    """The user's file that registered an experiment; None for a built-in one.

    Raises:
        UserError: there is none of that name.
    """
    return Path(str(sys.modules[_home(name)].__file__)).resolve() if get(name).is_own else None


def names() -> tuple[str, ...]:
    return tuple(_registered)


def default_names() -> tuple[str, ...]:
    return tuple(name for name, item in _registered.items() if item.in_default_run)


def joints() -> tuple[Width, ...]:
    return tuple(_joints)


def build_spec(experiment: str, parameters: Any) -> ExperimentSpec:
    """The protocol of an experiment under `parameters`: any object with their names as attributes.

    Raises:
        UserError: there is no such experiment, a user's own fails, or its evaluations would not be read.
    """
    about = get(experiment)
    spec = about.spec(parameters)
    fields = dict.fromkeys(phase.trajectory for arm in spec.arms for phase in arm.phases)
    for field in fields if about.is_own else ():
        if not field.endswith("trajectory"):
            raise UserError(
                f"experiment {experiment!r}: a phase's trajectory = {field!r}: must end with 'trajectory'"
            )
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
