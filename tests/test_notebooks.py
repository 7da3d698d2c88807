"""The notebooks: what stands in them, and one of them executed."""

import ast
import shutil
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
from dglib.experiments.notebook import parameters_cell

TINY: dict[str, Any] = {
    "seeds": "1",
    "network_width": 0.25,
    "init_epochs": 2,
    "init_error_min": 0.0,
    "epochs_per_level": 1,
    "sweep_lambdas": [0.5, 0.4],
}

every_notebook = pytest.mark.parametrize("experiment", MODELS)


def read(experiment: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{NAMES[experiment]}.ipynb", as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(tmp_path: Path, **parameters: Any) -> nbformat.NotebookNode:
    """T2, executed from another directory; the executed copy is kept where execution failed, too."""
    given = TINY | {"base_dir": "my runs"} | parameters
    source = NOTEBOOKS / "T2_spinodal.ipynb"
    return papermill.execute_notebook(
        source, tmp_path / "out.ipynb", given, kernel_name="python3", progress_bar=False, cwd=tmp_path,
        start_timeout=300,
    )  # fmt: skip


def test_there_is_one_notebook_for_each_experiment_one_for_all_and_an_explorer_and_each_is_a_pair() -> None:
    names = [*(NAMES[experiment] for experiment in MODELS), "Hysteresis_report", "Lambda_explorer"]
    expected = {f"{name}.{kind}" for name in names for kind in ("py", "ipynb")}
    assert {path.name for path in NOTEBOOKS.iterdir() if path.is_file()} == expected


@every_notebook
def test_the_parameters_cell_lists_every_field_with_the_quick_profiles_value(experiment: str) -> None:
    tagged = [cell for cell in read(experiment).cells if "parameters" in cell.metadata.get("tags", [])]
    assert [cell.source for cell in tagged] == [parameters_cell(experiment)]
    assert tagged[0].cell_type == "code"


@every_notebook
def test_the_ipynb_is_what_its_script_gives_byte_for_byte(experiment: str, tmp_path: Path) -> None:
    script = NOTEBOOKS / f"{NAMES[experiment]}.py"
    copy = Path(shutil.copy(script, tmp_path))
    write_paired(copy)
    assert copy.with_suffix(".ipynb").read_bytes() == script.with_suffix(".ipynb").read_bytes()
    ours, theirs = jupytext.read(script), read(experiment)
    assert [(c.cell_type, c.source) for c in ours.cells] == [(c.cell_type, c.source) for c in theirs.cells]


@every_notebook
def test_a_notebook_is_valid_holds_no_outputs_and_names_its_kernel(experiment: str) -> None:
    notebook = read(experiment)
    nbformat.validate(notebook)
    assert [(cell.outputs, cell.execution_count) for cell in code(notebook)] == [([], None)] * len(
        code(notebook)
    )
    kernel = notebook.metadata.kernelspec
    assert (kernel.name, kernel.language) == ("python3", "python")


@every_notebook
def test_papermill_lists_every_parameter_with_its_meaning_and_value(experiment: str) -> None:
    listed = papermill.inspect_notebook(NOTEBOOKS / f"{NAMES[experiment]}.ipynb")
    fields = {n: field for n, field in MODELS[experiment].model_fields.items() if n != "keep_states"}
    assert list(listed) == list(fields)
    for name, field in fields.items():
        assert field.description
        assert listed[name]["help"] == field.description
        assert listed[name]["inferred_type_name"] in {"bool", "int", "float", "str", "list"}
        ast.literal_eval(listed[name]["default"])


@every_notebook
def test_a_notebook_holds_no_logic(experiment: str) -> None:
    _colab, _parameters, *cells = code(read(experiment))
    statements = [ast.unparse(line) for cell in cells for line in ast.parse(cell.source).body]
    assert statements == [
        "import dglib",
        f"parameters = dglib.notebook_parameters({experiment!r}, globals())",
        "run = dglib.run(parameters)",
        "run.show()",
        "print(run.answer())",
        *(["print(run.width())"] if experiment in ("T1", "T2") else []),
    ]


@every_notebook
def test_each_figure_is_followed_by_how_to_read_it_and_the_question_says_what_an_answer_is(
    experiment: str,
) -> None:
    cells = read(experiment).cells
    (shown,) = [number for number, cell in enumerate(cells) if cell.source == "run.show()"]
    assert cells[shown + 1].source.startswith("**How to read it.**")
    assert cells[0].source.splitlines()[0].endswith("?")
    assert "**What counts as an answer:**" in cells[0].source


@pytest.mark.slow
def test_papermill_executes_a_notebook_anywhere_into_an_answer_and_a_run_directory(tmp_path: Path) -> None:
    executed = execute(tmp_path)
    *_, run, shown, answer, width = code(executed)
    printed = [output.text for output in answer.outputs]
    assert len(printed) == 1
    assert printed[0].startswith("T2: of 1 seed, ")
    assert "Dwell time: 1 epochs per level; LR: 0.1 (constant)." in printed[0]
    shapes = [list(output.data) for output in shown.outputs]
    assert shapes == [["image/png", "text/plain"]]

    (directory,) = tmp_path.joinpath("my runs").glob("exp_T_spinodal_*")
    said = "".join(output.get("text", "") for output in run.outputs)
    assert f"new directory {directory.name} in {tmp_path / 'my runs'}\n" in said
    assert "No width yet: T1 has no finished seed" in width.outputs[0].text
    assert [path.name for path in directory.joinpath("seeds").iterdir()] == ["T2-spinodal-001.json"]
    figures = {path.name for path in directory.joinpath("figures").iterdir()}
    assert figures == {"T2-spinodal_analysis.png", "T2-spinodal_analysis.pdf"}
    assert {path.name for path in tmp_path.iterdir()} == {"my runs", "out.ipynb"}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"noise_rat": 0.3},
            "notebook: noise_rat = 0.3: T2 has no such parameter; did you mean noise_rate?"
            "; begin a name of your own with _",
        ),
        ({"init_lambda": 1.5}, "notebook: init_lambda = 1.5: must be at most 1"),
    ],
)
def test_bad_input_stops_the_first_cell_in_one_line_without_a_traceback_and_writes_nothing(
    wrong: dict[str, Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(PapermillExecutionError) as caught:
        execute(tmp_path, **wrong)
    assert (caught.value.ename, caught.value.evalue) == ("UserError", line)

    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    *before, stopped, after, _, _, _ = [cell for cell in code(executed) if not _papermills_own(cell)]
    tags = [cell.metadata.get("tags", []) for cell in before]
    assert tags == [[], ["parameters"], ["injected-parameters"]]
    assert "dglib.notebook_parameters" in stopped.source
    (error,) = stopped.outputs
    assert (error.output_type, error.traceback) == ("error", [f"UserError: {line}"])
    assert (after.execution_count, after.outputs) == (None, [])
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]


def _papermills_own(cell: nbformat.NotebookNode) -> bool:
    return "papermill-error-cell-tag" in cell.metadata.get("tags", [])
