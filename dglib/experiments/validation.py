"""From what a user gave to a model of parameters, or to one line that says where, what and what is allowed.

Example:

    validate("T1", {"noise_rate": 1.2, ...}, where="my.yaml")
    UserError: my.yaml: noise_rate = 1.2: must be at most 0.9
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dglib.errors import UserError
from dglib.experiments.parameters import RETIRED, Parameters
from dglib.experiments.registry import get

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
    "too_short": "must hold at least one value",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


class Layer(NamedTuple):
    """Some parameters, where they were given (a file, an option), and advice for a name that is none."""

    where: str
    values: Mapping[str, object]
    advice: str = ""


def validate(experiment: str, values: Mapping[str, object], where: str) -> Parameters:
    """The parameters of an experiment that `values` spells out.

    Raises:
        UserError: one line that names `where`, the field, its value and what is allowed.
    """
    return validate_layers(experiment, [Layer(where, values)])


def validate_layers(experiment: str, layers: Sequence[Layer]) -> Parameters:
    """As `validate`, of one or more layers, a later one's values replacing an earlier one's.

    A message names the layer that the wrong value came from.
    """
    model = model_of(experiment)
    layers = [_without_retired(layer) for layer in layers]
    merged = {name: value for layer in layers for name, value in layer.values.items()}
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        # An unknown name first: it often explains why another is missing.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    layer = source(str(problems[0]["loc"][0]), layers)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise UserError(f"{layer.where}: {_told(problems[0], model, layer.advice)}{more}") from None


def _without_retired(layer: Layer) -> Layer:
    """A layer without parameters of the release before, with a line on stderr for each."""
    for name in layer.values.keys() & RETIRED.keys():
        reason = f"has no effect any more ({RETIRED[name]}); the next release refuses it"
        print(f"dglib: warning: {layer.where}: {name} {reason}", file=sys.stderr)
    return layer._replace(values={name: v for name, v in layer.values.items() if name not in RETIRED})


def source(field: str, layers: Sequence[Layer]) -> Layer:
    """Where the value of `field` was given: the last layer that has it, else the first."""
    return next((layer for layer in reversed(layers) if field in layer.values), layers[0])


def model_of(experiment: str) -> type[Parameters]:
    """The model of an experiment's parameters; UserError for an unknown experiment."""
    return get(experiment).parameters


def one_of(names: Iterable[str]) -> str:
    """The names as a choice: V3, T1 or T2."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _told(problem: ErrorDetails, model: type[Parameters], advice: str) -> str:
    name, *indices = problem["loc"]
    field = f"{name}{''.join(f'[{index}]' for index in indices)}"
    if problem["type"] == "missing":
        return f"{field} is missing: {model.model_fields[str(name)].description}"
    rule = _unknown(str(name), model) + advice if problem["type"] == "extra_forbidden" else _rule(problem)
    return f"{field} = {_shown(problem['input'])}: {rule}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _rule(problem: ErrorDetails) -> str:
    return _RULES.get(problem["type"], problem["msg"]).format(**problem.get("ctx", {}))


def _unknown(name: str, model: type[Parameters]) -> str:
    near = get_close_matches(name, model.model_fields, n=1)
    hint = f"did you mean {near[0]}?" if near else f"params/quick/{model.experiment}.yaml lists all"
    return f"{model.experiment} has no such parameter; {hint}"
