"""The command line: layers of parameters, exit statuses, and the list of parameters."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from by_name import MODELS

from dglib.cli import main
from dglib.errors import UserError
from dglib.experiments.profiles import Layer, load_profile, validate_layers
from dglib.files import to_json


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The parameters of runs, by a stand-in for `dglib.campaign.run` which raises `run.failure`."""
    monkeypatch.chdir(tmp_path)
    module, seen = ModuleType("dglib.campaign.run"), SimpleNamespace(parameters=None, failure=None)

    def stand_in(parameters, start_from=None):
        seen.parameters = parameters
        if seen.failure is not None:
            raise seen.failure
        figures = [Path("runs/x/figures/a.png"), Path("runs/x/figures/a.pdf")]
        return SimpleNamespace(answer=lambda: "It collapsed.", directory=Path("runs/x"), figures=figures)

    module.run = stand_in
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


def test_a_run_prints_the_answer_and_its_files(run, capsys):
    assert main(["run", "Td1", "--profile", "paper"]) == 0
    assert run.parameters == load_profile("Td1", "paper")
    out, err = capsys.readouterr()
    figures = [f"figure: runs/x/figures/a.{kind}" for kind in ("png", "pdf")]
    assert out.splitlines() == ["It collapsed.", "records: runs/x", *figures]
    assert err == ""


def test_an_option_replaces_set_which_replaces_the_file_which_replaces_the_profile(run):
    Path("my.yaml").write_text("lr: 0.3\nmomentum: 0.3\nseeds: 9\nthreads: 3\n")
    # YAML would read two of the options as numbers.
    options = ["--seeds", "010", "--base-dir", "2026", "--device", "cuda:1"]
    main(["run", "T1", "-f", "my.yaml", "--set", "lr=0.2", "seeds=8", "--set", "threads=2", *options])
    changes = ["lr=0.2", "momentum=0.3", "seeds=10", "threads=2", "base_dir='2026'", "device=cuda:1"]
    assert run.parameters == load_profile("T1", "quick", changes)


def test_a_failure_in_the_run_is_one_line_and_a_status_and_an_internal_error_a_traceback(run, capsys):
    for failure, status, line in (
        (UserError("a.npz: y_train:\n must be integers"), 2, "error: a.npz: y_train: must be integers"),
        (KeyboardInterrupt(), 130, "stopped; the same command resumes"),
    ):
        run.failure = failure
        assert main(["run", "T1"]) == status
        assert capsys.readouterr().err == f"dglib: {line}\n"
    run.failure = ZeroDivisionError("internal")
    with pytest.raises(ZeroDivisionError):
        main(["run", "T1"])


def test_a_file_name_that_is_no_text_comes_back_from_json_as_it_was_given():
    name = os.fsdecode(b"own\xff.yaml")
    assert json.loads(to_json({"command": [name]})) == {"command": [name]}


@pytest.mark.parametrize("experiment", MODELS)
def test_the_list_of_parameters_is_a_file_of_all_of_them_with_their_meanings(experiment, capsys):
    assert main(["parameters", experiment, "--profile", "paper"]) == 0
    listed = capsys.readouterr().out
    layer = Layer("listed", yaml.safe_load(listed))
    assert validate_layers(experiment, [layer]) == load_profile(experiment, "paper")
    for name, field in MODELS[experiment].model_fields.items():
        assert f"\n{name}: " in listed
        assert f"  # {field.description}\n" in f"{listed}\n"
