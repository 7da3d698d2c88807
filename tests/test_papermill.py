"""papermill by hand: its command line, from any directory, on each notebook."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbclient import NotebookClient
from nbformat import NotebookNode
from papermill import execute_notebook
from papermill.cli import papermill as command
from papermill.exceptions import PapermillExecutionError

from dglib.base_dir import NOTEBOOKS
from dglib.cli import main
from dglib.experiments.profiles import PARAMS

OTHERS = ("Hysteresis_report", "Lambda_explorer")


def papermill(cwd: Path, notebook: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What a user types in `cwd`: papermill NOTEBOOK out.ipynb WORDS."""
    patient = ["--no-progress-bar", "--start-timeout", "300"]  # for a kernel on a loaded machine
    given = [str(NOTEBOOKS / f"{notebook}.ipynb"), "out.ipynb", *words, *patient]
    return subprocess.run(
        [sys.executable, "-m", "papermill", *given], cwd=cwd, capture_output=True, text=True
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The line with which a notebook was stopped."""
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def help_of(notebook: str) -> str:
    done = CliRunner().invoke(command, ["--help-notebook", str(NOTEBOOKS / f"{notebook}.ipynb")])
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("notebook", OTHERS)
def test_help_notebook_explains_the_parameters_of_notebooks_that_train_nothing(notebook: str) -> None:
    shown = help_of(notebook).partition("Parameters inferred for notebook")[2]
    assert "base_dir: str (default None)" in shown
    meaning = "Where the run directories lie; null: the Drive folder on Colab, elsewhere runs in the project."
    assert meaning in " ".join(shown.split())


@pytest.mark.slow
def test_a_file_and_single_values_run_a_notebook_from_any_directory_and_leave_results_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "network_width: 0.25\ninit_epochs: 2\ninit_error_min: 0.0\nepochs_per_level: 1\nlr: 1e-1\n"
    )
    values = {"seeds": "[3]", "sweep_lambdas": "[0.5]", "exact": "true", "base_dir": "my runs"}
    single = [word for name, value in values.items() for word in ("-p", name, value)]
    done = papermill(tmp_path, "T2_spinodal", "-f", "mine.yaml", *single)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "my runs", "out.ipynb"}
    (record,) = tmp_path.glob("my runs/exp_T_spinodal_*/seeds/*")
    assert record.name == "T2-spinodal-003.json"
    outputs = [
        output.get("text", "")
        for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    assert any("T2: of 1 seed, 1 showed no recovery down to 0.50" in text for text in outputs)
    assert sum("made by dglib" in text for text in outputs) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [("noise_rat", "0.3", None), ("sweep_lambdas", "[0.5, 0.6]", "each value must be below the one before")],
)
def test_what_is_wrong_beside_a_profiles_file_is_told_in_the_commands_own_words(
    name: str, value: str, rule: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(PARAMS / "paper" / "T2.yaml")
    line = refused(papermill(tmp_path, "T2_spinodal", "-f", file, "-p", "seeds", "[3]", "-p", name, value))
    assert main(["run", "T2", "--file", file, "--set", f"{name}={value}"]) == 2
    told = capsys.readouterr().err.strip().removeprefix("dglib: error: --set: ")
    assert line.removeprefix("UserError: notebook: ").startswith(
        told.replace(value, repr(value), 1) if rule else told
    )
    assert rule is None or rule in line
    assert {path.name for path in tmp_path.iterdir()} == {"out.ipynb"}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", OTHERS)
def test_a_name_that_is_no_parameter_stops_the_notebooks_that_train_nothing_too(
    notebook: str, tmp_path: Path
) -> None:
    line = refused(papermill(tmp_path, notebook, "-p", "bas_dir", "runs"))
    assert line.startswith("UserError: notebook: bas_dir = 'runs': ")


def to_the_check(notebook: str, *changes: Callable[[NotebookNode, int], object]) -> NotebookNode:
    """A notebook up to the cell that checks its parameters, changed at the cell of defaults."""
    read = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    (at,) = [n for n, cell in enumerate(read.cells) if "parameters" in cell.metadata.get("tags", [])]
    checks = next(n for n, cell in enumerate(read.cells[at + 1 :], at + 1) if "globals()" in cell.source)
    read.cells = read.cells[: checks + 1]
    for change in changes:
        change(read, at)
    return read


def strip_the_tag(notebook: NotebookNode, at: int) -> None:
    notebook.cells[at].metadata["tags"] = []


def repeat_the_cell(notebook: NotebookNode, at: int) -> None:
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(notebook.cells[at].source))


@pytest.mark.parametrize(
    ("notebook", "change", "given"),
    [
        ("T2_spinodal", strip_the_tag, {"seeds": "[7]", "lr": 0.2}),
        ("T2_spinodal", repeat_the_cell, {"seeds": "[7]", "lr": 0.2}),
        ("Hysteresis_report", strip_the_tag, {"base_dir": "mine"}),
    ],
)
def test_values_that_papermill_could_only_put_above_the_defaults_are_refused_by_name(
    notebook: str, change: Callable[[NotebookNode, int], object], given: dict[str, object], tmp_path: Path
) -> None:
    nbformat.write(to_the_check(notebook, change), tmp_path / "in.ipynb")
    with pytest.raises(PapermillExecutionError) as caught:
        execute_notebook(
            str(tmp_path / "in.ipynb"), None, given, cwd=str(tmp_path), progress_bar=False, start_timeout=300
        )
    assert caught.value.ename == "UserError"
    assert caught.value.evalue.startswith(f"notebook: {', '.join(given)}: set above the cell of defaults")


def test_run_all_a_second_time_in_one_kernel_is_no_error(tmp_path: Path) -> None:
    client = NotebookClient(to_the_check("T2_spinodal"), resources={"metadata": {"path": str(tmp_path)}})
    with client.setup_kernel():
        for _ in range(2):
            for number, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, number)
