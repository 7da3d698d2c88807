"""What a notebook needs besides the experiment: its parameters, checked."""

from collections.abc import Mapping

from dglib.base_dir import base_directory
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import profile_layer
from dglib.experiments.validation import Layer, model_of, source, validate_layers
from dglib.seeds import parse_seeds

PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
IPYTHON = frozenset({"In", "Out", "exit", "quit"})


def notebook_parameters(experiment: str, globals_: Mapping[str, object]) -> Parameters:
    """The parameters of `experiment` that a notebook's globals() give.

    Where there is a global ``profile`` ("quick", "paper"), its values stand in for those not given. Any other
    global of plain data that is no parameter is refused, since papermill lets a misspelt one become just
    that; a name that begins with ``_`` is the notebook's own.

    Raises:
        UserError: one line on what is wrong.
    """
    fields = model_of(experiment).model_fields
    given = {name: value for name, value in globals_.items() if name in fields or is_data(name, value)}
    profile = given.pop("profile", None)
    layers = [Layer("notebook", given, advice="; begin a name of your own with _")]
    if profile is not None:
        layers.insert(0, profile_layer(experiment, str(profile)))
    parameters = validate_layers(experiment, layers)
    base_directory(parameters.base_dir, where=source("base_dir", layers).where)
    return parameters


def is_data(name: str, value: object) -> bool:
    """Whether a global is plain data that a notebook's reader may have taken for a parameter."""
    return isinstance(value, PLAIN) and not name.startswith("_") and name not in IPYTHON


def parameters_cell(experiment: str) -> str:
    """The source of a notebook's `parameters` cell: every field of the model with the quick profile's value.

    Plain annotations only, one parameter a line, so that papermill can list them with their meanings.
    """
    quick = profile_layer(experiment, "quick").values
    lines = []
    for name, field in model_of(experiment).model_fields.items():
        value = quick[name]
        kind = _ANNOTATIONS.get(name) or type(value).__name__
        if name == "seeds":
            value, kind = parse_seeds(value), "list"
        lines.append(f"{name}: {kind} = {value!r}  # {field.description}")
    return "\n".join(lines)


# Where the quick profile's value is None, or a whole number that may be a fraction elsewhere.
_ANNOTATIONS = {
    "pixel_mean": "list",
    "pixel_std": "list",
    "sweep_lr": "float",
    "base_dir": "str",
    "data_dir": "str",
    "work_dir": "str",
}
