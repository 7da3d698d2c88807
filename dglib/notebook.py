"""What a notebook needs besides the experiment: its parameters, checked."""

from collections.abc import Mapping

from dglib.base_dir import base_directory
from dglib.params import Parameters
from dglib.profiles import profile_layer
from dglib.validation import Layer, model_of, source, validate_layers

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
    given = {name: value for name, value in globals_.items() if name in fields or _is_data(name, value)}
    profile = given.pop("profile", None)
    layers = [Layer("notebook", given, advice="; begin a name of your own with _")]
    if profile is not None:
        layers.insert(0, profile_layer(experiment, str(profile)))
    parameters = validate_layers(experiment, layers)
    base_directory(parameters.base_dir, where=source("base_dir", layers).where)
    return parameters


def _is_data(name: str, value: object) -> bool:
    return isinstance(value, PLAIN) and not name.startswith("_") and name not in IPYTHON
