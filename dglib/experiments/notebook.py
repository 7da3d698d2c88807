"""What a notebook needs besides the experiment: its parameters, checked."""

import ast
import json
from collections.abc import Collection, Mapping

from dglib.base_dir import base_directory
from dglib.errors import UserError
from dglib.experiments import get
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import profile_layer
from dglib.experiments.seeds import parse_seeds
from dglib.experiments.validation import Layer, model_of, source, validate_layers

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
    refuse_replaced([*fields, "profile"], globals_)
    given = {name: value for name, value in globals_.items() if name in fields or is_data(name, value)}
    profile = given.pop("profile", None)
    layers = [Layer("notebook", given, advice="; begin a name of your own with _")]
    if profile is not None:
        layers.insert(0, profile_layer(experiment, str(profile)))
    parameters = validate_layers(experiment, layers)
    base_directory(parameters.base_dir, where=source("base_dir", layers).where)
    return parameters


def refuse_replaced(names: Collection[str], globals_: Mapping[str, object]) -> None:
    """Refuse parameters that were set before the defaults were, on the kernel's first execution.

    So papermill does where the defaults' cell has lost its tag, or where another copy of it follows. The
    defaults are told from other values by their annotations; where a shell keeps no history nothing is seen.

    Args:
        names: of the notebook's parameters.

    Raises:
        UserError: names the parameters whose values were replaced by defaults.
    """
    history = globals_.get("In")
    *cells, current = history if isinstance(history, list) and history else [""]
    if current in cells:  # "Run all" a second time
        return
    given: set[str] = set()
    replaced: dict[str, None] = {}
    for source_text in cells:
        values, defaults = _assigned(source_text)
        replaced |= dict.fromkeys(name for name in defaults if name in given and name in names)
        given |= values
        for name in values:
            replaced.pop(name, None)
    if replaced:
        raise UserError(
            f"notebook: {', '.join(replaced)}: set above the cell of defaults, which replaced the value, as"
            " papermill does where that cell has lost its tag 'parameters': add the tag, or take the notebook"
            " from the repository"
        )


def _assigned(source_text: object) -> tuple[set[str], list[str]]:
    """The names that a cell assigns without and with annotations."""
    try:
        body = ast.parse(str(source_text)).body
    except SyntaxError:
        return set(), []
    targets = [target for line in body if isinstance(line, ast.Assign) for target in line.targets]
    annotated = [line.target for line in body if isinstance(line, ast.AnnAssign)]
    values = {each.id for each in targets if isinstance(each, ast.Name)}
    return values, [each.id for each in annotated if isinstance(each, ast.Name)]


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
        if name == "keep_states":
            continue
        value = quick[name] if name in quick else field.get_default(call_default_factory=True)
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


def notebook_source(experiment: str) -> str:
    """A notebook for an experiment that has none, as the text of an .ipynb file."""
    about = get(experiment)
    run = f'import dglib\n\nparameters = dglib.notebook_parameters("{experiment}", globals())'
    cells = [
        ("markdown", f"# {about.symbol}: {about.title}\n\n{about.question}\n\n{about.counts}".rstrip(), []),
        ("code", parameters_cell(experiment), ["parameters"]),
        ("code", run, []),
        ("code", "run = dglib.run(parameters)", []),
        ("code", "run.show()", []),
        ("code", "print(run.answer())", []),
    ]
    code: dict[str, object] = {"execution_count": None, "outputs": []}
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": kind,
                    "id": str(index),
                    "metadata": {"tags": tags} if tags else {},
                    "source": text,
                }
                | (code if kind == "code" else {})
                for index, (kind, text, tags) in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        ensure_ascii=False,
    )
