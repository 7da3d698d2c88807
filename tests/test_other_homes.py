"""Unknown home directories and foreign kernels: one line that names the right thing, or no difference."""

import json
from pathlib import Path

import nbformat
import pytest

from dglib.campaign.notebooks import execute
from dglib.cli import main


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            ["--base-dir", "~nosuchuser/x"],
            "base_dir = '~nosuchuser/x': no home directory is known for ~nosuchuser",
        ),
        (["--set", "data_dir=~nosuchuser/x"], "data_dir = '~nosuchuser/x'"),
        (["--set", "dataset=~nosuchuser/x.npz"], "dataset = '~nosuchuser/x.npz'"),
        (["--set", r'data_dir="a\0b"'], "no file can have this name"),
    ],
)
def test_a_path_that_cannot_be_is_refused_in_a_line_before_anything_is_written(
    options, named, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    where = [] if "--base-dir" in options else ["--base-dir", "runs"]
    assert main(["run", "T1", "--seeds", "0", *where, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not list(tmp_path.iterdir())


def test_a_notebook_runs_in_our_python_whatever_kernel_a_user_has_installed(tmp_path, monkeypatch):
    foreign = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    foreign.parent.mkdir(parents=True)
    argv = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    foreign.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell("import dglib\nprint(dglib.__file__)")]
    nbformat.write(notebook, tmp_path / "in.ipynb")
    (tmp_path / "out").mkdir()
    execute(tmp_path / "in.ipynb", tmp_path / "out" / "out.ipynb", {})
    import dglib

    assert str(Path(dglib.__file__).parent) in (tmp_path / "out" / "out.ipynb").read_text(encoding="utf-8")
