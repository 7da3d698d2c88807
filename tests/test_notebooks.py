"""The experiments' notebooks: their cells, their parameters, and executions by papermill."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import pytest
from by_name import MODELS, NAMES
from papermill.exceptions import PapermillExecutionError
from update_notebooks import write_paired

from dglib.base_dir import NOTEBOOKS
from dglib.errors import UserError
from dglib.experiments.notebook import injected, notebook_parameters, parameters_cell
from dglib.experiments.profiles import load_profile

every_notebook = pytest.mark.parametrize("experiment", MODELS)


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def cell_of(experiment):
    """The globals after the parameters cell."""
    found: dict[str, Any] = {}
    exec(parameters_cell(experiment), found)
    return {name: value for name, value in found.items() if not name.startswith("__")}


@every_notebook
def test_a_notebook_is_what_its_script_gives_without_outputs_and_holds_no_logic(experiment, tmp_path):
    script = NOTEBOOKS / f"{NAMES[experiment]}.py"
    copy = Path(shutil.copy(script, tmp_path))
    write_paired(copy)
    assert copy.with_suffix(".ipynb").read_bytes() == script.with_suffix(".ipynb").read_bytes()
    notebook = read(NAMES[experiment])
    nbformat.validate(notebook)
    assert jupytext.read(script).metadata.kernelspec.name == notebook.metadata.kernelspec.name == "python3"
    _colab, parameters, *cells = code(notebook)
    assert (parameters.metadata.tags, parameters.source) == (["parameters"], parameters_cell(experiment))
    assert all((cell.outputs, cell.execution_count) == ([], None) for cell in code(notebook))
    statements = [ast.unparse(line) for cell in cells for line in ast.parse(cell.source).body]
    assert statements == [
        "import dglib",
        f"run = dglib.run(dglib.notebook_parameters({experiment!r}, globals()))",
        "run.answer()",
        "run.show()",
        *(["run.width()"] if experiment in ("T1", "T2") else []),
    ]


@every_notebook
def test_the_cell_shows_the_quick_profile_which_papermill_lists(experiment, capsys):
    cell, fields = cell_of(experiment), MODELS[experiment].model_fields
    listed = papermill.inspect_notebook(NOTEBOOKS / f"{NAMES[experiment]}.ipynb")
    assert list(listed)[:2] == ["profile", "seeds"]
    assert len(listed) <= 20
    for name, parameter in list(listed.items())[1:]:
        assert parameter["help"] == fields[name].description
        assert parameter["inferred_type_name"] in {"bool", "int", "float", "str", "list"}
        assert ast.literal_eval(parameter["default"]) == cell[name]
    assert notebook_parameters(experiment, cell) == load_profile(experiment)
    assert capsys.readouterr().out == ""
    paper = notebook_parameters(experiment, cell | {"profile": "paper", "lr": 0.3, "threads": 2})
    assert paper == load_profile(experiment, "paper", ["lr=0.3", "threads=2"])
    assert capsys.readouterr().out == f"{experiment}: profile paper, except lr = 0.3, threads = 2\n"


@pytest.mark.parametrize("profile", ["quick", "small", "paper"])
@every_notebook
def test_what_is_injected_is_what_differs_and_gives_the_same_parameters(experiment, profile):
    quick = cell_of(experiment)
    asked = load_profile(experiment, profile, [f"batch_size={quick['batch_size']}", "device=cpu", "lr=0.3"])
    given = injected(asked, profile)
    assert given.keys() <= {"profile", "batch_size", "device", "lr"}
    history = ["", parameters_cell(experiment), "\n".join(f"{k} = {v!r}" for k, v in given.items()), "check"]
    assert notebook_parameters(experiment, quick | given | {"In": history}) == asked


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"noise_rat": [1]},
            "notebook: noise_rat = [1]: T1 has no such parameter; did you mean noise_rate?"
            "; begin a name of your own with _",
        ),
        ({"noise_rate": 1.2}, "notebook: noise_rate = 1.2: must be at most 0.9"),
        ({"lr": len}, "notebook: lr = <built-in function len>: must be a number"),
        ({"profile": "fast"}, "profile = 'fast': must be quick, paper or small"),
        ({"base_dir": "/dev/null/x"}, "notebook: base_dir = '/dev/null/x': must be a directory to write in"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(given, line):
    with pytest.raises(UserError) as caught:
        notebook_parameters("T1", cell_of("T1") | given)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        (["lr = 0.2", "lr: float = 0.1", "check"], True),
        (["lr: float = 0.1", "lr = 0.2", "check"], False),
        (["lr: float = 0.1", "lr = 0.2", "lr: float = 0.1", "check"], True),  # a second cell of defaults
        (["lr = 0.2", "lr: float = 0.1", "lr = 0.3", "check"], False),
        (["%%magic", "mine = 0.2", "mine: float = 0.1", "check"], False),
        (["lr: float = 0.1", "lr = 0.2", "check", "lr: float = 0.1", "check"], False),  # "Run all" again
    ],
)
def test_a_value_that_the_cell_of_defaults_replaced_is_refused_on_the_first_execution(cells, refused):
    given = {"profile": "quick", "lr": 0.1, "In": ["", *cells]}
    if not refused:
        notebook_parameters("T1", given)
        return
    with pytest.raises(UserError, match=r"^notebook: lr: set above the cell of defaults, which replaced"):
        notebook_parameters("T1", given)


def test_values_that_papermill_could_only_put_above_the_defaults_stop_the_notebook_in_one_line(tmp_path):
    notebook = read("T2_spinodal")
    for cell in notebook.cells:
        cell.metadata["tags"] = []  # of the defaults
    checks = next(n for n, cell in enumerate(notebook.cells) if "globals()" in cell.source)
    notebook.cells = notebook.cells[: checks + 1]
    before, after = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    nbformat.write(notebook, before)
    given = {"seeds": "[7]", "lr": 0.2}
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            before, after, given, kernel_name="python3", progress_bar=False, cwd=tmp_path, start_timeout=300
        )
    assert caught.value.ename == "UserError"
    assert caught.value.evalue.startswith("notebook: seeds, lr: set above the cell of defaults")
    stopped = next(cell for cell in code(nbformat.read(after, 4)) if "globals()" in cell.source)
    (error,) = stopped.outputs
    assert error.traceback == [f"UserError: {caught.value.evalue}"]


@pytest.mark.slow
def test_a_file_and_single_values_run_a_notebook_from_any_directory_and_leave_results_there(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "network_width: 0.25\ninit_epochs: 2\ninit_error_min: 0.0\nepochs_per_level: 1\nlr: 1e-1\n"
    )
    values = {"seeds": "[3]", "sweep_lambdas": "[0.5]", "exact": "true", "base_dir": "my runs"}
    single = [word for name, value in values.items() for word in ("-p", name, value)]
    notebook = str(NOTEBOOKS / "T2_spinodal.ipynb")
    command = [sys.executable, "-m", "papermill", notebook, "out.ipynb", "-f", "mine.yaml", *single]
    patient = ["--no-progress-bar", "--start-timeout", "300"]
    done = subprocess.run([*command, *patient], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "my runs", "out.ipynb"}
    (directory,) = tmp_path.glob("my runs/exp_T_spinodal_*")
    assert [path.name for path in (directory / "seeds").iterdir()] == ["T2-spinodal-003.json"]
    figures = {path.name for path in (directory / "figures").iterdir()}
    assert figures == {"T2-spinodal_analysis.png", "T2-spinodal_analysis.pdf"}
    *_, run, answer, shown, width = code(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    printed = "".join(output.get("text", "") for output in run.outputs)
    assert f"new directory {directory.name} in {tmp_path / 'my runs'}\n" in printed
    assert printed.count("made by dglib") == 1
    assert [list(output.data) for output in shown.outputs] == [["image/png", "text/plain"]]
    assert "<td" in answer.outputs[0].data["text/html"]
    assert "T2, 1 seed: not recovered 1" in answer.outputs[0].data["text/plain"]
    assert "No width yet: T1 has no finished seed" in width.outputs[0].data["text/plain"]
