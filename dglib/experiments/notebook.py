"""Parameters of a notebook: the cell that shows them, and what its globals() give."""

import ast
import json
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any

from dglib.errors import UserError
from dglib.experiments import get, own_file, own_source
from dglib.experiments.parameters import Parameters, parse_seeds
from dglib.experiments.profiles import Layer, load_profile, profile_layer, profiles_of, resolve
from dglib.runs.identity import MACHINE_SETTINGS, differing

CELL_PROFILE = "quick"  # whose values the parameters cell shows
PROFILES = {
    "quick": "(digits, a minute or two)",
    "small": "(a fifth of CIFAR-10, for one Colab GPU)",
    "paper": "(as published)",
}
PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
IPYTHON = frozenset({"In", "Out", "exit", "quit"})


def notebook_parameters(experiment: str, globals_: Mapping[str, object]) -> Parameters:
    """The parameters of `experiment` that a notebook's globals() give, over those of its ``profile``.

    Under another profile than quick, which the parameters cell shows, a value that still is the cell's
    default gives way to the profile's; one set in a cell of its own, as papermill does, never does. Any other
    global of plain data that is no parameter is refused, since papermill lets a misspelt one become just
    that; a name that begins with ``_`` is the notebook's own.

    Raises:
        UserError: one line on what is wrong.
    """
    fields = get(experiment).parameters.model_fields
    refuse_replaced([*fields, "profile"], globals_)
    given = {name: value for name, value in globals_.items() if name in fields or is_data(name, value)}
    profile = given.pop("profile", None)
    layers = [Layer("notebook", given, advice="; begin a name of your own with _")]
    if profile is not None:
        layers.insert(0, profile_layer(experiment, str(profile)))
    if profile not in (None, CELL_PROFILE):
        defaults, (explicit, _) = _cell_values(experiment), _history(globals_)
        for name in defaults.keys() & given.keys() - explicit:
            if given[name] == defaults[name]:
                del given[name]
        changed = ", ".join(f"{name} = {value!r}" for name, value in given.items())
        print(f"{experiment}: profile {profile}" + (f", except {changed}" if changed else ""))
    return resolve(experiment, layers)


def injected(parameters: Parameters, profile: str) -> dict[str, object]:
    """What a notebook is given so that `notebook_parameters` returns `parameters`: what differs."""
    base = load_profile(parameters.experiment, profile)
    changed = {name: now for name, (_, now) in differing(dict(base), dict(parameters)).items()}
    return ({} if profile == CELL_PROFILE else {"profile": profile}) | changed


def refuse_replaced(names: Collection[str], globals_: Mapping[str, object]) -> None:
    """Refuse parameters that were set before the defaults were, on the kernel's first execution.

    So papermill does where the defaults' cell has lost its tag, or where another copy of it follows.

    Args:
        names: of the notebook's parameters.

    Raises:
        UserError: names the parameters whose values were replaced by defaults.
    """
    _, replaced = _history(globals_)
    if lost := [name for name in replaced if name in names]:
        raise UserError(
            f"notebook: {', '.join(lost)}: set above the cell of defaults, which replaced the value, as"
            " papermill does where that cell has lost its tag 'parameters': add the tag, or take the notebook"
            " from the repository"
        )


def notebook_paths(what: str, names: Sequence[str], globals_: Mapping[str, object]) -> list[str | None]:
    """The paths that a notebook's globals() give under `names`, its only parameters; `what`: it shows.

    Raises:
        UserError: a wrong value, or another global of plain data, as papermill makes of a misspelt name.
    """
    refuse_replaced(names, globals_)
    for name, value in globals_.items():
        if name not in names and is_data(name, value):
            raise UserError(
                f"notebook: {name} = {value!r}: {what} has no such parameter, only {' and '.join(names)};"
                " begin a name of your own with _"
            )
    given: list[str | None] = []
    for name in names:
        value = globals_.get(name)
        if value is not None and not (isinstance(value, str) and value):
            raise UserError(f"notebook: {name} = {value!r}: must be text, a path")
        given.append(value)
    return given


def _history(globals_: Mapping[str, object]) -> tuple[set[str], list[str]]:
    """The names whose value was set in a cell, and of these those that a default replaced.

    Defaults differ from other values by their annotations. A shell without a history has neither. A cell that
    is executed a second time ("Run all" again) replaces nothing.
    """
    history = globals_.get("In")
    *cells, current = history if isinstance(history, list) and history else [""]
    given: set[str] = set()
    replaced: dict[str, None] = {}
    for text in cells:
        values, defaults = _assigned(text)
        replaced |= dict.fromkeys(name for name in defaults if name in given)
        given = (given | values).difference(defaults)
        for name in values:
            replaced.pop(name, None)
    return given, [] if current in cells else list(replaced)


def _assigned(source_text: object) -> tuple[set[str], list[str]]:
    """The names that a cell assigns without and with annotations."""
    try:
        body = ast.parse(str(source_text)).body
    except SyntaxError:
        return set(), []
    targets = [target for line in body if isinstance(line, ast.Assign) for target in line.targets]
    annotated = [line.target for line in body if isinstance(line, ast.AnnAssign)]
    values = {target.id for target in targets if isinstance(target, ast.Name)}
    return values, [target.id for target in annotated if isinstance(target, ast.Name)]


def is_data(name: str, value: object) -> bool:
    """Whether a global is plain data that a notebook's reader may have taken for a parameter."""
    return isinstance(value, PLAIN) and not name.startswith("_") and name not in IPYTHON


def parameters_cell(experiment: str) -> str:
    """The source of a notebook's `parameters` cell: the profile and what a researcher changes, by heading.

    Plain annotations only, one parameter a line, so that papermill can list them with their meanings.
    """
    fields, values = get(experiment).parameters.model_fields, _cell_values(experiment)
    (_, first), *groups = cell_groups(get(experiment).parameters).items()
    known = ", ".join(f"{name} {PROFILES.get(name, '')}".rstrip() for name in profiles_of(experiment))
    lines = [
        "# A value left as it is follows the profile. `python -m dglib parameters "
        f"{experiment}` lists every other parameter: set it in a line of its own.",
        f"profile: str = {CELL_PROFILE!r}  # {known}.",
    ]
    for heading, names in [("", first), *groups]:
        lines += [f"# {heading}"] * bool(heading)
        for name in names:
            value, field = values[name], fields[name]
            kind = type(value).__name__
            if value is None:
                kind = "float" if "float" in str(field.annotation) else "str"
            lines.append(f"{name}: {kind} = {value!r}  # {field.description}")
    return "\n".join(lines)


def _cell_values(experiment: str) -> dict[str, object]:
    """The values in the parameters cell: those of the quick profile, or the defaults."""
    quick, fields = profile_layer(experiment, CELL_PROFILE).values, get(experiment).parameters.model_fields
    names = [name for group in cell_groups(get(experiment).parameters).values() for name in group]
    values = {n: quick[n] if n in quick else fields[n].get_default(call_default_factory=True) for n in names}
    return values | {"seeds": parse_seeds(values["seeds"])}


def cell_groups(model: type[Parameters]) -> dict[str, list[str]]:
    """The fields that a notebook's parameters cell shows, by heading."""
    groups: dict[str, list[str]] = {}
    seen: set[str] = set()
    for base in reversed(model.__mro__):
        if not issubclass(base, Parameters):
            continue
        own = [name for name in base.model_fields if name not in seen]
        seen.update(own)
        for heading, names in base.__dict__.get("in_cell", {"Experiment": " ".join(own)}).items():
            groups.setdefault(heading, []).extend(names.split())
    return {heading: names for heading, names in groups.items() if names}


def notebook_source(experiment: str) -> str:
    """A notebook for an experiment that has none, as the text of an .ipynb file."""
    v4: Any = import_module("nbformat.v4")  # of papermill, and without types
    about, source = get(experiment), own_source(experiment)
    run = f'import dglib\n\nrun = dglib.run(dglib.notebook_parameters("{experiment}", globals()))'
    about_cell = f"# {about.symbol}: {about.title}\n\n{about.question}\n\n{about.counts}".rstrip()
    cells = [
        v4.new_markdown_cell(about_cell),
        *([v4.new_code_cell(f"from dglib.experiments import load\n\nload({source!r})")] if source else []),
        v4.new_code_cell(parameters_cell(experiment), metadata={"tags": ["parameters"]}),
        *map(v4.new_code_cell, (run, "run.answer()", "run.show()")),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return str(v4.writes(v4.new_notebook(cells=cells, metadata=metadata)))


def listing(experiment: str, profile: str) -> str:
    """Every parameter with its value in a profile, its meaning and its range, as YAML.

    Of a user's own experiment without a profile yet: one to fill in, with the defaults.
    """
    model = get(experiment).parameters
    if own_file(experiment) is None or profiles_of(experiment):
        values = dict(load_profile(experiment, profile))
    else:
        fields = model.model_fields.items()
        values = {n: f.get_default(call_default_factory=True) for n, f in fields if not f.is_required()}
    groups = cell_groups(model)
    named = {name for group in groups.values() for name in group}
    groups["Not in the notebook"] = [n for n in model.model_fields if n not in named | MACHINE_SETTINGS]
    groups["Machine settings"] = [n for n in model.model_fields if n in MACHINE_SETTINGS - named]
    lines = [f"# {experiment}, profile {profile}"]
    for heading, names in groups.items():
        lines += ["", f"# {heading}"]
        for name in names:
            about = model.model_fields[name].description
            value = json.dumps(values.get(name), ensure_ascii=False)
            lines.append(f"{name}: {value}  # {about}" if name in values else f"# {name}:  # {about}")
    return "\n".join(lines)
