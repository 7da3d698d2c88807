"""Parameters by name: ``params/<profile>/<experiment>.yaml``, with single values replaced.

Example:

    load_profile("T1", "quick", ["sweep_lr=0.01", "seeds=0-9"])
"""

from collections.abc import Iterable
from pathlib import Path

import yaml

from dglib.errors import UserError
from dglib.experiments.parameters import Parameters
from dglib.experiments.registry import names, own_file
from dglib.experiments.validation import Layer, one_of, validate_layers

_ROOT = Path(__file__).resolve().parents[2]
PARAMS = _ROOT / "dglib" / "params"
if not PARAMS.is_dir():
    PARAMS = _ROOT / "params"


def load_profile(experiment: str, profile: str = "quick", overrides: Iterable[str] = ()) -> Parameters:
    """The parameters of `experiment` in `profile` ("quick", "paper"), with `overrides` "name=value" in turn.

    Values are read as YAML.

    Raises:
        UserError: one line on what is wrong with the experiment, the profile or a value.
    """
    return validate_layers(experiment, [profile_layer(experiment, profile), *map(override_layer, overrides)])


def profile_layer(experiment: str, profile: str = "quick") -> Layer:
    """What an experiment's profile says, not yet validated: ``params/<profile>/<experiment>.yaml``.

    Of an experiment of a user's own, `params` is the directory beside its file.
    """
    params = directory(experiment)
    known = sorted({path.parent.name for path in params.glob("*/*.yaml") if path.stem in names()})
    if not known:
        if params == PARAMS:
            raise UserError(
                f"{PARAMS}: no profiles there; install dglib from its checkout with pip install -e"
            )
        raise UserError(f"{params}: no profile of {experiment} there: write {params}/quick/{experiment}.yaml")
    if profile not in known:
        raise UserError(f"profile = {profile!r}: must be {one_of(known)}")
    return file_layer(params / profile / f"{experiment}.yaml")._replace(
        where=f"params/{profile}/{experiment}.yaml"
    )


def profiles_of(experiment: str) -> list[str]:
    """The names of an experiment's profiles, "quick" first."""
    found = (path.parent.name for path in directory(experiment).glob(f"*/{experiment}.yaml"))
    return sorted(found, key=lambda name: (name != "quick", name))


def directory(experiment: str) -> Path:
    """Where the profiles of an experiment lie; UserError for an unknown experiment."""
    own = own_file(experiment)
    return PARAMS if own is None else own.parent / "params"


def file_layer(path: Path) -> Layer:
    """What a YAML file of parameters says, not yet validated."""
    try:
        content = _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold lines of the form name: value")
    for name in content:
        if not isinstance(name, str):
            raise UserError(f"{path}: {name!r}: a parameter's name must be text")
    return Layer(str(path), content)


def override_layer(text: str, where: str = "--set") -> Layer:
    """What "name=value" says, the value read as YAML, not yet validated."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"{where} {text}: must be name=value")
    try:
        return Layer(where, {name.strip(): _parsed(value)})
    except ValueError as error:
        raise UserError(f"{where} {text}: the value is not valid YAML: {error}") from None


def _parsed(text: str) -> object:
    """YAML's plain data; ValueError in one line where there is none."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None
