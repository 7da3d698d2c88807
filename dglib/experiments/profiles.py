"""From a profile, a file and single values to checked parameters, or to a one-line error.

    load_profile("T1", "quick", ["sweep_lr=0.01", "seeds=0-9"])

Every command, grid and notebook layers its values here: profile, then file, then options, a later layer
replacing an earlier one. An error names the layer, the field, its value and what is allowed:

    my.yaml: noise_rate = 1.2: must be at most 0.9
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dglib.base_dir import base_directory
from dglib.errors import UserError
from dglib.experiments import get, own_file
from dglib.experiments.parameters import ALIASES, Parameters

_ROOT = Path(__file__).resolve().parents[2]
PARAMS = _ROOT / "dglib" / "params"
if not PARAMS.is_dir():
    PARAMS = _ROOT / "params"
OPTIONS = ("seeds", "base_dir", "device", "mirror")  # parameters that are options of the commands

Model = TypeVar("Model", bound=BaseModel)

# pydantic's kinds of error, in the words of our messages; {…} is filled from the error's context.
_RULES = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "dict_type": "must hold lines of the form name: value",
    "too_short": "must hold at least one value",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


class Layer(NamedTuple):
    """Some parameters, where they were given (a file, an option), and advice for an unknown name."""

    where: str
    values: Mapping[str, Any]
    advice: str = ""


def load_profile(experiment: str, profile: str = "quick", overrides: Iterable[str] = ()) -> Parameters:
    """The parameters of `experiment` in `profile` ("quick", "paper"), with `overrides` "name=value" in turn.

    Values are read as YAML.

    Raises:
        UserError: one line on what is wrong with the experiment, the profile or a value.
    """
    return validate_layers(experiment, [profile_layer(experiment, profile), *map(override_layer, overrides)])


def profile_layer(experiment: str, profile: str = "quick") -> Layer:
    """An experiment's profile, ``params/<profile>/<experiment>.yaml``, not yet validated.

    For a user's own experiment, `params` is the directory next to its file.
    """
    params, known = directory(experiment), profiles_of(experiment)
    if not known:
        file = own_file(experiment)
        listed = f"`python -m dglib parameters {file.name if file else experiment}` prints one to fill in"
        raise UserError(f"{params}: no {profile}/{experiment}.yaml there: {listed}")
    if profile not in known:
        raise UserError(f"profile = {profile!r}: must be {one_of(known)}")
    where = f"params/{profile}/{experiment}.yaml"
    return file_layer(params / profile / f"{experiment}.yaml")._replace(where=where)


def profiles_of(experiment: str) -> list[str]:
    """The names of an experiment's profiles, "quick" first."""
    profiles = (path.parent.name for path in directory(experiment).glob(f"*/{experiment}.yaml"))
    return sorted(profiles, key=lambda name: (name != "quick", name))


def directory(experiment: str) -> Path:
    """Where the profiles of an experiment lie; UserError for an unknown experiment."""
    own = own_file(experiment)
    return PARAMS if own is None else own.parent / "params"


def file_layer(path: Path) -> Layer:
    """A YAML file of parameters, not yet validated."""
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
    """ "name=value", the value read as YAML, not yet validated."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"{where} {text}: must be name=value")
    try:
        return Layer(where, {name.strip(): _parsed(value)})
    except ValueError as error:
        raise UserError(f"{where} {text}: the value is not valid YAML: {error}") from None


def option_layers(arguments: Any) -> list[Layer]:
    """A command's file, its --set values and its named options, in the order in which they replace others."""
    layers = [] if arguments.file is None else [file_layer(arguments.file)]
    layers += map(override_layer, arguments.set)
    for name in OPTIONS:
        if (value := getattr(arguments, name)) is not None:
            layers.append(Layer(f"--{name.replace('_', '-')}", {name: value}))
    return layers


def by_experiment(layers: Iterable[Layer], experiments: Sequence[str]) -> dict[str, list[Layer]]:
    """The values in `layers` for each experiment: ``EXPERIMENT.name``, or a name that it has.

    Raises:
        UserError: a name that none of them has.
    """
    by_name: dict[str, list[Layer]] = {experiment: [] for experiment in experiments}
    for layer in layers:
        for name, value in layer.values.items():
            owner, dot, field = name.rpartition(".")
            if dot and owner not in experiments:
                raise UserError(f"{layer.where}: {name} = {value!r}: must be of {one_of(experiments)}")
            asked = [owner] if dot else experiments
            known = [one for one in asked if field in get(one).parameters.model_fields]
            if not known:
                reason = _unknown(field, get(asked[0]).parameters) + layer.advice
                raise UserError(f"{layer.where}: {name} = {_shown(value)}: {reason}")
            where = f"{layer.where} {name}" if dot else layer.where
            for experiment in known:
                by_name[experiment].append(layer._replace(where=where, values={field: value}))
    return by_name


def resolve(experiment: str, layers: Sequence[Layer]) -> Parameters:
    """As `validate_layers`; `base_dir` must also be a directory that can be written to."""
    parameters = validate_layers(experiment, layers)
    base_directory(parameters.base_dir, where=source("base_dir", layers).where)
    return parameters


def validate_layers(experiment: str, layers: Sequence[Layer]) -> Parameters:
    """The parameters of an experiment, a later layer's values replacing an earlier one's.

    Raises:
        UserError: one line that names the layer, the field, its value and what is allowed.
    """
    return validate_model(get(experiment).parameters, layers)


def validate_model(model: type[Model], layers: Sequence[Layer]) -> Model:
    """As `validate_layers`, for any model."""
    merged = {name: value for layer in layers for name, value in layer.values.items()}
    for name in merged:
        if not name.isprintable():  # as undecodable bytes of a command
            raise UserError(f"{source(name, layers).where}: {name!r}: must be a parameter's name")
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        # An unknown name first: it often explains why another is missing.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first, missing = problems[0], [problem for problem in problems if problem["type"] == "missing"]
    layer = source(str(first["loc"][0]), layers)
    message = _described(first, model, layer.advice)
    if first["type"] == "missing" and len(missing) > 1:
        *most, last = (str(problem["loc"][0]) for problem in missing)
        message = f"{', '.join(most)} and {last} are missing"
    others = len(problems) - (len(missing) if first["type"] == "missing" else 1)
    raise UserError(f"{layer.where}: {message}{f' (and {others} more)' if others else ''}") from None


def source(field: str, layers: Sequence[Layer]) -> Layer:
    """The last layer that gives `field`, else the first."""
    return next((layer for layer in reversed(layers) if field in layer.values), layers[0])


def one_of(choices: Iterable[str]) -> str:
    """The names as a choice: V3, T1 or T2."""
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last


def _described(problem: ErrorDetails, model: type[BaseModel], advice: str) -> str:
    name, *indices = problem["loc"]
    field = f"{name}{''.join(f'[{i}]' if isinstance(i, int) else f'.{i}' for i in indices)}"
    if problem["type"] == "missing":
        return f"{field} is missing: {model.model_fields[str(name)].description}"
    if problem["type"] == "extra_forbidden":
        rule = f"must be {one_of(model.model_fields)}"
        if issubclass(model, Parameters):
            rule = _unknown(str(name), model) + advice
    else:
        rule = _RULES.get(problem["type"], problem["msg"]).format(**problem.get("ctx", {}))
    return f"{field} = {_shown(problem['input'])}: {rule}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _unknown(name: str, model: type[Parameters]) -> str:
    near = [n for n in [ALIASES.get(name)] if n in model.model_fields] or get_close_matches(
        name, model.model_fields, n=1
    )
    everything = f"`python -m dglib parameters {model.experiment}` lists all"
    hint = f"did you mean {near[0]}?" if near else everything
    return f"{model.experiment} has no such parameter; {hint}"


def _parsed(text: str) -> object:
    """YAML's plain data; ValueError in one line where there is none."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{position}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None
